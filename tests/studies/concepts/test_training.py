"""What each regime does to a model: which weights move, what is chosen, and the curve on the way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from ckd_dist.report.metrics import macro_ranking
from ckd_dist.studies.concepts.experiment import ExperimentWorker
from ckd_dist.studies.concepts.fit import predict_outcomes
from ckd_dist.studies.concepts.patients import weights_of
from ckd_dist.studies.concepts.regimes import TUNED
from ckd_dist.studies.concepts.task import CaseTask
from tests.studies.concepts.small import (
    ONE_HOT,
    SMALL,
    TEACHER,
    bce,
    fork,
    grid,
    plans_where,
    same_weights,
    worker_of,
)


def test_frozen_moves_the_last_layer_and_nothing_else(worker, done):
    for plan in plans_where(worker, regime="frozen"):
        weights = weights_of(worker.train(plan)[0])
        source = done[plan.source.experiment].weights
        moved = {name for name in source if not torch.equal(weights[name], source[name])}
        assert weights.keys() == source.keys()
        assert moved <= {"classifier.weight", "classifier.bias"}
        assert moved or done[plan.experiment].numbers["step"] == 0
    assert any(done[each].numbers["step"] for each in done if each.regime == "frozen")


def test_shared_is_the_source_model_itself(worker, done):
    for plan in plans_where(worker, regime="shared"):
        source, _ = worker.train(plan.source)
        held_out = worker.cases.rows([plan.experiment.target], "held_out")
        logits_NK = predict_outcomes(source, CaseTask(worker.cases), held_out)
        assert done[plan.experiment].probabilities_NK.tobytes() == expit(logits_NK).tobytes()
        assert done[plan.experiment].case_id_N.tolist() == worker.cases.case_id_N[held_out].tolist()


def start_loss(worker: ExperimentWorker, plan) -> float:
    """The tuning cases' loss before anything is tuned."""
    model, cases = worker.start(plan)
    logits_NK = predict_outcomes(model, CaseTask(worker.cases), cases.tuning)
    return bce(worker.cases.outcomes_NK[cases.tuning], logits_NK)


@pytest.mark.parametrize("rate", [1e-3, 30.0])
def test_a_tuned_model_is_never_worse_on_tuning_cases_than_untuned(worker, run, tmp_path, rate):
    """A rate of 30 breaks every model, so that each must be left as it was."""
    tune = replace(SMALL.grid.tune, learning_rate=rate)
    recipe = grid(SMALL, tune=tune, models=SMALL.grid.models[:1], steps_curve=0)
    other = worker_of(recipe, fork(run, tmp_path))
    steps = []
    for number, plan in enumerate(other.plans):
        if plan.experiment.regime in TUNED and plan.experiment.embedding in (TEACHER, ONE_HOT):
            model, numbers = other.train(plan)
            tuning = other.start(plan)[1].tuning
            logits_NK = predict_outcomes(model, CaseTask(other.cases), tuning)
            got = bce(other.cases.outcomes_NK[tuning], logits_NK)
            assert numbers["tuning_loss"] == pytest.approx(got, rel=1e-5), number
            assert got <= start_loss(other, plan) + 1e-6, plan.experiment
            steps.append(numbers["step"])
    assert (max(steps) == 0) == (rate == 30.0)


def test_of_several_rates_the_one_that_tuning_cases_like_best_is_taken(worker, run, tmp_path):
    alone = {}
    for rates in ((1e-4,), (5e-3,), (1e-4, 5e-3), (5e-3, 1e-4)):
        other = worker_of(grid(SMALL, rates=rates), fork(run, tmp_path / str(rates)))
        alone[rates] = other.train(plans_where(other, embedding=TEACHER, regime="local", target="south")[0])
    best = min(alone[(1e-4,)], alone[(5e-3,)], key=lambda found: found[1]["tuning_loss"])
    for rates in ((1e-4, 5e-3), (5e-3, 1e-4)):
        assert alone[rates][1] == best[1] and same_weights(weights_of(alone[rates][0]), weights_of(best[0]))


def test_a_curve_begins_with_the_source_models_own_score(worker, done):
    curves = 0
    for plan in worker.plans:
        experiment, result = plan.experiment, done[plan.experiment]
        assert bool(result.curve) == (experiment.regime in TUNED and experiment.size is None)
        # A model of codes that is tuned as a whole begins with vectors for the target's own codes: another model.
        if not result.curve or (experiment.embedding == ONE_HOT and experiment.regime != "frozen"):
            continue
        shared = done[replace(experiment, regime="shared")]
        held_out = worker.cases.rows([experiment.target], "held_out")
        outcomes_NK = worker.cases.outcomes_NK[held_out]
        logits_NK = predict_outcomes(worker.start(plan)[0], CaseTask(worker.cases), held_out)
        step, score = result.curve[0]
        assert step == 0
        np.testing.assert_allclose(expit(logits_NK), shared.probabilities_NK, rtol=0, atol=1e-6)
        assert score == macro_ranking(outcomes_NK, logits_NK)[0]  # probabilities, rounded, would tie
        steps = [step for step, _ in result.curve]
        assert steps == sorted(set(steps)) and steps[-1] == result.numbers["num_steps"] * SMALL.grid.steps_curve
        curves += 1
    assert curves == 14
