"""Join token tables to samples and shards by sample id: which rows of a split a task reads, with which labels."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from ckd_dist.models.losses import HARD_ALONE, Mixing
from ckd_dist.models.rows import Tokens
from ckd_dist.studies.disease.prompts.tokens import TokenTable
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import Seen, read_samples
from ckd_dist.studies.disease.task import DiseaseTask


@dataclass(frozen=True)
class Chosen:
    """Some rows of a token table, in the order of `rows`: row i here is row rows[i] there."""

    table: Tokens
    rows: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each chosen row, int64 [N]."""
        return np.asarray(self.table.lengths)[self.rows]

    def row(self, i: int) -> np.ndarray:
        """Return the token ids of the i-th chosen row."""
        return self.table.row(int(self.rows[i]))


def read_table(run: DiseaseRun, split: str, role: str) -> TokenTable:
    """Read a split as `role` reads it.  Raise ValueError where it is not the split's samples in their order."""
    table = TokenTable.open(run.tokens(split, role))
    ids = pl.read_parquet(run.samples(split), columns=["sample_id"])["sample_id"].to_numpy()
    if not np.array_equal(table.sample_id_N, ids):
        raise ValueError(
            f"{run.tokens(split, role)} holds other samples than {run.samples(split)}: run prompt_{role} again"
        )
    return table


def read_hard(run: DiseaseRun, split: str, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Read hard labels float32 [N, K], zeros where unseen; and float32 [N], 1 for the rows whose labels are seen."""
    return hard_labels(read_samples(run, split, seen, columns=["labels"]), len(run.label_names()))


def hard_labels(samples: pl.DataFrame, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples' labels float32 [N, K], zeros where unseen; and float32 [N], 1 for the rows that have them."""
    labels = samples["labels"]
    known_N = labels.is_not_null().to_numpy()
    hard_NK = np.zeros((len(labels), num_labels), np.float32)
    if known_N.any():
        hard_NK[known_N] = np.array(labels.drop_nulls().to_list(), np.float32)
    return hard_NK, known_N.astype(np.float32)


def disease_task(run: DiseaseRun, split: str, role: str, pad_id: int, seen: Seen) -> DiseaseTask:
    """Read the rows of a split whose labels are seen, to learn or to score by hard labels alone."""
    hard_NK, known_N = read_hard(run, split, seen)
    rows = np.flatnonzero(known_N)
    return DiseaseTask(
        Chosen(read_table(run, split, role), rows), pad_id, hard_NK[rows], known_N[rows], None, HARD_ALONE
    )


def distilled_task(
    run: DiseaseRun,
    split: str,
    pad_id: int,
    soft: tuple[np.ndarray, np.ndarray],
    mixing: Mixing,
    seen: Seen,
    unlabelled_weight: float,
) -> DiseaseTask:
    """Read all rows of a split that have soft labels, as the student reads them, in the shards' order.

    soft: sample_id_N and the teacher's raw logits_NK, by whose term alone a row without a seen label counts, with
    `unlabelled_weight`.
    """
    sample_id_N, soft_NK = soft
    table = read_table(run, split, "student")
    hard_MK, known_M = read_hard(run, split, seen)
    rows = np.searchsorted(table.sample_id_N, sample_id_N)
    if (rows >= len(table)).any() or not np.array_equal(table.sample_id_N[rows], sample_id_N):
        raise ValueError(f"the soft labels are of other samples than {split}'s: run label again")
    return DiseaseTask(Chosen(table, rows), pad_id, hard_MK[rows], known_M[rows], soft_NK, mixing, unlabelled_weight)
