"""What systems cost: every labeler as its shards say, and the student, timed now on held-out notes."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ckd_dist.notes.note import Note
from ckd_dist.report.timing import hardware
from ckd_dist.studies.ner.distill import Arm
from ckd_dist.studies.ner.evaluate import by_student
from ckd_dist.studies.ner.report.results import Cost


def costs_of(
    spent: Mapping[str, Mapping[str, float]],
    prices: Mapping[str, tuple[float, float]],
    student: Arm,
    notes: Sequence[Note],
) -> list[Cost]:
    """Return what 1,000 notes cost each labeler and the student.

    spent: labeler -> sums over its shards.  prices: of a million tokens sent and answered, of those that are paid.
    """
    return [*(_labeler(name, sums, prices.get(name)) for name, sums in spent.items()), _student(student, notes)]


def _labeler(name: str, sums: Mapping[str, float], price: tuple[float, float] | None) -> Cost:
    """Return a labeler's cost; price: US dollars a million tokens sent and answered."""
    per = 1000 / max(1, sums["notes"])
    tokens = [_tokens(sums, what, per) for what in ("input_tokens", "output_tokens")]
    return Cost(
        name,
        seconds=sums["seconds"] * per,
        words_per_minute=60 * sums["words"] / max(sums["seconds"], 1e-9),
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        usd=float(np.dot(tokens, price)) / 1e6 if price else None,
        hardware=hardware(_device()),
        measured=f"while labelling {sums['notes']:,.0f} notes, one worker's seconds",
    )


def _student(student: Arm, notes: Sequence[Note]) -> Cost:
    """Time the student on `notes`, after one that is not counted."""
    by_student(student, notes[:1])
    start = time.perf_counter()
    by_student(student, notes)
    seconds, words = time.perf_counter() - start, sum(map(len, notes))
    return Cost(
        "student",
        seconds=seconds * 1000 / len(notes),
        words_per_minute=60 * words / seconds,
        usd=None,
        hardware=hardware(_device()),
        measured=f"{len(notes)} held-out notes from words to entities, loading included",
    )


def _tokens(sums: Mapping[str, float], what: str, per: float) -> float | None:
    """Return tokens a thousand notes, kept answers counted as if asked for now; None for other labelers."""
    return (sums[what] + sums.get(f"cached_{what}", 0)) * per if what in sums else None


def outcomes_of(sums: Mapping[str, float]) -> dict[str, float]:
    """Return how a language model's answers were aligned, from the sums over its shards."""
    return {what: n for what, n in sums.items() if what not in ("seconds", "words", "usd") and "tokens" not in what}


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
