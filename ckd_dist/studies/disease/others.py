"""Pair every visit with one of another subject, each taken once: for controls that must not help."""

import numpy as np

from ckd_dist.splitmix import hashes_of


def rows_of_others(subject_N: np.ndarray, seed: int, field: str) -> np.ndarray:
    """Return for each row another subject's row, every row once: int64 [N], a permutation.

    Subjects stand in the order of a hash with `seed`, and every row takes the one as many places further as the largest
    subject has rows.  Raises ValueError, which names the recipe's `field`, where one subject has more than half of the
    rows: then there is no such permutation.

    >>> subjects = np.array([7, 7, 8, 9, 9])
    >>> subjects[rows_of_others(subjects, 0, "a control")].tolist()
    [8, 9, 9, 7, 7]
    """
    if not len(subject_N):
        return np.zeros(0, np.int64)
    _, subjects, counts = np.unique(subject_N, return_inverse=True, return_counts=True)
    most = counts.max()
    if 2 * most > len(subject_N):
        raise ValueError(
            f"{field}: one subject has {most} of a split's {len(subject_N)} visits, so not every one finds another "
            "subject's: bring more subjects, or leave the control out"
        )
    order = np.lexsort((subjects, hashes_of(subject_N, seed)))
    taken = np.empty(len(order), np.int64)
    taken[order] = np.roll(order, -most)
    return taken
