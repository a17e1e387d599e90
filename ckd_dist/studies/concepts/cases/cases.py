"""Read cases as patient models want them: a row of concepts each, outcomes, and which site and split a case is of.

N cases, L concepts of the longest, K outcomes, V concepts.  Concept v is id v + 1; 0 is padding.
"""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from ckd_dist.schema import check_columns
from ckd_dist.studies.concepts.cases.table import CASES, CONCEPTS
from ckd_dist.studies.concepts.runfolder import ConceptsRun


@dataclass(frozen=True, eq=False)
class Cases:
    """All cases of a run, one a row."""

    case_id_N: np.ndarray
    subject_N: np.ndarray
    site_N: np.ndarray
    split_N: np.ndarray
    ids_NL: np.ndarray  # int32, by time, 0 after the last
    outcomes_NK: np.ndarray  # float32
    oracle_NK: np.ndarray | None
    names: tuple[str, ...]  # of the outcomes
    concepts: pl.DataFrame  # table.CONCEPTS

    @cached_property
    def length_N(self) -> np.ndarray:  # noqa: N802, a shape suffix
        """Count the concepts of every case."""
        return (self.ids_NL > 0).sum(1)

    @property
    def sites(self) -> list[str]:
        """Return the names of all sites, sorted."""
        return sorted(set(self.site_N.tolist()))

    @property
    def num_train(self) -> dict[str, int]:
        """Count the training cases of every site."""
        return {site: len(self.rows([site], "train")) for site in self.sites}

    def rows(self, sites: list[str], split: str) -> np.ndarray:
        """Return the rows of some sites' cases in one split."""
        return np.flatnonzero(np.isin(self.site_N, sites) & (self.split_N == split))

    def seen_V(self, rows: np.ndarray) -> np.ndarray:  # noqa: N802
        """Say which concepts occur in cases `rows`, bool [V]."""
        seen = np.zeros(len(self.concepts) + 1, bool)
        seen[self.ids_NL[rows]] = True
        return seen[1:]


def read_cases(run: ConceptsRun) -> Cases:
    """Read what the read stage left."""
    frame = check_columns(pl.read_parquet(run.cases), CASES, "cases")
    lengths = frame["concepts"].list.len().to_numpy()
    longest = int(max(1, lengths.max(initial=0)))
    ids_NL = np.zeros((len(frame), longest), np.int32)
    ids_NL[np.arange(longest) < lengths[:, None]] = frame["concepts"].explode().drop_nulls().to_numpy() + 1
    has_oracle = len(frame) > 0 and frame["oracle"].null_count() == 0
    names = tuple(json.loads(run.outcomes.read_text()))
    return Cases(
        case_id_N=frame["case_id"].to_numpy(),
        subject_N=frame["subject_id"].to_numpy(),
        site_N=frame["site"].to_numpy().astype(str),
        split_N=frame["split"].to_numpy().astype(str),
        ids_NL=ids_NL,
        outcomes_NK=_matrix(frame["outcomes"], len(names)),
        oracle_NK=_matrix(frame["oracle"], len(names)) if has_oracle else None,
        names=names,
        concepts=read_concepts(run),
    )


def read_concepts(run: ConceptsRun) -> pl.DataFrame:
    """Read every concept that a site records, table.CONCEPTS."""
    return check_columns(pl.read_parquet(run.concepts), CONCEPTS, "concepts")


def _matrix(column: pl.Series, num_columns: int) -> np.ndarray:
    return column.list.to_array(num_columns).to_numpy().astype(np.float32)
