"""A task, its steps and an engine become one training phase; and the same task is looked at on the tuning split.

Teacher and student, of every study, train through these functions; what differs is the task and the model.  Which rows
a rank reads when is a stream's business: it is handed in.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ckd_dist.engine.loop import Engine, Fitted, Phase, Planned, fit, training_schedule
from ckd_dist.engine.task import Task


def train(
    engine: Engine,
    task: Task,
    steps: Callable[[int], Iterator[Planned]],
    phase: Phase,
    evaluate: Callable[[], dict[str, float]],
) -> Fitted:
    """Train on all rows of `task` to the end of the phase, or until asked to stop; go on from its newest checkpoint.

    steps: from a step's number, this rank's planned steps from there on.
    """
    return fit(engine, task, steps, training_schedule(phase.optim, len(task.weights)), phase, evaluate)


def predict(
    engine: Engine, task: Task, slots: Sequence[np.ndarray], num_columns: int, units_N: np.ndarray | None = None
) -> np.ndarray:
    """Return the logits of all rows' units, row after row, float32 [U, K], on every rank.  A collective.

    slots: this rank's rows of each pass, as many on each rank.  units_N: how many units each row has; none: one each.
    """
    units_N = np.ones(len(task.weights), np.int64) if units_N is None else units_N
    ends_N = np.cumsum(units_N)
    logits_UK = torch.zeros(int(units_N.sum()), num_columns, device=engine.device)
    for rows in slots:
        got_UK = engine.predict(task.collate(rows).to(engine.device))
        if len(rows):
            units = np.concatenate([np.arange(ends_N[row] - units_N[row], ends_N[row]) for row in rows])
            logits_UK[torch.as_tensor(units, device=engine.device)] = got_UK
    return engine.world.total(logits_UK).cpu().numpy()


def mean_loss(engine: Engine, task: Task, slots: Sequence[np.ndarray]) -> float:
    """Return the task's loss a unit of weight over all rows, on every rank.  A collective."""
    loss = torch.zeros((), device=engine.device, dtype=torch.float64)
    for rows in slots:
        batch: Any = task.collate(rows).to(engine.device)
        loss += task.loss(engine.predict(batch), batch)
    return float(engine.world.total(loss)) / float(np.sum(task.weights))


def best_of(fitted: Fitted) -> dict[str, Any]:
    """Return the checkpoint that tuning chose, and its scores; only the leader knows."""
    return {"step": fitted.best.step, "tuning": fitted.best.numbers} if fitted.best else {}
