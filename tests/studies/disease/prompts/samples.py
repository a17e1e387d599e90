"""Small samples and small tokenizers for the tests of prompts."""

from datetime import datetime

import polars as pl
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ckd_dist import schema

LABELS = (
    "Shock",
    "Gout, acute",
    "Gout",
    "Respiratory failure; insufficiency; arrest (adult)",
    "Care (surgical/medical)",
)

NAMES = {
    "DIAGNOSIS//ICD//9//4280": "Congestive heart failure; nonhypertensive",
    "DIAGNOSIS//ICD//9//42820": "Congestive heart failure; nonhypertensive",
    "DIAGNOSIS//ICD//9//5849": "Acute and unspecified renal failure",
    "DIAGNOSIS//ICD//9//2749": "Gout, acute",
    "DIAGNOSIS//ICD//9//3320": "Ménière's disease — 耳",
    "DIAGNOSIS//ICD//9//78552": "(Shock)",
    "PROCEDURE//ICD//9//3995": "Hemodialysis",
    "PROCEDURE//ICD//9//9671": "Ventilation <96 hours; 2nd",
}
DIAGNOSES = [code for code in NAMES if code.startswith(schema.DIAGNOSIS)]
PROCEDURES = [code for code in NAMES if code.startswith(schema.PROCEDURE)]
MEDICATIONS = [
    "furosemide",
    "0.9% sodium chloride",
    "insulin (human), regular",
    "d5w",
    "$5 drug",
    "ni­troglycerin sl",
    "é",
]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def sample(**changes: object) -> dict:
    """One row of schema.SAMPLES; `changes` replace its fields."""
    return {
        "sample_id": 0,
        "subject_id": 10,
        "hadm_id": 100,
        "prediction_time": datetime(2150, 1, 1),
        "age": 67.0,
        "sex": "F",
        "site": "all",
        "gap_days": None,
        "diagnoses": DIAGNOSES[:3],
        "medications": MEDICATIONS[:3],
        "procedures": PROCEDURES[:1],
        "history": [],
        "current": [1, 0, 0, 0, 0],
        "labels": [0, 1, 0, 0, 0],
    } | changes


def frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema.SAMPLES)


def _visits(**more: st.SearchStrategy) -> dict[str, st.SearchStrategy]:
    names = st.text(min_size=1, max_size=12).filter(str.strip)
    return {
        "diagnoses": st.lists(st.sampled_from(DIAGNOSES), max_size=6),
        "medications": st.lists(st.one_of(st.sampled_from(MEDICATIONS), names), max_size=8),
        "procedures": st.lists(st.sampled_from(PROCEDURES), max_size=3),
    } | more


@st.composite
def samples(draw: st.DrawFn) -> dict:
    """Any row: empty sections, repeated names, strange characters, unknown age."""
    visit = st.fixed_dictionaries(_visits(days_before=st.none() | st.floats(0, 4000, width=32)))
    return sample(
        **{name: draw(values) for name, values in _visits().items()},
        history=draw(st.lists(visit, max_size=3)),
        age=draw(st.none() | st.floats(0, 310, width=32)),
        sex=draw(st.sampled_from(["F", "M", None])),
    )


def _wrapped(tokenizer: Tokenizer, **names: object) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def byte_level_bpe(texts: list[str], *, parts_at_spaces: bool = True) -> PreTrainedTokenizerFast:
    """Qwen's kind of tokenizer, with a ChatML template.  parts_at_spaces=False: its tokens reach across words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = [pre_tokenizers.Split(Regex(QWEN), behavior="isolated")] if parts_at_spaces else []
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrapped(tokenizer, eos_token="<|im_end|>", chat_template=CHATML)


def word_piece(texts: list[str]) -> PreTrainedTokenizerFast:
    """BERT's tokenizer, lower case, accents stripped."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return _wrapped(tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
