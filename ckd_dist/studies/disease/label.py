"""Write the teachers' logits of every sample into shards.  Labelling is not training: no labeler waits for another.

Each split has a plan; where subjects are cross-fitted, one for each fold, which names the fold's teacher.  Shards are
numbered through all plans, so that a labeler is sent one number; it holds a whole merged teacher and finds plans and
tokens in the run folder.  Plans of a fold follow each other, so a labeler seldom changes its teacher.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from ckd_dist.files import hash_file
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.predict import load_classifier, predict_logits
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import LabelSource, Plan, make_plan
from ckd_dist.softlabels.plans import find
from ckd_dist.studies.disease.prompts.exchange import import_soft_labels
from ckd_dist.studies.disease.rows import read_table
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.soft_sources import finite_logits
from ckd_dist.studies.disease.teacher import Teachers

Predict = Callable[[str, np.ndarray], np.ndarray]  # (split, sample ids) -> raw logits [N, K]


@dataclass(frozen=True)
class Labelling:
    """How soft labels are cut into shards and kept."""

    dtype: str  # of stored logits
    shard_rows: int
    order_seed: int
    micro_tokens: int  # padded tokens in a forward pass


def plan_labels(run: DiseaseRun, labelling: Labelling, teachers: Teachers) -> dict[str, Plan]:
    """Plan what is to be labelled, by split and fold; where there is no row, there is no plan.

    Imported soft labels are of train alone, so the report of such a run has no teacher.
    """
    plans, names, tokenizer = {}, tuple(run.label_names()), teachers.fingerprint_tokenizer()
    for fold in teachers.folds:
        for split in ("train",) if teachers.import_from else SPLITS:
            sample_id_N = read_table(run, split, "teacher").sample_id_N
            subjects = pl.read_parquet(run.samples(split), columns=["subject_id"])["subject_id"].to_numpy()
            sample_id_N = sample_id_N[fold.labels(subjects)]
            if len(sample_id_N):
                prompts = hash_file(run.tokens(split, "teacher"))
                plans[fold.plan_of(split)] = make_plan(
                    sample_id_N,
                    LabelSource(names, prompts, tokenizer, teachers.fingerprint(fold.index), fold.index),
                    split=split,
                    shard_rows=labelling.shard_rows,
                    order_seed=labelling.order_seed,
                    dtype=labelling.dtype,
                )
    return plans


class Labeler:
    """One worker with a whole teacher, or with the imported soft labels."""

    def __init__(
        self, run: DiseaseRun, labelling: Labelling, planned: Mapping[str, Plan], teachers: Teachers, device: str
    ) -> None:
        """planned: by `plan_labels`, whose fingerprints are held against the teachers' before one is loaded."""
        self.run, self.labelling, self.planned, self.teachers = run, labelling, planned, teachers
        self.device = device
        self.fold, self.predict = -1, None  # whose teacher it holds

    def do(self, number: int) -> None:
        """Label shard `number`, counted through all plans, and publish it.  Twice is harmless."""
        _, plan, shard = find(self.planned, number)
        if self.fold != plan.source.fold:
            self.predict = None  # of one teacher the memory is free before the next is loaded
            plan.check_teacher(self.teachers.fingerprint(plan.source.fold), "the teacher")
            self.fold, self.predict = plan.source.fold, self._predict_by(plan.source.fold)
        generate(plan, self.run.softlabels, [shard], partial(self.predict, plan.split))

    def _predict_by(self, fold: int) -> Predict:
        """Load what predicts the rows of a fold."""
        if self.teachers.import_from:
            return predict_by_import(self.teachers.import_from, self.planned["train"])
        return predict_by_teacher(self.run, self.teachers, fold, self.labelling.micro_tokens, self.device)


def predict_by_teacher(run: DiseaseRun, teachers: Teachers, fold: int, micro_tokens: int, device: str) -> Predict:
    """Load the trained teacher of a fold, and return its predictions."""
    model = load_classifier(teachers.folders[fold], getattr(torch, teachers.dtype), device)
    pad_id = load_tokenizer(teachers.tokenizer).pad_token_id
    tables = {split: read_table(run, split, "teacher") for split in SPLITS}

    def predict(split: str, sample_ids: np.ndarray) -> np.ndarray:
        rows = np.searchsorted(tables[split].sample_id_N, sample_ids)
        return predict_logits(model, tables[split], rows, micro_tokens=micro_tokens, pad_id=pad_id, device=device)

    return predict


def predict_by_import(file: Path, plan: Plan) -> Predict:
    """Read soft labels of another teacher in CKD-EHR's form, a row a sample of train in order; return its predictions.

    Raises ValueError where the file has other rows than train.
    """
    probabilities_NK = import_soft_labels(file, plan.names)
    if len(probabilities_NK) != plan.num_rows:
        raise ValueError(f"{file} has {len(probabilities_NK)} rows, train has {plan.num_rows} samples")
    logits_NK, sample_id_N = finite_logits(probabilities_NK), np.sort(plan.sample_id_N)
    return lambda split, sample_ids: logits_NK[np.searchsorted(sample_id_N, sample_ids)]
