"""Sum what the ranks must know of each other after a step: loss, tokens, whether to stop or to save, what is saved."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ckd_dist.world import World


class Diverged(ValueError):  # noqa: N818, a state of the run
    """The loss is no longer a number."""


@dataclass(frozen=True)
class StepStats:
    """One step, over all ranks."""

    step: int  # updates made
    loss: float  # mean over the step's units
    num_tokens: int
    stop: bool  # somebody wants the run to stop
    save: bool = False  # the leader's clock says that the last save was long ago
    written: bool = False  # the leader has written the checkpoint that was begun


class StepReducer:
    """One all-reduce of five numbers a step, read one step late: by then the device has long finished it."""

    def __init__(self, world: World, device: torch.device, done: int) -> None:
        self._world, self._device, self._sent = world, device, done
        self._unread: deque[tuple[int, Tensor]] = deque()

    def send(self, loss: Tensor, num_tokens: int, stop: bool, save: bool = False, written: bool = False) -> None:
        """Start the all-reduce of this step.  A collective."""
        values = torch.tensor([0.0, num_tokens, stop, save, written], dtype=torch.float64)
        values = values.to(self._device, non_blocking=True)
        values[0] = loss
        self._sent += 1
        self._unread.append((self._sent, self._world.total(values)))

    def read(self, now: bool) -> Iterator[StepStats]:
        """Yield the stats of every step but the newest; `now`: of that too.  Raise Diverged, on every rank alike."""
        while len(self._unread) > (0 if now else 1):
            step, values = self._unread.popleft()
            loss, num_tokens, stop, save, written = values.tolist()
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss is {loss} at step {step}: training stops here and earlier checkpoints stand; "
                    "try a lower learning rate"
                )
            yield StepStats(step, loss, int(num_tokens), stop > 0, save > 0, written > 0)
