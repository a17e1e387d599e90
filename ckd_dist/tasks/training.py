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
from ckd_dist.softlabels import stream
from ckd_dist.tasks.task import Task


@dataclass(frozen=True)
class Watch:
    """Whom a long phase answers to.  All defaults do nothing."""

    committed: Callable[[Path, int, dict[str, float]], None] = lambda path, step, numbers: None
    should_stop: Callable[[], bool] = lambda: False
    track: Callable[..., None] = lambda done, total, **numbers: None
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


def predict(engine: Engine, task: Task, lengths_N: np.ndarray, micro_tokens: int, num_columns: int) -> np.ndarray:
    """Logits of all rows, one unit each, float32 [N, K], on every rank.  A collective: as many passes on each."""
    logits_NK = torch.zeros(len(lengths_N), num_columns, device=engine.device)
    for rows in _slots(engine, lengths_N, micro_tokens):
        logits_UK = engine.predict(task.collate(rows).to(engine.device))
        if len(rows):
            logits_NK[torch.as_tensor(rows, device=engine.device)] = logits_UK
    return engine.world.total(logits_NK).cpu().numpy()


def mean_loss(engine: Engine, task: Task, lengths_N: np.ndarray, weights_N: np.ndarray, micro_tokens: int) -> float:
    """The task's loss a unit of weight over all rows, on every rank.  A collective."""
    loss = torch.zeros((), device=engine.device, dtype=torch.float64)
    for rows in _slots(engine, lengths_N, micro_tokens):
        batch: Any = task.collate(rows).to(engine.device)
        loss += task.loss(engine.predict(batch), batch)
    return float(engine.world.total(loss)) / float(np.sum(weights_N))


def _slots(engine: Engine, lengths_N: np.ndarray, micro_tokens: int) -> list[np.ndarray]:
    return stream.eval_slots(lengths_N, micro_tokens, engine.world.rank, engine.world.num_ranks)
