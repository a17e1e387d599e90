"""Train one student of the experiments, as its plan says, and let it predict.

Checkpoints lie in a temporary folder and go with it.

    M rows of a split, K labels
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Phase
from ckd_dist.engine.train import best_of
from ckd_dist.files import make_folder
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.encoder import build_student
from ckd_dist.models.losses import HARD_ALONE
from ckd_dist.models.predict import predict_logits
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.schedule import num_steps, steps_per_epoch
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.experiments import LEARNED, ExperimentPlan, StudentOptions
from ckd_dist.studies.disease.fit import fit_labels
from ckd_dist.studies.disease.folds import Fold
from ckd_dist.studies.disease.rows import Chosen, hard_labels, read_table
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import ALL, hide, read_samples
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.world import World

# Looks at tuning of a student that learns from hard labels alone, and those without a better one after which it ends:
# few labels are soon known by heart, and what follows its best moment only costs time.
LOOKS, PATIENCE = 20, 5
EVERYBODY = Fold()

Logits = Mapping[str, np.ndarray]  # split -> [M, K], all rows in order


class StudentTrainer:
    """One process with all samples and the student's texts of them.  options: how every student is made."""

    def __init__(self, run: DiseaseRun, options: StudentOptions, device: str) -> None:
        self.device = device
        self.folder = run.experiments
        self.names = run.label_names()
        self.samples = {split: read_samples(run, split, ALL) for split in SPLITS}
        self.tables = {split: read_table(run, split, "student") for split in SPLITS}
        self.pad_id = load_tokenizer(options.base, options.revision).pad_token_id
        self.micro_tokens = options.optim.micro_tokens

    def hard(self, plan: ExperimentPlan, split: str, fold: Fold = EVERYBODY) -> tuple[np.ndarray, np.ndarray]:
        """Return hard labels float32 [M, K], zeros where unseen; and float32 [M], 1 where they are seen.

        fold: whose labels are left out of train.
        """
        seen = replace(plan.seen, fold=fold)
        return hard_labels(hide(self.samples[split], split, seen), len(self.names))

    def tasks(self, plan: ExperimentPlan, soft: Logits, fold: Fold = EVERYBODY) -> dict[str, DiseaseTask]:
        """Return what is learned from, and by what of tuning the checkpoint is chosen.

        soft: of all rows; empty: hard labels alone.  fold: whose labels are left out of train.
        """
        tasks = {}
        for split in LEARNED:
            hard_MK, known_M = self.hard(plan, split, fold)
            alone = not soft or (plan.variant.labelled_rows_only and split == "train")
            rows = np.flatnonzero(known_M) if alone else np.arange(len(known_M))
            tasks[split] = DiseaseTask(
                Chosen(self.tables[split], rows),
                self.pad_id,
                hard_MK[rows],
                known_M[rows],
                soft[split][rows] if soft else None,
                plan.mixing if soft else HARD_ALONE,
                plan.student.unlabelled_weight,
            )
        return tasks

    def train(self, plan: ExperimentPlan, tasks: Mapping[str, DiseaseTask]) -> tuple[Wrapper, dict[str, float]]:
        """Train a fresh student; return it with its best weights, and how its training went."""
        student, task = plan.student, tasks["train"]
        is_hard = task.soft_NK is None
        optim = self.as_many_updates(student.optim, len(task.lengths), is_hard)
        make_folder(self.folder)
        with tempfile.TemporaryDirectory(
            prefix=".checkpoints.", suffix=".tmp", dir=self.folder, ignore_cleanup_errors=True
        ) as folder:
            model = build_student(
                student.base,
                self.names,
                revision=student.revision,
                max_tokens=student.max_tokens,
                seed=optim.seed,
            )
            engine = DdpEngine(model, optim, World(), dtype=student.dtype, device=self.device)
            phase = Phase(optim, Path(folder), plan.digest, "negative_loss")
            if is_hard:
                phase = replace(phase, patience=PATIENCE * optim.evaluate_every)
            fitted = fit_labels(engine, task, tasks["tuning"], phase)
        best = best_of(fitted).get("step", fitted.step)
        return model, {"num_train": len(task.lengths), "updates": fitted.step, "best_update": best}

    def as_many_updates(self, optim: Optim, num_rows: int, is_hard: bool) -> Optim:
        """Return a schedule of as many updates as all rows would make, whatever rows are read."""
        num_all, per_epoch = self.samples["train"].height, steps_per_epoch(num_rows, optim.batch_samples)
        steps = num_steps(num_all, optim.batch_samples, optim.epochs)
        every = optim.evaluate_every or steps_per_epoch(num_all, optim.batch_samples)
        if is_hard:
            every = min(every, max(1, steps // LOOKS))
        return replace(optim, epochs=steps / per_epoch, evaluate_every=every)

    def predict(self, model: Wrapper, split: str, rows: np.ndarray) -> np.ndarray:
        """Return a student's raw logits of these rows of a split."""
        return predict_logits(
            model, self.tables[split], rows, micro_tokens=self.micro_tokens, pad_id=self.pad_id, device=self.device
        )

    def predict_all(self, model: Wrapper) -> Logits:
        """Return a student's raw logits of all rows of train and tuning."""
        return {split: self.predict(model, split, np.arange(self.samples[split].height)) for split in LEARNED}
