"""Soft labels that are no trained teacher's: the exact law's, and another patient's.

N rows, K labels
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.special import logit

from ckd_dist.hospital import law

LEAST = 1e-6  # of a probability, so that its logit is finite


def exact(samples: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return the logits of the exact probabilities of a synthetic hospital, float32 [N, K]."""
    return logit(law.probabilities(samples, names).clip(LEAST, 1 - LEAST)).astype(np.float32)


def of_others(subject_ids: pl.Series | np.ndarray, seed: int) -> np.ndarray:
    """Return, for every row, a row of another subject; each row is taken once.  int64 [N].

    Subjects stand in a random order, each with its rows side by side, and all rows move on by as many places as the
    subject with the most rows has.  Raises ValueError where one subject has more than half of the rows.

    >>> subjects = np.array([1, 1, 2, 3, 3, 4])
    >>> bool((subjects[of_others(subjects, 0)] != subjects).all())
    True
    """
    subjects, subject_N = np.unique(np.asarray(subject_ids), return_inverse=True)
    if not len(subjects):
        return np.zeros(0, np.int64)
    most = int(np.bincount(subject_N).max())
    if 2 * most > len(subject_N):
        raise ValueError(f"labels cannot be permuted between patients: one has {most} of {len(subject_N)} visits")
    place_S = np.random.default_rng(seed).permutation(len(subjects))
    order_N = np.argsort(place_S[subject_N], kind="stable")
    other_N = np.empty(len(order_N), np.int64)
    other_N[order_N] = np.roll(order_N, -most)
    return other_N
