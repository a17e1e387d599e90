"""Fit which treatments were followed by resolution of which disease (EADF, efficacy-aware data fusion).

    efficacy(k, t) = (resolved(k, t) + s * mean(k)) / (given(k, t) + s)

over training pairs whose index visit has disease k and treatment t; resolved: the next visit lacks k; mean(k): the
same share over all pairs with k; s: `shrinkage`, pseudo-visits.  The published description (Wang et al. 2025, arXiv
2506.15118) gives the idea but neither the statistic nor the wording, so both are ours.  Which of them a prompt
lists depends on a sample's current diseases alone, never on its own next visit.  Treatments are medications: a visit
has too few procedures to rank.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.files import write


@dataclass(frozen=True)
class Treatment:
    """A treatment that was followed by resolution more often than its disease's mean."""

    name: str
    given: int  # training visits with the disease and the treatment
    efficacy: float  # shrunken share of them whose next visit lacks the disease


@dataclass(frozen=True)
class Knowledge:
    """For every disease its resolved share among training visits, and its treatments, best first.

    Holds aggregates over at least `min_support` visits and nothing else, so it may be kept and shown.
    """

    names: tuple[str, ...]
    shrinkage: float
    min_support: int
    resolved_share: tuple[float | None, ...]  # per disease; None below min_support visits
    treatments: tuple[tuple[Treatment, ...], ...]  # per disease

    @classmethod
    def fit(cls, train: pl.DataFrame, names: Sequence[str], shrinkage: float, min_support: int) -> "Knowledge":
        """Return the knowledge of the labelled rows of `train` (schema.SAMPLES).  Give training subjects only."""
        pairs = train.filter(pl.col("labels").is_not_null()).with_row_index("row")
        current_NK, next_NK = _bits(pairs["current"], len(names)), _bits(pairs["labels"], len(names))
        rows, diseases = np.nonzero(current_NK)
        present = pl.DataFrame({"row": rows, "disease": diseases, "resolved": 1 - next_NK[rows, diseases]}).cast(
            {"row": pl.UInt32, "disease": pl.Int16, "resolved": pl.Int8}
        )
        efficacies = _efficacies(present, _given(pairs), shrinkage, min_support)
        means = _means(present).filter(pl.col("visits") >= min_support)
        share = dict(zip(means["disease"].to_list(), means["mean"].to_list(), strict=True))
        ranked: list[list[Treatment]] = [[] for _ in names]
        for disease, name, given, efficacy in efficacies.iter_rows():
            ranked[disease].append(Treatment(name, given, efficacy))
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

    def save(self, path: Path) -> None:
        """Write JSON that a person can read, in one rename."""
        diseases = [
            {"name": name, "resolved_share": share, "treatments": [vars(treatment) for treatment in treatments]}
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
    """Count the visits with a disease, and the share of them after which it was gone."""
    return present.group_by("disease").agg(visits=pl.len(), mean=pl.col("resolved").cast(pl.Float64).mean())


def _efficacies(present: pl.DataFrame, given: pl.DataFrame, shrinkage: float, min_support: int) -> pl.DataFrame:
    """Return disease, treatment, given, efficacy: above the disease's mean, best first, ties by support, then name."""
    return (
        present.lazy()
        .join(given.lazy(), on="row")
        .group_by("disease", "treatment")
        .agg(given=pl.len(), resolved=pl.col("resolved").cast(pl.Int64).sum())
        .filter(pl.col("given") >= min_support)
        .join(_means(present).lazy(), on="disease")
        .with_columns(
            efficacy=(pl.col("resolved") + shrinkage * pl.col("mean")) / (pl.col("given") + shrinkage),
            treatment=pl.col("treatment").cast(pl.String),
        )
        .filter(pl.col("efficacy") > pl.col("mean"))
        .sort("disease", "efficacy", "given", "treatment", descending=[False, True, True, False])
        .select("disease", "treatment", "given", "efficacy")
        .collect()
    )
