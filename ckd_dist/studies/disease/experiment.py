"""Do one experiment: train the student as its variant says, or fit its baseline, and score held_out.

A worker reads the tables once.  `own` reads what its seed's `hard` predicts from that experiment's file; where it is
not there yet, it does that one first: the same bytes, whoever does it.  So an experiment depends on no other, and any
worker may do any.

    N labelled rows of held_out, M rows of a split, K labels
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.special import expit

from ckd_dist.engine.experiments import is_done, path_of
from ckd_dist.hospital import law
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiment_student import Logits, StudentTrainer
from ckd_dist.studies.disease.experiments import FOLDS, LEARNED, Experiment, ExperimentPlan, temperature_of
from ckd_dist.studies.disease.folds import folds_of
from ckd_dist.studies.disease.report.baselines import Baseline, boosted_trees, copy_last_visit, logistic_regression
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import hide
from ckd_dist.studies.disease.soft_sources import exact, permuted_rows
from ckd_dist.studies.disease.temperature import fit

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
        self.run, self.plans, self.material = run, plans, material
        self.students = StudentTrainer(run, plans[0].student, device)
        self.samples = self.students.samples
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
            probabilities_NK = expit(self.students.predict(model, "held_out", self.scored_N))
            kept = self.students.predict_all(model) if self.is_teacher(plan.experiment) else {}
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
                return law.probabilities(rows, self.students.names)
            case "elsewhere":
                return logistic_regression(*self.material.elsewhere(), rows).probabilities_NK
        seen = (hide(self.samples[split], split, plan.seen) for split in LEARNED)
        return BASELINES[plan.experiment.variant](*seen, rows).probabilities_NK

    def taught(self, plan: ExperimentPlan, own: Logits) -> tuple[Wrapper, dict[str, float]]:
        """Train the student of a variant.  own: what `hard` predicts, for the variant that learns from it."""
        if plan.variant.soft is None:
            return self.students.train(plan, self.students.tasks(plan, {}))
        return self.students.train(plan, self.students.tasks(plan, self.soft_labels(plan, own)))

    def soft_labels(self, plan: ExperimentPlan, own: Logits) -> Logits:
        """Return the logits that a variant's student learns from, of all rows of train and tuning."""
        match plan.variant.soft:
            case "exact":
                return {split: exact(self.samples[split], self.students.names) for split in LEARNED}
            case "own":
                return own
            case "own_crossfit":
                return self.crossfitted(plan)
        taught = self.calibrated(plan)
        if plan.variant.soft == "permuted":
            seed = plan.experiment.seed
            return {split: taught[split][permuted_rows(self.samples[split], seed)] for split in LEARNED}
        return taught

    def calibrated(self, plan: ExperimentPlan) -> Logits:
        """Return the teacher's logits, divided by the temperature that fits the seen labels of tuning."""
        kind, teacher = temperature_of(plan.variant, plan.student), self.material.teacher
        if kind == "none":
            return teacher
        hard_MK, known_M = self.students.hard(plan, "tuning")
        known = known_M > 0
        temperature = fit(teacher["tuning"][known], hard_MK[known], kind)
        return {split: temperature.soften(teacher[split]) for split in LEARNED}

    def crossfitted(self, plan: ExperimentPlan) -> Logits:
        """Train the same student once a fold on the labels of the others; it predicts the subjects of its fold."""
        logits = {
            split: np.zeros((self.samples[split].height, len(self.students.names)), np.float32) for split in LEARNED
        }
        for fold in folds_of(FOLDS):
            model, _ = self.students.train(plan, self.students.tasks(plan, {}, fold))
            for split in LEARNED:
                rows = np.flatnonzero(fold.labels(self.samples[split]["subject_id"].to_numpy()))
                if len(rows):
                    logits[split][rows] = self.students.predict(model, split, rows)
        return logits
