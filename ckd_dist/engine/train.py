"""A task, its rows and an engine become one training phase: the plan of steps, the loop, a look at the tuning split.

Teacher and student, of every study, train through these two functions; what differs is the task and the head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ckd_dist.config import Optim
from ckd_dist.engine.loop import Engine, Fitted, course, fit
from ckd_dist.engine.optim import schedule
from ckd_dist.engine.task import Task
from ckd_dist.progress import Track, nobody
from ckd_dist.softlabels import stream

Committed = Callable[[Path, int, dict[str, float]], None]


def nobody_waits(checkpoint: Path, step: int, numbers: dict[str, float]) -> None:
    """A checkpoint that is on disk, and nobody to tell."""


def never() -> bool:
    """Nobody asks a stage to stop."""
    return False


@dataclass(frozen=True)
class Watch:
    """Whom a long phase answers to.  All defaults do nothing."""

    committed: Committed = nobody_waits
    should_stop: Callable[[], bool] = never
    track: Track = nobody
    scalars: Path | None = None  # TensorBoard


def train(
    engine: Engine,
    task: Task,
    lengths_N: np.ndarray,
    weights_N: np.ndarray,
    optim: Optim,
    evaluate: Callable[[], dict[str, float]],
    better: str,
    folder: Path,
    digest: str,
    watch: Watch,
) -> Fitted:
    """Train on N rows of `task` to the end of `optim`, or until told to stop; resume from `folder`.

    lengths_N: tokens of each row.  weights_N: what it adds to its step's total weight.  better: the number of
    `evaluate` that chooses the checkpoint.
    """
    plan = partial(
        stream.steps,
        lengths_N,
        weights_N,
        batch_samples=optim.batch_samples,
        micro_tokens=optim.micro_tokens,
        seed=optim.seed,
        epochs=optim.epochs,
        rank=engine.world.rank,
        num_ranks=engine.world.num_ranks,
    )
    steps_per_epoch = -(-len(lengths_N) // optim.batch_samples)
    way = course(optim, steps_per_epoch, better)
    return fit(
        engine,
        lambda start: plan(start_step=start),
        task.collate,
        task.loss,
        way,
        schedule=schedule(optim, way.num_steps),
        folder=folder,
        digest=digest,
        evaluate=evaluate,
        committed=watch.committed,
        should_stop=watch.should_stop,
        track=watch.track,
        scalars=watch.scalars,
    )


def predict(
    engine: Engine,
    task: Task,
    lengths_N: np.ndarray,
    micro_tokens: int,
    num_columns: int,
    units_N: np.ndarray | None = None,
) -> np.ndarray:
    """Logits of all rows' units, row after row, float32 [U, K], on every rank.  A collective: as many passes on each.

    units_N: how many units each row has; none: one each.
    """
    units_N = np.ones(len(lengths_N), np.int64) if units_N is None else units_N
    ends_N = np.cumsum(units_N)
    logits_UK = torch.zeros(int(units_N.sum()), num_columns, device=engine.device)
    for rows in _slots(engine, lengths_N, micro_tokens):
        got_UK = engine.predict(task.collate(rows).to(engine.device))
        if len(rows):
            units = np.concatenate([np.arange(ends_N[row] - units_N[row], ends_N[row]) for row in rows])
            logits_UK[torch.as_tensor(units, device=engine.device)] = got_UK
    return engine.world.total(logits_UK).cpu().numpy()


def mean_loss(engine: Engine, task: Task, lengths_N: np.ndarray, weights_N: np.ndarray, micro_tokens: int) -> float:
    """The task's loss a unit of weight over all rows, on every rank.  A collective."""
    loss = torch.zeros((), device=engine.device, dtype=torch.float64)
    for rows in _slots(engine, lengths_N, micro_tokens):
        batch: Any = task.collate(rows).to(engine.device)
        loss += task.loss(engine.predict(batch), batch)
    return float(engine.world.total(loss)) / float(np.sum(weights_N))


def _slots(engine: Engine, lengths_N: np.ndarray, micro_tokens: int) -> list[np.ndarray]:
    return stream.eval_slots(lengths_N, micro_tokens, engine.world.rank, engine.world.num_ranks)


def chosen(fitted: Fitted) -> dict:
    """The checkpoint that tuning chose, and its scores; only the leader knows."""
    return {"step": fitted.best.step, "tuning": fitted.best.numbers} if fitted.best else {}
