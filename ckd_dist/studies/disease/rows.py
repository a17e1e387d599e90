"""Which rows of a split a task reads, and with which labels: token tables joined to samples and shards by sample id."""

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from ckd_dist.config import Loss
from ckd_dist.models.rows import Tokens
from ckd_dist.schema import Run
from ckd_dist.studies.disease.prompts.tokens import TokenTable
from ckd_dist.studies.disease.task import DiseaseTask

HARD_ONLY = Loss(soft_weight=0.0, temperature=1.0)


@dataclass(frozen=True)
class Chosen:
    """Some rows of a token table, in the order of `rows`: row i here is row rows[i] there."""

    table: Tokens
    rows: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each chosen row, int64 [N]."""
        return np.asarray(self.table.lengths)[self.rows]

    def row(self, i: int) -> np.ndarray:
        """Token ids of the i-th chosen row."""
        return self.table.row(int(self.rows[i]))


def read_table(run: Run, split: str, reader: str) -> TokenTable:
    """A split as `reader` reads it.  Raises ValueError where it is not the split's samples in their order."""
    table = TokenTable.open(run.tokens(split, reader))
    ids = pl.read_parquet(run.samples(split), columns=["sample_id"])["sample_id"].to_numpy()
    if not np.array_equal(table.sample_id_N, ids):
        raise ValueError(f"{run.tokens(split, reader)} holds other samples than {run.samples(split)}: run prompt again")
    return table


def read_hard(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Hard labels float32 [N, K], zeros where unknown, and which rows know them, float32 [N]."""
    labels = pl.read_parquet(run.samples(split), columns=["labels"])
    num_labels = len(json.loads(run.labels.read_text())["names"])
    known_N = labels["labels"].is_not_null().to_numpy()
    hard_NK = np.zeros((len(labels), num_labels), np.float32)
    if known_N.any():
        hard_NK[known_N] = np.array(labels["labels"].drop_nulls().to_list(), np.float32)
    return hard_NK, known_N.astype(np.float32)


def disease_task(run: Run, split: str, reader: str, pad_id: int) -> DiseaseTask:
    """The labelled rows of a split, to learn or to score by hard labels alone."""
    hard_NK, known_N = read_hard(run, split)
    rows = np.flatnonzero(known_N)
    return DiseaseTask(
        Chosen(read_table(run, split, reader), rows), pad_id, hard_NK[rows], known_N[rows], None, HARD_ONLY
    )


def distilled_task(
    run: Run, reader: str, pad_id: int, sample_id_N: np.ndarray, soft_NK: np.ndarray, loss: Loss
) -> DiseaseTask:
    """All rows of train that have soft labels, in the shards' order; an unlabelled one counts by the teacher's term."""
    table = read_table(run, "train", reader)
    hard_MK, known_M = read_hard(run, "train")
    rows = np.searchsorted(table.sample_id_N, sample_id_N)
    if (rows >= len(table)).any() or not np.array_equal(table.sample_id_N[rows], sample_id_N):
        raise ValueError("the soft labels are of other samples than train's: run label again")
    return DiseaseTask(Chosen(table, rows), pad_id, hard_MK[rows], known_M[rows], soft_NK, loss)
