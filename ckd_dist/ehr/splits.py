"""Which subject learns, which tunes and which is held out: a hash of the subject alone.

A subject's split does not depend on who else is there, so adding patients moves nobody, and a table can be split in
pieces.  Fractions hold on average.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl

from ckd_dist.schema import SPLITS
from ckd_dist.splitmix import hashes_of


def split_of(subject_ids: np.ndarray, *, train: float, tuning: float, seed: int) -> np.ndarray:
    """Return each subject's split, array of str.  Raise ValueError where the fractions leave nothing to hold out.

    >>> split_of(np.array([10006, 10011, 10013]), train=0.7, tuning=0.15, seed=0).tolist()
    ['tuning', 'held_out', 'train']
    """
    if not (train > 0 and tuning > 0 and train + tuning < 1):
        raise ValueError(
            f"train_fraction {train} and tuning_fraction {tuning} must be positive and leave something to hold out: "
            "their sum must stay below 1"
        )
    uniform = (hashes_of(subject_ids, seed) >> np.uint64(11)) * 2.0**-53  # [0, 1)
    return np.array(SPLITS)[np.searchsorted([train, train + tuning], uniform, side="right")]


def check_disjoint(subjects_by_split: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError where a subject is in two splits."""
    names = list(subjects_by_split)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            num_shared = len(np.intersect1d(subjects_by_split[one], subjects_by_split[other]))
            if num_shared:
                raise ValueError(f"{num_shared} subjects are in both {one} and {other}; split them again, by subject")


def check_labels(
    labels_by_split: Mapping[str, pl.Series],
    names: Sequence[str],
    absent: Literal["refuse", "allow"],
    extracted: str = "",
    remarks: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Return, by split, the labels that never occur in it.

    labels_by_split: the samples' `labels` column, lists of K bits, null where unlabelled.  extracted: what extraction
    kept and lost, remarks: what is known of the label set's codes; a refusal repeats both, since a broken table or a
    code that no event has is a likelier cause than few subjects.  Raises ValueError where train has no labelled sample,
    or lacks a label and that is refused.
    """
    seen = f"; extract kept and lost: {extracted}" if extracted else ""
    missing = {split: absent_labels(labels, names) for split, labels in labels_by_split.items()}
    if labels_by_split["train"].null_count() == len(labels_by_split["train"]):
        raise ValueError(
            "the cohort has no labelled visit in train: no subject has two visits that pass the criteria; where the "
            f"tables were read aright, loosen select.* or bring more subjects{seen}"
        )
    if missing["train"] and absent == "refuse":
        known = "".join(f"; {remark}" for remark in remarks)
        remedy = "mend the codes of the label set, or map the site's by extract.code_map; else " if remarks else ""
        raise ValueError(
            f"{len(missing['train'])} of {len(names)} labels never occur in train, the first is "
            f"{missing['train'][0]!r}{known}: {remedy}bring more subjects, leave them out of the "
            f"label set, or set select.absent_labels=allow{seen}"
        )
    return missing


def absent_labels(labels: pl.Series, names: Sequence[str]) -> list[str]:
    """Return the labels without a single 1 among a `labels` column's lists of K bits; all where every row is null."""
    known = labels.drop_nulls()
    if not len(known):
        return list(names)
    bits_NK = known.list.to_array(len(names)).to_numpy()
    return [name for name, occurs in zip(names, bits_NK.any(axis=0), strict=True) if not occurs]
