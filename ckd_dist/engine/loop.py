"""The one training loop, of teachers and students, under either engine.

A step is one optimizer update over all ranks.  Which rows it reads, and all its randomness, are pure functions of its
number: a run that was killed goes on from the newest whole checkpoint and gives, on CPU, the very bits of one that was
not.  Besides the engine's own exchange of gradients a step costs one all-reduce of five numbers (loss, tokens, whether
to stop, whether to save, whether a save is written), read a step late so that no device waits for it.  The next steps
are collated in a thread meanwhile, and the last checkpoint is written in another.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ckd_dist.config import Optim
from ckd_dist.engine.checkpoint import Checkpoint
from ckd_dist.engine.log import Log
from ckd_dist.engine.optim import schedule
from ckd_dist.engine.reduce import StepReducer
from ckd_dist.engine.saver import Saver
from ckd_dist.schedule import num_steps, steps_per_epoch
from ckd_dist.study import Callbacks
from ckd_dist.world import World

# U units, K columns

AHEAD = 2  # steps that are collated before they are wanted


class Engine(Protocol):
    """A model with its optimizer, spread over the ranks in some way.

    After the last `backward` of a step, the update has used the sum of all losses, over ranks and micro-batches.
    """

    world: World
    device: torch.device
    module: nn.Module
    learning_rate: float

    def __call__(self, batch: Any) -> Tensor:
        """Return logits_UK float32, training mode.  A collective under ZeRO-3: as many calls on every rank."""
        ...

    def predict(self, batch: Any) -> Tensor:
        """Return logits_UK float32, evaluation mode, no gradient.  A collective under ZeRO-3."""
        ...

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`; on the last one of a step, sum over ranks, clip and update."""
        ...

    def set_learning_rate(self, factor: float) -> None:
        """Set every parameter group's rate to `factor` times its peak."""
        ...

    def gradient_norm(self) -> float | None:
        """Return the norm before clipping, of the last update; None where it is not known."""
        ...

    def begin_save(self, folder: Path) -> Callable[[], None]:
        """Copy all that a later `load` needs, and return what writes it into `folder` while steps go on.  A collective.

        What is returned is called in a thread of the leader, not on other ranks; it is about this step, whatever
        happens to the model meanwhile.
        """
        ...

    def load(self, folder: Path) -> None:
        """Go on from what was saved, at any number of ranks.  A collective."""
        ...

    def gathered(self, parameters: Iterable[nn.Parameter]) -> AbstractContextManager:
        """Make the parameters whole on every rank, to read, within a `with`.  A collective."""
        ...

    def full_weights(self) -> dict[str, Tensor]:
        """Return the module's whole state dict on the leader's CPU, {} elsewhere.  A collective."""
        ...


class Learnable(Protocol):
    """The two verbs of a task that training needs."""

    def collate(self, rows: Sequence[int]) -> Any:
        """Make a batch of rows, in a thread, without randomness."""
        ...

    def loss(self, logits_UK: Tensor, batch: Any) -> Tensor:
        """Return the sum over units."""
        ...


class Planned(Protocol):
    """What a stream hands out: this rank's slots of rows (as many on every rank; an empty one is padding)."""

    slots: Sequence[np.ndarray]
    total_weight: float


@dataclass(frozen=True)
class Step:
    """A planned step, collated for this rank."""

    micro_batches: Sequence[Any]
    total_weight: float  # mask weight of all ranks' units
    num_tokens: int = 0  # of this rank, padding left out


@dataclass(frozen=True)
class TrainingSchedule:
    """How many updates, and after how many to look and to save."""

    num_steps: int
    evaluate_every: int  # steps; and at the end
    save_every: int = 0  # steps, beside every evaluation, which always saves; 0: those only


def training_schedule(optim: Optim, num_rows: int) -> TrainingSchedule:
    """Return the schedule of a phase on `num_rows` rows.  Raise ValueError where it has no epochs."""
    if not optim.epochs:
        raise ValueError("a training phase of 0 epochs makes no update: its recipe field `epochs` must be more than 0")
    evaluate_every = optim.evaluate_every or steps_per_epoch(num_rows, optim.batch_samples)
    return TrainingSchedule(num_steps(num_rows, optim.batch_samples, optim.epochs), evaluate_every, optim.save_every)


@dataclass(frozen=True)
class Phase:
    """One training phase: what it is asked for, where its checkpoints lie, whom it answers to."""

    optim: Optim
    folder: Path
    digest: str  # of all that shapes it: a checkpoint of another digest is not gone on from
    metric: str  # of `evaluate`, the highest of which chooses the checkpoint
    callbacks: Callbacks = Callbacks()
    scalars: Path | None = None  # a folder for TensorBoard
    patience: int = 0  # steps without a better evaluation after which it ends; 0: it goes on to its last step


@dataclass(frozen=True)
class Fitted:
    """How far training came.  Where it is complete, the engine holds the best weights; the leader knows their step."""

    step: int
    complete: bool
    best: Checkpoint | None


def train_step(engine: Engine, step: Step, loss_fn: Callable[[Tensor, Any], Tensor]) -> Tensor:
    """Make one optimizer update.  Every unit of the step weighs the same, on any number of ranks."""
    loss_sum = torch.zeros((), device=engine.device)
    for batch in step.micro_batches:
        loss = loss_fn(engine(batch), batch) / step.total_weight  # of all ranks, known from the plan
        engine.backward(loss, last=batch is step.micro_batches[-1])  # exchanges and updates on the last
        loss_sum += loss.detach()
    return loss_sum  # summed over ranks only when it is reported


def fit(
    engine: Engine,
    task: Learnable,
    steps: Callable[[int], Iterator[Planned]],
    plan: TrainingSchedule,
    phase: Phase,
    evaluate: Callable[[], dict[str, float]],
) -> Fitted:
    """Train to the end of `plan`, or until asked to stop; go on from the newest whole checkpoint of the phase.

    steps: from a step's number, the planned steps from there on.  evaluate: called on all ranks.
    Raises Diverged where the loss stops being a number: nothing on disk changes.
    """
    world, callbacks = engine.world, phase.callbacks

    def committed(path: Path, step: int, numbers: dict[str, float]) -> None:  # on all ranks, maybe some steps later
        callbacks.committed(path, step, numbers)
        log.saved(step)

    saver = Saver(engine, phase.folder, phase.digest, phase.metric, committed, 60 * phase.optim.save_minutes)
    done = saver.resume()

    def is_over() -> bool:
        """Say whether no more steps are due: the last one is made, or patience has run out at an evaluation."""
        if done == plan.num_steps:
            return True
        has_looked = done > 0 and done % plan.evaluate_every == 0
        return phase.patience > 0 and has_looked and done - saver.best_step() >= phase.patience

    if is_over():
        return Fitted(done, True, saver.load_best(done))
    reducer, rate = StepReducer(world, engine.device, done), schedule(phase.optim, plan.num_steps)
    planned = islice(steps(done), plan.num_steps - done)
    with (
        closing(saver),
        closing(ahead(_collated(planned, task.collate, engine.device))) as collated,
        closing(Log(plan.num_steps, done, callbacks.track if world.is_leader else None, phase.scalars)) as log,
    ):
        for step in collated:
            seed_dropout(_seed(phase.optim.seed, done, world.rank), engine.device)
            engine.set_learning_rate(rate(done))
            loss = train_step(engine, step, task.loss)
            done += 1
            stop = world.is_leader and bool(callbacks.should_stop())
            reducer.send(loss, step.num_tokens, stop, saver.is_due(), saver.is_written())
            evaluating = done % plan.evaluate_every == 0 or done == plan.num_steps
            saving = bool(plan.save_every) and done % plan.save_every == 0
            stats = list(reducer.read(now=evaluating or saving))
            log.steps(stats, engine)
            stopping = any(each.stop for each in stats)
            if evaluating or any(each.written for each in stats):
                saver.finish()
            if evaluating:
                numbers = evaluate()
                log.evaluation(done, numbers)
                saver.begin(done, numbers)
                if is_over():
                    return Fitted(done, True, saver.load_best(done))
            elif saving or stopping or any(each.save for each in stats):
                log.steps(reducer.read(now=True), engine)  # a loss that is no number is never saved
                saver.begin(done, {})
            if stopping:
                saver.finish()
                return Fitted(done, False, None)
    raise ValueError(f"the stream ended after step {done} of {plan.num_steps}")


def ahead(items: Iterable) -> Iterator:
    """Yield the same items in the same order, made in a thread, at most AHEAD of them before they are wanted."""
    iterator, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield item
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _collated(planned: Iterable[Planned], collate: Callable, device: torch.device) -> Iterator[Step]:
    for plan in planned:
        batches = [collate(rows) for rows in plan.slots]
        num_tokens = sum(int(batch.attention_BL.sum()) for batch in batches)
        yield Step([batch.to(device) for batch in batches], plan.total_weight, num_tokens)


def seed_dropout(seed: int, device: torch.device) -> None:
    """Seed the two generators that a step may draw from, the CPU's and the device's.

    torch.manual_seed would seed those of absent devices too: for each it keeps a call and a traceback until the device
    is there, which costs a twelfth of a small student's step and grows for ever.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _seed(seed: int, step: int, rank: int) -> int:
    """Of the dropout of one step on one rank."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)
