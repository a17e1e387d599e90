"""Make tiny models on the spot: a Qwen2 with a byte-level BPE, a BERT with a WordPiece, in folders like real ones.

Everything after this file loads them by path, like any other base.  The weights are random; the supervised phase trains
the teacher's, distillation the student's.  Same texts and seed, same bytes, in any process.

A vocabulary travels with the model, so both keep the pieces that enough subjects have (shared_pieces.py).
"""

import json
import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2TokenizerFast,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from ckd_dist.account import Account
from ckd_dist.config import Tiny
from ckd_dist.files import replacing_folder
from ckd_dist.models.seeded import seeded
from ckd_dist.models.shared_pieces import SaidBy, said_by
from ckd_dist.schema import FEWEST_SUBJECTS

TEACHER_POSITIONS = 4096
STUDENT_POSITIONS = 1024
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ALPHABET = 200  # characters that get a piece of their own; rarer ones are [UNK], as in BERT
ASCII = string.digits + string.ascii_letters + string.punctuation  # nobody's: a vocabulary has them in any case

# Qwen2.5's template without its tool calls and without the system message it puts in by itself: that costs a tiny
# vocabulary 48 tokens a prompt.
CHAT_TEMPLATE = """\
{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def make_tiny_teacher(folder: Path, texts: Iterable[str], tiny: Tiny, seed: int, public: Sequence[str] = ()) -> Account:
    """Write a Qwen2ForCausalLM of random weights and a byte-level BPE; return what its vocabulary was learned from.

    texts: all that the records of one subject say, a text a subject.  public: texts that are no patient's.
    """
    _check(tiny, multiple=2)
    tokenizer, words = _byte_level_bpe(texts, public, tiny.vocabulary)
    config = Qwen2Config(
        **_shape(tiny, tokenizer),
        num_key_value_heads=max(1, tiny.heads // 2),
        max_position_embeddings=TEACHER_POSITIONS,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    with seeded(seed):
        model = Qwen2ForCausalLM(config)
    save_tiny(Path(folder), model, tokenizer)
    return words.account()


def make_tiny_student(folder: Path, texts: Iterable[str], tiny: Tiny, seed: int, public: Sequence[str] = ()) -> Account:
    """Write a BertModel of random weights and a lower-case WordPiece, as `make_tiny_teacher` does."""
    _check(tiny, multiple=1)
    tokenizer, words = _word_piece(texts, public, tiny.vocabulary)
    config = BertConfig(
        **_shape(tiny, tokenizer),
        max_position_embeddings=STUDENT_POSITIONS,
        hidden_dropout_prob=0.0,  # it has few numbers to spare
        attention_probs_dropout_prob=0.0,  # with it, attention on CPU leaves its fast path
    )
    with seeded(seed):
        model = BertModel(config)
    save_tiny(Path(folder), model, tokenizer)
    return words.account()


def _shape(tiny: Tiny, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """Return what the configurations of both say in the same words."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": tiny.hidden,
        "intermediate_size": 4 * tiny.hidden,
        "num_hidden_layers": tiny.layers,
        "num_attention_heads": tiny.heads,
        "initializer_range": tiny.hidden**-0.5,  # 0.02 suits widths of thousands; here it costs ten times the updates
        "pad_token_id": tokenizer.pad_token_id,
    }


def _check(tiny: Tiny, multiple: int) -> None:
    if tiny.hidden % (tiny.heads * multiple):
        raise ValueError(
            f"tiny.hidden={tiny.hidden} must be a multiple of {multiple * tiny.heads} for tiny.heads={tiny.heads}"
        )


def _byte_level_bpe(
    texts: Iterable[str], public: Sequence[str], vocabulary: int
) -> tuple[PreTrainedTokenizerBase, SaidBy]:
    """Return Qwen2's tokenizer with merges of its own (any text encodes, no unknown token), and what taught it."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(specials),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=FEWEST_SUBJECTS,
        show_progress=False,
    )

    def cut(text: str) -> list[str]:
        plain = tokenizer.normalizer.normalize_str(_without(specials, text))
        return [word for word, _ in split.pre_tokenize_str(plain)]

    def spell(word: str) -> str:
        return "".join(piece for piece, _ in to_bytes.pre_tokenize_str(word))

    words = said_by(texts, public, cut)
    tokenizer.train_from_iterator(words.repeated(), trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    kept = words.shared(learned["vocab"], spell=spell) | set(pre_tokenizers.ByteLevel.alphabet())
    own = Qwen2TokenizerFast(
        vocab=_numbered(learned["vocab"], kept),
        merges=[tuple(merge) for merge in learned["merges"] if "".join(merge) in kept],
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=TEACHER_POSITIONS,
        padding_side="right",
    )
    return own, words


def _without(specials: list[str], text: str) -> str:
    """Take template marks out of a text: they are tokens of their own and must not shape the merges."""
    for special in specials:
        text = text.replace(special, "\n")
    return text


def _word_piece(texts: Iterable[str], public: Sequence[str], vocabulary: int) -> tuple[PreTrainedTokenizerBase, SaidBy]:
    """Return BERT's lower-case tokenizer with pieces of its own, and what taught it.

    tokenizers numbers first pieces in the order of a hash map, which differs between processes; naming them all
    beforehand, sorted, makes the result a function of the texts.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = [tokenizer.normalizer.normalize_str(text) for text in texts]
    public = [tokenizer.normalizer.normalize_str(text) for text in public]
    letters = said_by(texts, [*public, ASCII.lower()], list)  # a letter may be a whole word: 李
    known = letters.shared(letters.weights)
    room = min(ALPHABET, (vocabulary - len(BERT_SPECIALS)) // 2)
    ranked = sorted(filter(str.strip, known), key=lambda letter: (-letters.weights[letter], letter))
    alphabet = sorted(ranked[:room])
    first = BERT_SPECIALS + alphabet + ["##" + letter for letter in alphabet]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=first,
        limit_alphabet=0,
        min_frequency=FEWEST_SUBJECTS,
        show_progress=False,
    )
    cut = tokenizer.pre_tokenizer.pre_tokenize_str
    words = said_by(texts, public, lambda text: [word for word, _ in cut(text)])
    tokenizer.train_from_iterator(words.repeated(), trainer)
    learned = tokenizer.get_vocab()
    own = _numbered(learned, words.shared(learned, mark="##") | set(first))
    return BertTokenizerFast(vocab=own, do_lower_case=True, model_max_length=STUDENT_POSITIONS), words


def _numbered(vocab: Mapping[str, int], kept: Collection[str]) -> dict[str, int]:
    """Return the kept tokens, numbered anew in their order."""
    tokens = (token for token in sorted(vocab, key=vocab.__getitem__) if token in kept)
    return {token: number for number, token in enumerate(tokens)}


def save_tiny(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save model and tokenizer; readers see the whole folder or none."""
    with replacing_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
