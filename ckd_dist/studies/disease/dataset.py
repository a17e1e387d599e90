"""A run's samples as rows of a data set: both roles' texts, what was coded at the next visit, and the teacher's logits.

N samples, K diseases
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from datasets import ClassLabel, Features, List, Value

from ckd_dist.record import read
from ckd_dist.softlabels.dataset import Rows, provenance, soft_feature, vectors
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import MappedLabels
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.from_run import teachers_of
from ckd_dist.studies.disease.rows import read_hard
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import seen_by
from ckd_dist.studies.disease.soft_labels import open_plans


def rows_of(recipe: DiseaseRecipe, run: DiseaseRun, split: str) -> Rows:
    """Return the samples of a split, in order, with the labels that the student's hospital has.

    `soft_labels` are raw logits, null where imported labels lack a split.

    Raises ShardError where soft labels are of other prompts, another teacher or other labels, or are not whole.
    """
    names = run.label_names()
    samples = pl.read_parquet(run.samples(split), columns=["sample_id", "subject_id"])
    hard_NK, known_N = read_hard(run, split, seen_by("student", recipe.student))
    plans = open_plans(run, teachers_of(recipe, run), read(run, "label").numbers, split)
    soft = [MappedLabels(run.softlabels, plan) for plan in plans]

    def read_batch(start: int, stop: int) -> dict[str, Any]:
        here = slice(start, stop)
        ids = samples["sample_id"][here]
        teacher, student = (_texts(run, split, role, ids, start) for role in ("teacher", "student"))
        hard, known = hard_NK[here], known_N[here] > 0
        soft_NK = _logits_of(soft, ids) if soft else np.zeros_like(hard)
        return {
            "sample_id": ids,
            "subject_id": samples["subject_id"][here],
            "prompt": teacher["text"],
            "answer": pl.select(pl.when(pl.Series(known)).then(teacher["answer"])).to_series(),
            "text": student["text"],
            "labels": vectors(hard),
            "known": pa.array(known),
            "diseases": [
                np.flatnonzero(row).tolist() if is_known else None for row, is_known in zip(hard, known, strict=True)
            ],
            "soft_labels": vectors(soft_NK, np.full(len(ids), bool(soft))),
        }

    return Rows(features_of(names), len(samples), read_batch, {"names": names} | _provenance(plans))


def features_of(names: list[str]) -> Features:
    """Return the columns: `diseases` has the numbers of those in `labels` that are 1, and the names of them all."""
    return Features(
        {
            "sample_id": Value("int64"),
            "subject_id": Value("int64"),
            "prompt": Value("string"),  # the teacher's, with its chat template
            "answer": Value(
                "string"
            ),  # what a language model is taught to say to it; null: unlabelled, or hidden from the student
            "text": Value("string"),  # the student's
            "labels": soft_feature(len(names)),  # 0 or 1 of every disease; 0 where nobody knows
            "known": Value("bool"),  # false: no next visit, or its labels are hidden: `labels` say nothing
            "diseases": List(ClassLabel(names=names)),
            "soft_labels": soft_feature(len(names)),  # the teacher's raw logits
        }
    )


def _logits_of(soft: Sequence[MappedLabels], ids: pl.Series) -> np.ndarray:
    """Read raw logits [N, K], each row's from its fold's labels.  Raise ShardError where none has it."""
    of_row = [next((labels for labels in soft if sample_id in labels), soft[0]) for sample_id in ids]
    return np.concatenate([labels.logits_of([each])[0] for labels, each in zip(of_row, ids, strict=True)])


def _provenance(plans: Sequence[Plan]) -> dict[str, Any]:
    """Return what is said of soft labels beside their numbers; of several folds, a list of plans and of teachers."""
    if len(plans) < 2:
        return provenance(plans[0] if plans else None)
    each = [provenance(plan) for plan in plans]
    return each[0] | {name: [one[name] for one in each] for name in ("plan", "teacher")}


def _texts(run: DiseaseRun, split: str, role: str, ids: pl.Series, start: int) -> pl.DataFrame:
    """Read the texts of some samples.  Raise ValueError where the file has others there."""
    file = run.prompts(split, role)
    frame = pl.scan_parquet(file).select("sample_id", "text", "answer").slice(start, len(ids)).collect()
    if not frame["sample_id"].equals(ids):
        raise ValueError(f"{file} holds other samples than {run.samples(split)}: run prompt_{role} again")
    return frame
