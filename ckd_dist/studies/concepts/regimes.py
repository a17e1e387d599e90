"""The regimes: what each trains (patients.choose_trainable), and the cases that it learns from.

    local         target's cases, from a fresh start             shared       none: the source model as it is
    frozen        the source model, its last layer tuned         full         all of it tuned but the vectors
    thawed        the vectors too                                pooled       both sites' cases, from a fresh start
    adversarial   source's labels, and target's cases without theirs (Ganin and Lempitsky 2015), from a fresh start

Tuning starts from the source model of its own seed, every time anew.  A model of codes has no vectors but those it
learns: full trains them, and thawed is the same.  Held-out cases appear in none of this.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ckd_dist.splitmix import hashes_of

Regime = Literal["local", "shared", "frozen", "full", "thawed", "pooled", "adversarial"]
TUNED: tuple[Regime, ...] = ("frozen", "full", "thawed")  # they start from a source model and train it
FROM_SOURCE: tuple[Regime, ...] = ("shared", *TUNED)


@dataclass(frozen=True, eq=False)
class SiteSplits:
    """Of one site, or of several as one: rows of CASES by split, and the subject of every row of CASES."""

    train: np.ndarray
    tuning: np.ndarray
    subject_N: np.ndarray


@dataclass(frozen=True, eq=False)
class TrainingCases:
    """Rows of CASES that a model learns from, and those that choose its checkpoint."""

    train: np.ndarray
    tuning: np.ndarray  # all labelled


def training_cases(
    regime: Regime, source: SiteSplits, target: SiteSplits, size: int | None = None, seed: int = 0
) -> TrainingCases:
    """Return what `regime` learns from.  size: labelled cases of the target; none: all.  seed: of their choice.

    A smaller size is a subset of a larger one of the same seed, and its tuning cases shrink in proportion (never below
    one).  shared learns from nothing.  local does not look at `source`.  Raises ValueError for more than there are.
    """
    if regime == "shared":
        none = np.zeros(0, np.int64)
        return TrainingCases(none, none)
    train, tuning = target.train, target.tuning
    if size is not None:
        if size > len(train):
            raise ValueError(f"{size} training cases are asked of a site that has {len(train)}: leave that size out")
        tuning = subset(tuning, target.subject_N, max(1, round(len(tuning) * size / max(1, len(train)))), seed)
        train = subset(train, target.subject_N, size, seed)
    if regime in ("local", *TUNED):
        return TrainingCases(train, tuning)
    both = np.concatenate([source.train, train])
    if regime == "pooled":
        return TrainingCases(both, np.concatenate([source.tuning, tuning]))
    return TrainingCases(both, source.tuning)


def subset(rows: np.ndarray, subject_N: np.ndarray, num: int, seed: int) -> np.ndarray:
    """Choose `num` rows, subject after subject in an order of `seed`; fewer are always a part of more.  Sorted."""
    subject = subject_N[rows]
    order = np.lexsort((rows, subject, hashes_of(subject, seed)))
    return np.sort(rows[order[:num]])
