"""Fit a classifier, teacher or student, to its task: train it, and choose a checkpoint by what tuning says."""

import numpy as np

from ckd_dist.engine.loop import Engine, Fitted, Phase
from ckd_dist.engine.train import predict, train
from ckd_dist.softlabels.stream import eval_slots, steps_of
from ckd_dist.studies.disease.task import DiseaseTask


def fit_labels(engine: Engine, task: DiseaseTask, tuning: DiseaseTask, phase: Phase) -> Fitted:
    """Train a classifier on `task`, choosing the checkpoint by the phase's metric on `tuning`.

    negative_loss, beside the task's own metrics, is what is learnt, of tuning: for a student, soft labels included.
    """

    def evaluate() -> dict[str, float]:
        if not len(tuning.lengths):
            return {}
        slots = eval_slots(tuning.lengths, phase.optim.micro_tokens, engine.world)
        logits_NK = predict(engine, tuning, slots, tuning.hard_NK.shape[1])
        numbers = tuning.metrics(np.arange(len(logits_NK)), logits_NK)
        return numbers | {"negative_loss": -tuning.mean_loss(logits_NK)}

    weights_N = step_weights(task.weights)
    return train(engine, task, steps_of(phase.optim, engine.world, task.lengths, weights_N), phase, evaluate)


def step_weights(weights_N: np.ndarray) -> np.ndarray:
    """Return what rows add to what their step's loss is divided by: the same for each, their mean.

    So a row that weighs a hundredth counts a hundredth over the epoch.  Divided by its own rows' weights, a step that
    happens to have light rows alone would be as large as any other.

    >>> step_weights(np.array([1.0, 0.5, 0.0])).tolist()
    [0.5, 0.5, 0.5]
    """
    return np.full(len(weights_N), np.mean(weights_N)) if len(weights_N) else weights_N
