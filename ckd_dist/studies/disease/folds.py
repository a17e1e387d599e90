"""Which teacher labels which subject: one that never saw it (cross-fitting).

Teacher i of K learns from the training subjects that are not of fold i, and labels every subject of fold i, of all
splits.  A subject without seen labels, of tuning or of held_out was learned from by none of the K; its fold's teacher
labels it as well, so that each row has one teacher, and the temperature, the gate and the report's row of the teacher
are about the same K teachers, in the same shares, as the soft labels that the student learns from.

Subjects are dealt into folds by a hash of the subject alone, salted so that it says nothing of the split: whoever
joins moves nobody.  One fold is no cross-fitting: its teacher learns from everybody and labels everybody.

    N rows
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ckd_dist.splitmix import hashes_of

SALT = 0x464F4C44  # of folds: another hash than that of splits
REMEDY = "lower teacher.folds, or show the teacher more subjects (teacher.labelled, more tables)"


def fold_of(subject_ids: np.ndarray, num_folds: int) -> np.ndarray:
    """Return each subject's fold, int64 [N], 0 to num_folds - 1.

    >>> fold_of(np.array([10006, 10011, 10013, 10006]), 3).tolist()
    [2, 1, 1, 2]
    """
    return (hashes_of(subject_ids, SALT) % np.uint64(num_folds)).astype(np.int64)


@dataclass(frozen=True)
class Fold:
    """One of `num` folds of subjects, and the teacher that labels it."""

    index: int = 0
    num: int = 1

    def labels(self, subject_ids: np.ndarray) -> np.ndarray:
        """Say whom this fold's teacher labels, bool [N].

        >>> Fold(1, 3).labels(np.array([10006, 10011, 10013])).tolist()
        [False, True, True]
        """
        return fold_of(subject_ids, self.num) == self.index

    def learns_from(self, subject_ids: np.ndarray) -> np.ndarray:
        """Say whose labels this fold's teacher may see, bool [N]: nobody's that it labels, but for a single fold.

        >>> Fold(1, 3).learns_from(np.array([10006, 10011, 10013])).tolist()
        [True, False, False]
        >>> Fold().learns_from(np.array([10006, 10011, 10013])).tolist()
        [True, True, True]
        """
        return np.full(len(subject_ids), True) if self.num == 1 else ~self.labels(subject_ids)

    @property
    def name(self) -> str:
        """Return its name in a run folder; of a single fold, none.

        >>> Fold(1, 3).name, Fold().name
        ('fold_1', '')
        """
        return "" if self.num == 1 else f"fold_{self.index}"

    def plan_of(self, split: str) -> str:
        """Return the name of the plan of its rows of a split.

        >>> Fold(1, 3).plan_of("train"), Fold().plan_of("train")
        ('train.fold_1', 'train')
        """
        return f"{split}.{self.name}" if self.name else split


def folds_of(num: int) -> list[Fold]:
    """Return all folds, in order."""
    return [Fold(index, num) for index in range(num)]


def check_folds(num: int, subject_ids: np.ndarray) -> None:
    """Raise ValueError where a fold, or all others together, hold none of these subjects.

    subject_ids: of the training rows whose labels the teachers may see.
    """
    for fold in folds_of(num) if num > 1 else ():
        of_others_N = fold.learns_from(subject_ids)
        if of_others_N.all() or not of_others_N.any():
            where = "holds none" if of_others_N.all() else "holds all"
            raise ValueError(f"{fold.name} of teacher.folds={num} {where} of the labelled subjects of train: {REMEDY}")


def missed_labels(
    num: int, subject_ids: np.ndarray, hard_NK: np.ndarray, names: Sequence[str], absent: Literal["refuse", "allow"]
) -> list[str]:
    """Say, a sentence a fold, how many labels its teacher never sees although they occur.

    subject_ids, hard_NK: of the training rows whose labels the teachers may see.  Raises ValueError where there is such
    a label and `absent` refuses it.
    """
    said = []
    for fold in folds_of(num):
        missed = hard_NK.any(axis=0) & ~hard_NK[fold.learns_from(subject_ids)].any(axis=0)
        if not missed.any():
            continue
        said.append(f"{int(missed.sum())} labels occur in no training subject outside {fold.name} of {num}")
        if absent == "refuse":
            raise ValueError(
                f"{said[-1]}, the first is {names[int(np.argmax(missed))]!r}, so its teacher could not learn them: "
                f"{REMEDY}, or set select.absent_labels=allow"
            )
    return said
