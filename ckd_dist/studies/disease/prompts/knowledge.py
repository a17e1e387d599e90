"""Fit which treatments were followed by resolution of which disease (EADF, efficacy-aware data fusion).

    efficacy(k, t) = (resolved(k, t) + s * mean(k)) / (given(k, t) + s)

over training pairs whose index visit has disease k and treatment t; resolved: the next visit lacks k; mean(k): the
same share over all pairs with k; s: `shrinkage`, pseudo-visits.  The published description (Wang et al. 2025, arXiv
2506.15118) gives the idea but neither the statistic nor the wording, so both are ours.  Which of them a prompt
lists depends on a sample's current diseases alone, never on its own next visit.  Treatments are medications: a visit
has too few procedures to rank.

Support is counted in subjects, whatever the number of their visits: one patient may have 26.  The teacher's prompts
list what `min_support` subjects had.  The student's texts list what may leave with its weights, `shareable`, so that it
reads new patients as it was trained.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.account import Account
from ckd_dist.files import write
from ckd_dist.schema import FEWEST_SUBJECTS
from ckd_dist.studies.disease.samples import with_labels


@dataclass(frozen=True)
class Treatment:
    """A treatment that was followed by resolution more often than its disease's mean."""

    name: str
    efficacy: float  # shrunken share of training visits with both whose next visit lacks the disease
    subjects: int | None  # that had disease and treatment at one training visit; None: not said


@dataclass(frozen=True)
class Knowledge:
    """For every disease its resolved share among training visits, and its treatments, best first.

    Holds aggregates over at least `min_support` subjects each, and names as the source writes them.
    """

    names: tuple[str, ...]
    shrinkage: float
    min_support: int
    resolved_share: tuple[float | None, ...]  # per disease; None below min_support subjects, or not said
    treatments: tuple[tuple[Treatment, ...], ...]  # per disease

    @classmethod
    def fit(cls, train: pl.DataFrame, names: Sequence[str], shrinkage: float, min_support: int) -> "Knowledge":
        """Return the knowledge of the labelled rows of `train` (schema.SAMPLES).  Give training subjects only."""
        pairs = with_labels(train).with_row_index("row")
        current_NK, next_NK = _bits(pairs["current"], len(names)), _bits(pairs["labels"], len(names))
        rows, diseases = np.nonzero(current_NK)
        subjects = pairs["subject_id"].to_numpy()[rows]
        present = pl.DataFrame(
            {"row": rows, "subject": subjects, "disease": diseases, "resolved": 1 - next_NK[rows, diseases]}
        ).cast({"row": pl.UInt32, "disease": pl.Int16, "resolved": pl.Int8})
        efficacies = _efficacies(present, _given(pairs), shrinkage, min_support)
        means = _means(present).filter(pl.col("subjects") >= min_support)
        share = dict(zip(means["disease"].to_list(), means["mean"].to_list(), strict=True))
        ranked: list[list[Treatment]] = [[] for _ in names]
        for disease, *treatment in efficacies.iter_rows():
            ranked[disease].append(Treatment(*treatment))
        return cls(
            tuple(names),
            float(shrinkage),
            int(min_support),
            tuple(share.get(k) for k in range(len(names))),
            tuple(map(tuple, ranked)),
        )

    def best_treatments(self, current: Sequence[int], m: int) -> list[tuple[int, str, float]]:
        """Return the `m` best treatments of every disease whose bit is set: (label index, treatment, efficacy)."""
        if len(current) != len(self.names):
            raise ValueError(f"knowledge of {len(self.names)} diseases was asked with {len(current)} bits")
        return [
            (disease, treatment.name, treatment.efficacy)
            for disease, bit in enumerate(current)
            if bit
            for treatment in self.treatments[disease][:m]
        ]

    def shareable(self, most: int) -> "Knowledge":
        """Return what may leave with a model: of every disease the best `most` treatments of enough subjects.

        Their number is not said, and an efficacy is rounded as a text shows it.
        """
        enough = [[t for t in treatments if (t.subjects or 0) >= FEWEST_SUBJECTS] for treatments in self.treatments]
        best = [tuple(Treatment(t.name, round(t.efficacy, 2), None) for t in kept[:most]) for kept in enough]
        return replace(
            self,
            min_support=max(self.min_support, FEWEST_SUBJECTS),
            resolved_share=(None,) * len(self.names),
            treatments=tuple(best),
        )

    def account(self, most: int) -> Account:
        """Say how many treatments leave with a student, and how many are for the teacher's prompts alone."""
        num_kept = sum(map(len, self.shareable(most).treatments))
        num_few = sum((t.subjects or 0) < FEWEST_SUBJECTS for treatments in self.treatments for t in treatments)
        few = f"{num_few:,} treatments of fewer than {FEWEST_SUBJECTS} subjects are in the teacher's prompts alone"
        return Account(
            {"treatments of diseases in the student's knowledge": num_kept}, remarks=[few] if num_few else []
        )

    def save(self, path: Path) -> None:
        """Write JSON that a person can read, in one rename."""
        diseases = [
            {"name": name, "resolved_share": share, "treatments": [asdict(treatment) for treatment in treatments]}
            for name, share, treatments in zip(self.names, self.resolved_share, self.treatments, strict=True)
        ]
        whole = {"shrinkage": self.shrinkage, "min_support": self.min_support, "diseases": diseases}
        write(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Knowledge":
        """Read what `save` wrote.  Raise ValueError where the file is something else."""
        try:
            whole = json.loads(path.read_text(encoding="utf-8"))
            diseases = whole["diseases"]
            return cls(
                tuple(disease["name"] for disease in diseases),
                whole["shrinkage"],
                whole["min_support"],
                tuple(disease["resolved_share"] for disease in diseases),
                tuple(tuple(Treatment(**treatment) for treatment in disease["treatments"]) for disease in diseases),
            )
        except (KeyError, TypeError, json.JSONDecodeError):
            raise ValueError(f"{path} is not a knowledge file: run prompt_teacher again") from None


def _bits(column: pl.Series, num_labels: int) -> np.ndarray:
    """Return a list column of bits as int8 [N, K]."""
    lengths = column.list.len()
    if (lengths != num_labels).any():
        raise ValueError(f"samples: column {column.name!r} has rows of other lengths than the {num_labels} label names")
    return column.explode(empty_as_null=False).to_numpy().reshape(len(column), num_labels)


def _given(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return one line per visit and treatment: row, treatment."""
    medications = pairs.select("row", pl.col("medications").list.unique().alias("treatment"))
    return medications.explode("treatment").drop_nulls().with_columns(pl.col("treatment").cast(pl.Categorical))


def _means(present: pl.DataFrame) -> pl.DataFrame:
    """Count the subjects with a disease, and the share of their visits with it after which it was gone."""
    return present.group_by("disease").agg(
        subjects=pl.col("subject").n_unique(), mean=pl.col("resolved").cast(pl.Float64).mean()
    )


def _efficacies(present: pl.DataFrame, given: pl.DataFrame, shrinkage: float, min_support: int) -> pl.DataFrame:
    """Return disease, treatment, efficacy, subjects: above the disease's mean, best first, then support, then name."""
    means = _means(present).lazy().select("disease", "mean")
    return (
        present.lazy()
        .join(given.lazy(), on="row")
        .group_by("disease", "treatment")
        .agg(given=pl.len(), subjects=pl.col("subject").n_unique(), resolved=pl.col("resolved").cast(pl.Int64).sum())
        .filter(pl.col("subjects") >= min_support)
        .join(means, on="disease")
        .with_columns(
            efficacy=(pl.col("resolved") + shrinkage * pl.col("mean")) / (pl.col("given") + shrinkage),
            treatment=pl.col("treatment").cast(pl.String),
        )
        .filter(pl.col("efficacy") > pl.col("mean"))
        .sort("disease", "efficacy", "subjects", "treatment", descending=[False, True, True, False])
        .select("disease", "treatment", "efficacy", "subjects")
        .collect()
    )
