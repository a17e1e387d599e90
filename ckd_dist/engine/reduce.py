"""What the ranks tell each other after a step, and where the leader writes it down."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ckd_dist.world import World


class Diverged(ValueError):  # noqa: N818, a state of the run
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Beat:
    """One step, over all ranks."""

    step: int  # updates made
    loss: float  # mean over the step's units
    num_tokens: int
    stop: bool  # somebody wants the run to stop


class Pulse:
    """One all-reduce of three numbers a step, read one step late: by then the device has long finished it."""

    def __init__(self, world: World, device: torch.device, done: int) -> None:
        self._world, self._device, self._sent = world, device, done
        self._unread: deque[tuple[int, Tensor]] = deque()

    def send(self, loss: Tensor, num_tokens: int, stop: bool) -> None:
        """Tell the others.  A collective."""
        told = torch.tensor([0.0, num_tokens, stop], dtype=torch.float64).to(self._device, non_blocking=True)
        told[0] = loss
        self._sent += 1
        self._unread.append((self._sent, self._world.total(told)))

    def read(self, now: bool) -> Iterator[Beat]:
        """Every beat but the newest; `now`: that too.  Raises Diverged, on every rank alike."""
        while len(self._unread) > (0 if now else 1):
            step, told = self._unread.popleft()
            loss, num_tokens, stop = told.tolist()
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss is {loss} at step {step}: training stops here and earlier checkpoints stand; "
                    "try a lower learning rate"
                )
            yield Beat(step, loss, int(num_tokens), stop > 0)


class Log:
    """Progress at every step, TensorBoard at every tenth; only on the leader, which has a `track`."""

    EVERY = 10

    def __init__(self, num_steps: int, done: int, track: Callable[..., None] | None, scalars: Path | None) -> None:
        self._num_steps, self._track, self._writer = num_steps, track, None
        if track is not None and scalars is not None:
            from torch.utils.tensorboard import SummaryWriter  # a second to import, and only the leader writes

            self._writer = SummaryWriter(str(scalars), purge_step=done)
        self._start()

    def steps(self, beats: Iterator[Beat], engine) -> bool:
        """Write down `beats`; true where one of them asks to stop."""
        stop = False
        for beat in beats:
            stop |= beat.stop
            if self._track is not None:
                self._step(beat, engine)
        return stop

    def evaluation(self, step: int, numbers: dict[str, float]) -> None:
        """Write down the scores on tuning; their time is not counted as training."""
        self._write(step, {f"tuning/{name}": value for name, value in numbers.items()})
        self._start()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _start(self) -> None:
        self._losses: list[float] = []
        self._num_tokens, self._since = 0, time.perf_counter()

    def _step(self, beat: Beat, engine) -> None:
        self._losses.append(beat.loss)
        self._num_tokens += beat.num_tokens
        numbers = {"loss": beat.loss, "learning_rate": engine.learning_rate}
        if beat.step % self.EVERY == 0 or beat.step == self._num_steps:
            numbers["tokens_per_second"] = self._num_tokens / (time.perf_counter() - self._since)
            if (norm := engine.gradient_norm()) is not None:
                numbers["gradient_norm"] = norm
            mean = sum(self._losses) / len(self._losses)
            self._write(beat.step, {f"train/{name}": value for name, value in (numbers | {"loss": mean}).items()})
            self._start()
        self._track(beat.step, self._num_steps, **numbers)

    def _write(self, step: int, numbers: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, step)
