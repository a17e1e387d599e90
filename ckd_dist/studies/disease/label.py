"""The teacher reads every sample once and its logits go into shards.  Labelling is not training: no labeller waits.

A plan a split; shards are numbered through all plans, so that only one number travels to a labeller, which holds a
whole merged teacher and finds plans and tokens in the run folder.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ckd_dist import stages
from ckd_dist.config import Label
from ckd_dist.models.fingerprint import fingerprint, fingerprint_tokenizer
from ckd_dist.models.predict import load_merged_teacher, predict_logits
from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.schema import SPLITS, Run
from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import Plan, make_plan
from ckd_dist.softlabels.plans import find
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies.disease.prompts.exchange import import_soft_labels
from ckd_dist.studies.disease.rows import read_table


def plans(run: Run, settings: Label, names: list[str], tokenizer: str) -> dict[str, Plan]:
    """What is to be labelled, by split; a split without samples has no plan.  `tokenizer`: the folder of the teacher's.

    Imported soft labels are of train alone, so the report of such a run has no teacher.
    """
    made = {}
    for split in ("train",) if settings.import_from else SPLITS:
        table = read_table(run, split, "teacher")
        if len(table):
            made[split] = make_plan(
                table.sample_id_N,
                split=split,
                names=names,
                prompts=stages.hash_file(run.tokens(split, "teacher")),
                tokenizer=fingerprint_tokenizer(tokenizer),
                teacher=teacher_of(run, settings),
                shard_rows=settings.shard_rows,
                order_seed=settings.order_seed,
                dtype=settings.dtype,
            )
    return made


def teacher_of(run: Run, settings: Label) -> str:
    """Fingerprint of whoever makes the soft labels."""
    return stages.hash_file(Path(settings.import_from)) if settings.import_from else fingerprint(run.teacher)


class Labeller:
    """One worker with a whole teacher.  `label` publishes a shard; twice is harmless."""

    def __init__(
        self, run: Run, settings: Label, planned: dict[str, Plan], dtype: str, tokenizer: str, device: str
    ) -> None:
        self.run, self.planned = run, planned
        self.predict = (
            imported(settings, planned) if settings.import_from else self._teacher(settings, dtype, tokenizer, device)
        )

    def do(self, number: int) -> None:
        """Label shard `number`, counted through all plans."""
        split, plan, shard = find(self.planned, number)
        generate(plan, self.run.softlabels, [shard], partial(self.predict, split))

    def _teacher(
        self, settings: Label, dtype: str, tokenizer: str, device: str
    ) -> Callable[[str, np.ndarray], np.ndarray]:
        head = load_merged_teacher(self.run.teacher, getattr(torch, dtype), device)
        pad_id = load_tokenizer(tokenizer).pad_token_id
        tables = {split: read_table(self.run, split, "teacher") for split in self.planned}

        def predict(split: str, sample_ids: np.ndarray) -> np.ndarray:
            rows = np.searchsorted(tables[split].sample_id_N, sample_ids)
            return predict_logits(
                head, tables[split], rows, micro_tokens=settings.micro_tokens, pad_id=pad_id, device=device
            )

        return predict


def read(run: Run, settings: Label, plan_hash: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """sample_id_N in plan order and raw logits_NK of a finished set, by this very teacher for these very labels."""
    sample_id_N, logits_NK = read_labels(run.softlabels, plan_hash, names, teacher_of(run, settings))
    return sample_id_N, logits_NK.astype(np.float32)


def imported(settings: Label, planned: dict[str, Plan]) -> Callable[[str, np.ndarray], np.ndarray]:
    """Soft labels that somebody else's teacher made, in CKD-EHR's form: a row a sample of train, in order."""
    plan = planned["train"]
    probabilities_NK = import_soft_labels(Path(settings.import_from), plan.names)
    if len(probabilities_NK) != plan.num_rows:
        raise ValueError(f"{settings.import_from} has {len(probabilities_NK)} rows, train has {plan.num_rows} samples")
    clipped_NK = probabilities_NK.clip(1e-6, 1 - 1e-6)
    logits_NK = np.log(clipped_NK / (1 - clipped_NK)).astype(np.float32)
    sample_id_N = np.sort(plan.sample_id_N)
    return lambda split, sample_ids: logits_NK[np.searchsorted(sample_id_N, sample_ids)]
