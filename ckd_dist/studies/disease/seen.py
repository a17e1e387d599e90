"""Say whose labels a role may read: of a number or share of subjects, in an order that a hash gives.

The smaller set lies within the larger: 100 subjects are among 300, and the teacher's and the student's are nested too
where their seeds agree.  A subject's place does not depend on who else is there.  Whoever reads a sample's labels to
fit or to choose anything reads them through `read_samples`: what is hidden is null there, as of a visit without a next
one.  held_out is for the report: its labels are never hidden and never flipped.

    N rows, K labels
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ckd_dist.ehr.splits import absent_labels
from ckd_dist.splitmix import hashes_of, mix
from ckd_dist.studies.disease.folds import Fold
from ckd_dist.studies.disease.runfolder import DiseaseRun


@dataclass(frozen=True)
class Seen:
    """What labels `role` may read.

    train, tuning: subjects with a labelled visit in that split, of which its labels are seen: a number from 1 on, or a
    share below 1; None: all.  noise: share of the seen labels of train that are flipped.
    """

    role: str  # "teacher" or "student": whose part of the recipe says so
    train: float | None = None
    tuning: float | None = None
    seed: int = 0
    noise: float = 0.0
    fold: Fold = Fold()  # of the teacher; the labels of the training subjects that it labels are hidden from it

    def most(self, split: str) -> float | None:
        """Return the number or share of the subjects of `split` whose labels are seen; None: all."""
        return {"train": self.train, "tuning": self.tuning, "held_out": None}[split]

    def hides(self, split: str) -> bool:
        """Say whether labels of `split` are hidden or flipped, those of a fold left aside."""
        return self.most(split) is not None or (split == "train" and self.noise > 0)


ALL = Seen("everybody")


def seen_by(role: str, part: Any) -> Seen:
    """Return what labels a role may read.  part: the recipe's `teacher` or `student`."""
    chosen = part.labelled
    return Seen(role, chosen.train, chosen.tuning, chosen.seed, chosen.noise)


def read_samples(run: DiseaseRun, split: str, seen: Seen, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a split's samples (schema.SAMPLES) with the labels that are seen; those of others are null.

    columns: those to return; None: all.
    """
    needed = None if columns is None else list(dict.fromkeys([*columns, "sample_id", "subject_id", "labels"]))
    frame = hide(pl.read_parquet(run.samples(split), columns=needed), split, seen)
    return frame if columns is None else frame.select(columns)


def hide(frame: pl.DataFrame, split: str, seen: Seen) -> pl.DataFrame:
    """Return the samples of a split with null in place of the labels that are not seen, and flipped ones in train.

    Raises ValueError where more subjects are asked for than have a label, or nobody is left.
    """
    frame = _hide_most(frame, split, seen) if seen.hides(split) else frame
    if split == "train" and seen.fold.num > 1:
        learnt = pl.Series(seen.fold.learns_from(frame["subject_id"].to_numpy()))
        frame = frame.with_columns(labels=pl.when(learnt).then("labels").otherwise(None))
    return frame


def _hide_most(frame: pl.DataFrame, split: str, seen: Seen) -> pl.DataFrame:
    """Hide the labels of all but the first subjects, and flip some of those that are left."""
    subjects = frame.filter(pl.col("labels").is_not_null())["subject_id"].unique().to_numpy()
    chosen = first_subjects(subjects, _num_seen(len(subjects), split, seen), seen.seed)
    mine = pl.col("subject_id").is_in(chosen.tolist())
    frame = frame.with_columns(labels=pl.when(mine).then("labels").otherwise(None))
    return _flipped(frame, seen) if split == "train" and seen.noise else frame


def first_subjects(subject_ids: np.ndarray, num: int, seed: int) -> np.ndarray:
    """Return the first `num` of these subjects by a hash of subject and seed, another one than splits them.

    >>> subjects = np.arange(10_000, 10_006)
    >>> first_subjects(subjects, 2, seed=0).tolist(), first_subjects(subjects, 3, seed=0).tolist()
    ([10004, 10001], [10004, 10001, 10005])
    """
    hashed = mix(np.asarray(subject_ids, np.int64).view(np.uint64))  # once more than for splits
    return np.asarray(subject_ids)[np.argsort(hashes_of(hashed, seed))[:num]]


def check_seen(samples: Mapping[str, pl.DataFrame], names: Sequence[str], seen: Seen, absent: str) -> dict[str, Any]:
    """Return, by split, how many subjects and labelled visits are seen; nothing of a split of which all are.

    samples: as `read_samples` gives them.  absent: "refuse" or "allow" (select.absent_labels) a label that never occurs
    among those that are seen in train; refused, it raises ValueError.
    """
    missing = absent_labels(samples["train"]["labels"], names) if seen.hides("train") else []
    if missing and absent == "refuse":
        raise ValueError(
            f"{len(missing)} of {len(names)} labels never occur among those that the {seen.role} sees in train, the "
            f"first is {missing[0]!r}: raise {seen.role}.labelled.train, take another {seen.role}.labelled.seed, leave "
            "them out of the label set, or set select.absent_labels=allow"
        )
    return {split: _counts(frame) for split, frame in samples.items() if seen.hides(split)}


def said_of(counts: Mapping[str, Mapping[str, int]], seen: Seen) -> list[str]:
    """Say whose labels a role sees, a sentence a split.  counts: from `check_seen`."""
    noise = f", {seen.noise:.1%} of them flipped" if seen.noise else ""
    return [
        f"the {seen.role} sees the labels of {each['subjects']:,} subjects of {split} ({each['visits']:,} visits)"
        f"{noise if split == 'train' else ''}"
        for split, each in counts.items()
    ]


def _counts(frame: pl.DataFrame) -> dict[str, int]:
    known = frame.filter(pl.col("labels").is_not_null())
    return {"subjects": known["subject_id"].n_unique(), "visits": known.height}


def _num_seen(num_labelled: int, split: str, seen: Seen) -> int:
    """Return of how many of a split's subjects with a label the labels are seen."""
    field, most = f"{seen.role}.labelled.{split}", seen.most(split)
    if most is None:
        return num_labelled
    if most >= 1 and most != int(most):
        raise ValueError(f"{field}={most:g} is neither a whole number of subjects nor a share below 1")
    num = int(most) if most >= 1 else round(most * num_labelled)
    if num > num_labelled:
        raise ValueError(
            f"{field}={num} asks for more subjects than the {num_labelled} of {split} that have a labelled visit: "
            "lower it, or bring more subjects"
        )
    if num == 0:
        raise ValueError(
            f"{field}={most:g} hides the labels of all {num_labelled} subjects of {split} from the {seen.role}: give "
            "at least 1"
        )
    return num


def _flipped(frame: pl.DataFrame, seen: Seen) -> pl.DataFrame:
    """Flip each known label with the rate `seen.noise`, by a hash of sample, label and seed."""
    known = frame["labels"].is_not_null()
    if not known.any():
        return frame
    bits_NK = np.array(frame["labels"].drop_nulls().to_list(), np.int8)
    salt = mix(mix(np.array([seen.seed], np.uint64)))
    hashes_N = mix(frame["sample_id"].filter(known).to_numpy().astype(np.uint64) ^ salt)
    hashes_NK = mix(hashes_N[:, None] ^ mix(np.arange(bits_NK.shape[1], dtype=np.uint64)))
    bits_NK ^= ((hashes_NK >> np.uint64(11)) * 2.0**-53 < seen.noise).astype(np.int8)
    flipped = pl.Series(bits_NK.tolist(), dtype=frame.schema["labels"])
    places = known.cast(pl.Int64).cum_sum() - 1  # of every known row among the known ones
    return frame.with_columns(labels=pl.select(pl.when(known).then(flipped.gather(places.clip(0)))).to_series())
