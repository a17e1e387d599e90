"""Tagging sentences on the CPU: ours against a plain pipeline("token-classification") call a sentence at batch 1.

    python tests/bench/tagger_inference.py [--model FOLDER] [--sentences 200] [--threads 2] [--micro-tokens 512]

Sentences of 12 to 35 words and about 1.3 word pieces a word (PubMed abstracts have 1.3), synthetic.  The encoder is the
folder given, or $CKD_MINILM, or else a random BERT of MiniLM's shape (384 x 6); the head on it is random, wide enough
that tags differ.  The clock covers all from raw sentences to tags: words, word pieces, forward, argmax; for the
pipeline, what a call returns.  Both run the same weights in float32 on as many threads, and every word must get the
same tag.

What limits ours is arithmetic: the last line says how near it comes to what a matrix product reaches on this CPU, which
is what the pipeline's forward pass runs into too.  Measured on one core of a busy Xeon without AMX, in CPU time: 15.4
ms against 6.1, 2.5 x; a matrix product (150 GFLOP/s) would leave 4.4 ms, 3.5 x, so 5 x is out of float32's reach there.
Budgets of 384 to 768 tokens are best; 2,048 cost a quarter more, because activations leave the cache.  What was tried:
bf16 takes twice as long without AMX (1 of 24,497 words of NCBI Disease's test gets another tag); packed weights with
GELU in the product save 5 %; fp16 and eager attention nothing; int8 products halve the time, but 60 of those words get
another tag.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flops import Backbone
from machine import describe, has_amx, ratio, take_turns
from transformers import pipeline

from ckd_dist.config import Tiny
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.tiny import make_tiny_student
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.notes.note import Note, tag_names
from ckd_dist.notes.words import cut_words
from ckd_dist.studies.ner.tagger import build_tagger
from ckd_dist.studies.ner.windows import cut
from ckd_dist.studies.ner.word_scores import predict_units

TARGET = 5.0
TAGS = tag_names(["disease", "medication", "symptom"])
CLAUSES = (
    "the patient was admitted with worsening shortness of breath and swelling of both legs",
    "she denies fever , chills , nausea or vomiting",
    "past medical history is notable for type 2 diabetes mellitus and chronic kidney disease",
    "he was started on intravenous furosemide with good response",
    "blood pressure on arrival was 158 / 92 and heart rate was 104",
    "an echocardiogram showed an ejection fraction of 35 % with moderate mitral regurgitation",
    "lisinopril was held because of rising creatinine",
    "chest x - ray showed no evidence of pneumonia or effusion",
    "she reports a dry cough for two weeks and occasional headache at night",
    "metoprolol 25 mg was given twice daily and tolerated well",
    "the family was told about the plan and agrees with it",
    "follow up with the primary care doctor in one week was arranged",
)


def sentences(num: int) -> list[str]:
    """Return clauses one after the other, cut at a length between 12 and 35 words."""
    random = np.random.default_rng(0)
    made = []
    for length in random.integers(12, 36, num):
        words = " , and ".join(random.permutation(CLAUSES)).split()
        made.append(" ".join(words[: length - 1]).capitalize() + ".")
    return made


def tagger(base: Path) -> Wrapper:
    """Return `base` with a head whose logits are far apart."""
    model = build_tagger(base, TAGS).eval()
    with torch.no_grad():
        model.plain.classifier.weight.normal_(generator=torch.Generator().manual_seed(0))
    return model


def words_of(sentence: str) -> Note:
    """Return one sentence as a note."""
    start_U, end_U = cut_words(sentence)
    return Note(sentence, start_U, end_U, np.zeros(len(start_U), np.int32))


def scores(model: Wrapper, tokenizer: Any, texts: list[str], micro_tokens: int, bf16: bool = False) -> np.ndarray:
    """Return log-probabilities of every word's tags [U, K], from raw sentences.  bf16: activations in bfloat16."""
    windows = cut([words_of(text) for text in texts], tokenizer, max_tokens=256, context_tokens=32)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return predict_units(model, windows, micro_tokens=micro_tokens, pad_id=tokenizer.pad_token_id)


def tags_of_pipeline(model: Wrapper, tokenizer: Any, texts: list[str]) -> np.ndarray:
    """Return the pipeline's tag of every word's first sub-word, int64 [U]."""
    find = pipeline("token-classification", model=model.model, tokenizer=tokenizer, ignore_labels=[])
    theirs = []
    for text, found in zip(texts, map(find, texts), strict=True):
        tag_at = {piece["start"]: TAGS.index(piece["entity"]) for piece in found}
        theirs += [tag_at[start] for start in words_of(text).start_U]
    assert len(set(theirs)) > 1, "every word has one and the same tag: nothing is compared"
    return np.array(theirs)


def differing(score_UK: np.ndarray, tags_U: np.ndarray) -> int:
    """Count the words that get another tag, ties in the fourth decimal aside."""
    return int((score_UK.max(1) - score_UK[np.arange(len(tags_U)), tags_U] > 1e-4).sum())


def product_speed(rows: int, width: int) -> float:
    """Measure the GFLOP/s of a matrix product of the backbone's shape, the best of some tries."""
    left, right, best = torch.randn(rows, width), torch.randn(4 * width, width), float("inf")
    for _ in range(50):
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * left.shape[0] * right.numel() / best / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=os.environ.get("CKD_MINILM"))
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--micro-tokens", type=int, default=512)
    parser.add_argument("--bf16", action="store_true", default=has_amx())
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    texts = sentences(args.sentences)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(args.model or Path(folder) / "bert")
        if not args.model:
            tiny = Tiny(hidden=args.hidden, layers=args.layers, heads=args.hidden // 32, vocabulary=2000)
            make_tiny_student(base, texts, tiny, seed=0)
        model, tokenizer = tagger(base), load_tokenizer(base)
    lengths = np.array([len(ids) for ids in tokenizer(texts)["input_ids"]])
    tags_U = tags_of_pipeline(model, tokenizer, texts)
    num_wrong = differing(scores(model, tokenizer, texts, args.micro_tokens), tags_U)
    assert num_wrong == 0, f"{num_wrong} of {len(tags_U)} words got another tag"
    print(describe())
    print(
        f"{'encoder given,' if args.model else 'random BERT,'} {model.plain.config.hidden_size} x "
        f"{model.plain.config.num_hidden_layers}; {len(texts)} sentences of "
        f"{len(tags_U) / len(texts):.1f} words and {lengths.mean():.1f} tokens on average, all tags equal"
    )

    find = pipeline("token-classification", model=model.model, tokenizer=tokenizer, aggregation_strategy="first")
    programs = {
        "pipeline": lambda: [find(text) for text in texts],
        "ours": lambda: scores(model, tokenizer, texts, args.micro_tokens).argmax(1),
    }
    if args.bf16:
        near_UK = scores(model, tokenizer, texts, args.micro_tokens, bf16=True)
        print(f"  in bfloat16 {differing(near_UK, tags_U)} of {len(tags_U)} words get another tag")
        programs["ours, bf16"] = lambda: scores(model, tokenizer, texts, args.micro_tokens, bf16=True).argmax(1)
    seconds = take_turns(programs, args.rounds)
    for name, each in seconds.items():
        print(f"  {name:<10} {1000 * np.median(each) / len(texts):6.2f} ms a sentence")
    for name in list(programs)[1:]:
        print(f"  pipeline / {name:<10} {ratio(seconds['pipeline'], seconds[name])}, wanted: {TARGET:.0f} x")

    gflop = Backbone.of(model.plain, causal=False).forward(lengths) / 1e9
    peak = product_speed(args.micro_tokens, model.plain.config.hidden_size)
    print(
        f"  {gflop / len(texts):.2f} GFLOP a sentence: ours reaches {gflop / np.median(seconds['ours']):.0f} GFLOP/s, "
        f"a matrix product {peak:.0f}; at that speed the ratio would be "
        f"{np.median(seconds['pipeline']) * peak / gflop:.1f} x"
    )


if __name__ == "__main__":
    main()
