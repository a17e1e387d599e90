"""Do one experiment: build the patient model, train it as the regime says, score the target's held-out cases.

An experiment that starts from a source model reads it from the source experiment's file; where that is not there yet,
it trains it and keeps it: the same bytes, whoever does it.  So an experiment depends on no other, and any worker may do
any.
"""

import dataclasses
import os
import time
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import expit
from torch import Tensor

from ckd_dist.engine.experiments import is_done, path_of
from ckd_dist.report.metrics import macro_ranking
from ckd_dist.schedule import num_steps
from ckd_dist.studies.concepts.cases.cases import read_cases
from ckd_dist.studies.concepts.fit import FitOptions, Probe, fit_patient, predict_outcomes
from ckd_dist.studies.concepts.grid import ExperimentPlan, members
from ckd_dist.studies.concepts.patients import (
    Codes,
    Patient,
    Vectors,
    build_patient,
    choose_trainable,
    load_weights,
    weights_of,
)
from ckd_dist.studies.concepts.regimes import TUNED, SiteSplits, TrainingCases, training_cases
from ckd_dist.studies.concepts.result import Result
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.tables import ONE_HOT, Table, keys_of
from ckd_dist.studies.concepts.task import CaseTask
from ckd_dist.studies.concepts.whiten import fit_whitening

CURVE_POINTS = 12  # of a curve over tuning steps


class ExperimentWorker:
    """One process with the cases of all sites; tables of vectors are read when they are first needed."""

    def __init__(self, run: ConceptsRun, plans: Sequence[ExperimentPlan], device: str) -> None:
        self.run, self.plans, self.device = run, plans, device
        self.cases = read_cases(run)
        self.keys_V = keys_of(self.cases.concepts)

    def do(self, number: int) -> None:
        """Do experiment `number` and publish its result.  Twice is harmless."""
        self.publish(self.plans[number])

    def publish(self, plan: ExperimentPlan) -> None:
        """Do an experiment and write its result, where nobody has done so yet."""
        if not is_done(self.run.experiments, plan.experiment, plan.digest):
            self.result_of(plan).write(self.run.experiments)

    def result_of(self, plan: ExperimentPlan) -> Result:
        """Train and score.  The clock does not run while a source model is made, whose time is its own."""
        if plan.source:
            self.publish(plan.source)
        experiment, begun = plan.experiment, time.time()
        held_out = self.cases.rows([experiment.target], "held_out")
        model, numbers = self.train(plan)
        logits_NK = predict_outcomes(model, CaseTask(self.cases), held_out, self.device)
        return Result(
            experiment,
            plan.digest,
            self.cases.case_id_N[held_out],
            expit(logits_NK),
            curve=self.steps_curve(plan, held_out, numbers["rate"]) if plan.steps_curve else (),
            begun=begun,
            ended=time.time(),
            worker=os.getpid(),
            numbers=numbers,
            weights=weights_of(model) if experiment.regime == "local" and experiment.size is None else {},
        )

    def train(self, plan: ExperimentPlan) -> tuple[Patient, dict[str, float]]:
        """Return the model, ready to predict, and how its training went, at the rate that tuning cases like best."""
        if plan.experiment.regime == "shared":
            return self.start(plan)[0].to(self.device).eval(), {}
        tried = [self.train_at(plan, rate) for rate in plan.rates]
        return min(tried, key=lambda model_numbers: model_numbers[1]["tuning_loss"])

    def train_at(self, plan: ExperimentPlan, rate: float) -> tuple[Patient, dict[str, float]]:
        """Train at one learning rate."""
        model, cases = self.start(plan)
        experiment = plan.experiment
        task = CaseTask(self.cases, experiment.target if experiment.regime == "adversarial" else None)
        options = FitOptions(
            dataclasses.replace(plan.optim, learning_rate=rate),
            self.steps_to_make(plan, cases),
            experiment.seed,
            self.device,
            from_start=experiment.regime in TUNED,
            by_length=plan.model.kind == "transformer",
        )
        chosen = fit_patient(model, task, cases, options)
        return model, {**vars(chosen), "num_train": len(cases.train), "rate": rate}

    def start(self, plan: ExperimentPlan) -> tuple[Patient, TrainingCases]:
        """Build the model before its training, its trainable parameters chosen; return it with its training cases."""
        experiment = plan.experiment
        source, target = self.splits_of(experiment.source), self.splits_of(experiment.target)
        cases = training_cases(experiment.regime, source, target, experiment.size, experiment.seed)
        inputs = self.inputs_of(plan, cases.train)
        model = build_patient(plan.model, len(self.cases.names), inputs, experiment.seed, plan.adversary_weight)
        if plan.source:
            load_weights(model, self.source_weights(plan.source))
        choose_trainable(model, experiment.regime)
        return model, cases

    def source_weights(self, source: ExperimentPlan) -> dict[str, Tensor]:
        """Read the weights of a source model; train and keep them where nobody has done so yet."""
        self.publish(source)
        return dict(Result.read(path_of(self.run.experiments, source.experiment), weights=True).weights)

    def steps_to_make(self, plan: ExperimentPlan, cases: TrainingCases) -> int:
        """Count the updates: as many for a few of the target's cases as for all, as the published code has it."""
        whole, size = len(cases.train), plan.experiment.size
        if size is not None:
            whole += len(self.splits_of(plan.experiment.target).train) - size
        return num_steps(whole, plan.optim.batch_samples, plan.optim.epochs)

    def steps_curve(self, plan: ExperimentPlan, held_out: np.ndarray, rate: float) -> tuple[tuple[int, float], ...]:
        """Return the target's macro AUROC while it is tuned on and on at a constant rate, nothing chosen."""
        model, cases = self.start(plan)
        optim = dataclasses.replace(plan.optim, schedule="constant", learning_rate=rate)
        steps = self.steps_to_make(plan, cases) * plan.steps_curve
        task, curve = CaseTask(self.cases), []

        def look(step: int) -> None:
            logits_NK = predict_outcomes(model, task, held_out, self.device)
            macro_auroc, _ = macro_ranking(self.cases.outcomes_NK[held_out], logits_NK)
            curve.append((step, macro_auroc))

        powers = {max(1, round(steps ** (i / (CURVE_POINTS - 1)))) for i in range(CURVE_POINTS)}
        options = FitOptions(optim, steps, plan.experiment.seed, self.device)
        fit_patient(model, task, cases, options, Probe((0, *sorted(powers)), look))
        return tuple(curve)

    @lru_cache(maxsize=64)  # noqa: B019  (a worker lives as long as its process)
    def splits_of(self, site: str) -> SiteSplits:
        """Return the rows of a site, or of all but one."""
        sites = members(site, self.cases.sites)
        return SiteSplits(self.cases.rows(sites, "train"), self.cases.rows(sites, "tuning"), self.cases.subject_N)

    def inputs_of(self, plan: ExperimentPlan, train: np.ndarray) -> Vectors | Codes:
        """Return what the model reads: scaled vectors of the embedding, or codes that occur in its training cases."""
        experiment = plan.experiment
        if experiment.embedding == ONE_HOT:
            learns_codes = experiment.regime not in ("shared", "frozen")  # these have their source model's codes alone
            seen_V = self.cases.seen_V(train if learns_codes else train[:0])
            return Codes(self.keys_V, seen_V, experiment.seed)
        scaled_on = experiment.target if experiment.regime == "local" else experiment.source
        return Vectors(self.vectors(experiment.embedding, scaled_on, plan.directions))

    @lru_cache(maxsize=8)  # noqa: B019
    def vectors(self, embedding: str, source: str, directions: int | None) -> np.ndarray:
        """Return an embedding's vectors of all concepts, on the scale of the source's."""
        vectors_VD = Table.open(self.run.vectors(embedding)).rows_of(self.keys_V)
        seen_V = self.cases.seen_V(self.splits_of(source).train)
        return fit_whitening(vectors_VD[seen_V], directions).apply(vectors_VD)
