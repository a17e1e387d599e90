"""Read whom the report is about: the labelled visits of held_out, and who else is in the samples.

N rows, K labels
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.report.results import Cohort, HeldOut
from ckd_dist.studies.disease.report.table1 import groups_of, table1
from ckd_dist.studies.disease.rows import read_hard
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import ALL, Seen, read_samples


@dataclass(frozen=True)
class LabelledRows:
    """The labelled rows of one split: their places in its tables, and their labels."""

    rows: np.ndarray
    hard_NK: np.ndarray


def read_labelled(run: DiseaseRun, split: str, seen: Seen = ALL) -> LabelledRows:
    """Read the rows of `split` whose labels are seen; of held_out those are all."""
    hard_NK, known_N = read_hard(run, split, seen)
    rows = np.flatnonzero(known_N)
    return LabelledRows(rows, hard_NK[rows])


def read_held_out(run: DiseaseRun) -> HeldOut:
    """Read whom the report is about: the labelled visits of held_out.  Raise ValueError where there are none."""
    labelled = read_labelled(run, "held_out")
    if not len(labelled.rows):
        raise ValueError(
            "held_out has no labelled visit, so there is nothing to report on: bring more subjects, or lower "
            "extract.train_fraction or extract.tuning_fraction"
        )
    rows = pl.read_parquet(run.samples("held_out"))[labelled.rows]
    return HeldOut(
        label_names=tuple(run.label_names()),
        labels_NK=labelled.hard_NK.astype(int),
        subject_N=rows["subject_id"].to_numpy(),
        groups=groups_of(rows),
    )


def read_cohort(run: DiseaseRun, flow: list, tables: Mapping[str, Mapping[str, Any]], seen: Seen) -> Cohort:
    """Read who is in the run's samples, and their labels where they are seen.

    flow: how they were selected, as stage select counted it.  tables: the source's, as stage extract counted them.
    """
    samples = {split: read_samples(run, split, seen) for split in SPLITS}
    return Cohort(flow, table1(samples, run.label_names()), list(tables.values()))
