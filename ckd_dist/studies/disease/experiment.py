"""Do one experiment: train the student as its variant says, or fit its baseline, and score held_out.

A worker reads the tables once.  Checkpoints lie in a temporary folder and go with it.  `own` reads what its seed's
`hard` predicts from that experiment's file; where it is not there yet, it does that one first: the same bytes, whoever
does it.  So an experiment depends on no other, and any worker may do any.

    N labelled rows of held_out, M rows of a split, K labels
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import expit

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.experiments import is_done, path_of
from ckd_dist.engine.loop import Phase
from ckd_dist.engine.train import best_of
from ckd_dist.files import make_folder
from ckd_dist.hospital import law
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.encoder import build_student
from ckd_dist.models.losses import HARD_ALONE
from ckd_dist.models.predict import predict_logits
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.schedule import num_steps, steps_per_epoch
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import Experiment, ExperimentPlan, temperature_of
from ckd_dist.studies.disease.folds import Fold, folds_of
from ckd_dist.studies.disease.report.baselines import Baseline, boosted_trees, copy_last_visit, logistic_regression
from ckd_dist.studies.disease.rows import Chosen, read_table
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import ALL, hide, read_samples
from ckd_dist.studies.disease.soft_sources import exact, of_others
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.studies.disease.teach import fit_labels
from ckd_dist.studies.disease.temperature import fit
from ckd_dist.world import World

FOLDS = 5  # of a teacher of the same labels
# Looks at tuning of a student that learns from hard labels alone, and those without a better one after which it ends:
# few labels are soon known by heart, and what follows its best moment only costs time.
LOOKS, PATIENCE = 20, 5
LEARNED = ("train", "tuning")

Logits = Mapping[str, np.ndarray]  # split -> [M, K], all rows in order
BASELINES: dict[str, Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame], Baseline]] = {
    "logistic": logistic_regression,
    "trees": boosted_trees,
    "copy_last": copy_last_visit,
}


@dataclass(frozen=True)
class Material:
    """What experiments read beside the run's own tables.

    teacher: raw logits by split; empty where there is none.  elsewhere: reads train and tuning of the other run, with
    the labels that its teacher saw; None where there is none.
    """

    teacher: Logits
    elsewhere: Callable[[], tuple[pl.DataFrame, pl.DataFrame]] | None = None


class ExperimentWorker:
    """One process with the student's texts and all samples."""

    def __init__(self, run: DiseaseRun, plans: Sequence[ExperimentPlan], material: Material, device: str) -> None:
        self.run, self.plans, self.material, self.device = run, plans, material, device
        self.names = run.label_names()
        self.samples = {split: read_samples(run, split, ALL) for split in SPLITS}
        self.tables = {split: read_table(run, split, "student") for split in SPLITS}
        self.pad_id = load_tokenizer(plans[0].student.base, plans[0].student.revision).pad_token_id
        self.scored_N = self.samples["held_out"]["labels"].is_not_null().arg_true().to_numpy()

    def do(self, number: int) -> None:
        """Do experiment `number` and publish its result.  Twice is harmless."""
        self.publish(self.plans[number])

    def publish(self, plan: ExperimentPlan) -> None:
        """Do an experiment and write its result, where nobody has done so yet."""
        if not is_done(self.run.experiments, plan.experiment, plan.digest):
            self.result_of(plan).write(self.run.experiments)

    def result_of(self, plan: ExperimentPlan) -> Result:
        """Fit and score.  The clock does not run while another experiment is done, whose time is its own."""
        source = self.hard_logits(plan) if plan.variant.soft == "own" else {}
        begun = time.time()
        if plan.variant.role in ("baseline", "teacher", "oracle"):
            probabilities_NK, numbers, kept = self.untrained(plan), {}, {}
        else:
            model, numbers = self.taught(plan, source)
            probabilities_NK = expit(self.predict(model, "held_out", self.scored_N))
            kept = self.predict_all(model) if self.is_teacher(plan.experiment) else {}
        return Result(
            plan.experiment,
            plan.digest,
            self.samples["held_out"]["sample_id"].to_numpy()[self.scored_N],
            probabilities_NK,
            begun,
            time.time(),
            os.getpid(),
            numbers,
            kept,
        )

    def is_teacher(self, experiment: Experiment) -> bool:
        """Say whether another experiment learns from what this one predicts."""
        taught = [plan.experiment for plan in self.plans if plan.variant.soft == "own"]
        return any(replace(each, variant="hard") == experiment for each in taught)

    def hard_logits(self, plan: ExperimentPlan) -> Logits:
        """Return what the hard-label student of the same labels and seed predicts; do that experiment where needed.

        One that was done when nobody learned from it has kept no predictions, and is done again.
        """
        wanted = replace(plan.experiment, variant="hard")
        source = next(each for each in self.plans if each.experiment == wanted)
        path = path_of(self.run.experiments, wanted)
        self.publish(source)
        if not (logits := Result.read(path, logits=True).logits):
            self.result_of(source).write(self.run.experiments)
            logits = Result.read(path, logits=True).logits
        return logits

    def untrained(self, plan: ExperimentPlan) -> np.ndarray:
        """Score held_out by what trains no student: teacher, law, or a baseline of these labels or of the others'."""
        rows = self.samples["held_out"][self.scored_N]
        match plan.experiment.variant:
            case "teacher":
                return expit(self.material.teacher["held_out"][self.scored_N])
            case "oracle":
                return law.probabilities(rows, self.names)
            case "elsewhere":
                return logistic_regression(*self.material.elsewhere(), rows).probabilities_NK
        seen = (hide(self.samples[split], split, plan.seen) for split in LEARNED)
        return BASELINES[plan.experiment.variant](*seen, rows).probabilities_NK

    def taught(self, plan: ExperimentPlan, own: Logits) -> tuple[Wrapper, dict[str, float]]:
        """Train the student of a variant.  own: what `hard` predicts, for the variant that learns from it."""
        if plan.variant.soft is None:
            return self.train(plan, self.tasks(plan, {}))
        return self.train(plan, self.tasks(plan, self.soft_labels(plan, own)))

    def soft_labels(self, plan: ExperimentPlan, own: Logits) -> Logits:
        """Return the logits that a variant's student learns from, of all rows of train and tuning."""
        match plan.variant.soft:
            case "exact":
                return {split: exact(self.samples[split], self.names) for split in LEARNED}
            case "own":
                return own
            case "own_crossfit":
                return self.crossfitted(plan)
        taught = self.calibrated(plan)
        if plan.variant.soft == "permuted":
            seed = plan.experiment.seed
            return {split: taught[split][of_others(self.samples[split]["subject_id"], seed)] for split in LEARNED}
        return taught

    def calibrated(self, plan: ExperimentPlan) -> Logits:
        """Return the teacher's logits, divided by the temperature that fits the seen labels of tuning."""
        kind, teacher = temperature_of(plan.variant, plan.student), self.material.teacher
        if kind == "none":
            return teacher
        hard_MK, known_M = self.hard(plan, "tuning")
        known = known_M > 0
        temperature = fit(teacher["tuning"][known], hard_MK[known], kind)
        return {split: temperature.soften(teacher[split]) for split in LEARNED}

    def crossfitted(self, plan: ExperimentPlan) -> Logits:
        """Train the same student once a fold on the labels of the others; it predicts the subjects of its fold."""
        logits = {split: np.zeros((self.samples[split].height, len(self.names)), np.float32) for split in LEARNED}
        for fold in folds_of(FOLDS):
            model, _ = self.train(plan, self.tasks(plan, {}, fold))
            for split in LEARNED:
                rows = np.flatnonzero(fold.labels(self.samples[split]["subject_id"].to_numpy()))
                if len(rows):
                    logits[split][rows] = self.predict(model, split, rows)
        return logits

    def hard(self, plan: ExperimentPlan, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return hard labels float32 [M, K], zeros where unseen; and float32 [M], 1 where they are seen."""
        labels = hide(self.samples[split], split, plan.seen)["labels"]
        known_M = labels.is_not_null().to_numpy()
        hard_MK = np.zeros((len(labels), len(self.names)), np.float32)
        if known_M.any():
            hard_MK[known_M] = np.array(labels.drop_nulls().to_list(), np.float32)
        return hard_MK, known_M.astype(np.float32)

    def tasks(self, plan: ExperimentPlan, soft: Logits, fold: Fold = Fold()) -> dict[str, DiseaseTask]:  # noqa: B008
        """Return what is learned from, and by what of tuning the checkpoint is chosen.

        soft: of all rows; empty: hard labels alone.  fold: whose labels are left out of train.
        """
        tasks = {}
        for split in LEARNED:
            hard_MK, known_M = self.hard(plan, split)
            if split == "train":
                known_M = known_M * fold.learns_from(self.samples[split]["subject_id"].to_numpy())
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
        make_folder(self.run.experiments)
        with tempfile.TemporaryDirectory(
            prefix=".checkpoints.", suffix=".tmp", dir=self.run.experiments, ignore_cleanup_errors=True
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
        micro_tokens = self.plans[0].student.optim.micro_tokens
        table = self.tables[split]
        return predict_logits(model, table, rows, micro_tokens=micro_tokens, pad_id=self.pad_id, device=self.device)

    def predict_all(self, model: Wrapper) -> Logits:
        """Return a student's raw logits of all rows of train and tuning."""
        return {split: self.predict(model, split, np.arange(self.samples[split].height)) for split in LEARNED}
