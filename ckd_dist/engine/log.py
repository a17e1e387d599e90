"""Write down how a training phase goes: progress at every step, TensorBoard at every tenth, on the leader alone."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ckd_dist.engine.reduce import StepStats


class Log:
    """Progress at every step, TensorBoard at every tenth; only on the leader, which has a `track`."""

    EVERY = 10

    def __init__(self, num_steps: int, done: int, track: Callable[..., None] | None, scalars: Path | None) -> None:
        self._num_steps, self._track, self._writer = num_steps, track, None
        self._done, self._newest = done, {}  # the newest step, and its numbers
        if track is not None and scalars is not None:
            from torch.utils.tensorboard import SummaryWriter  # a second to import, and only the leader writes

            self._writer = SummaryWriter(str(scalars), purge_step=done)
        self._start()

    def steps(self, steps: Iterable[StepStats], engine) -> None:
        """Write down `steps`."""
        for stats in steps:
            if self._track is not None:
                self._step(stats, engine)

    def saved(self, step: int) -> None:
        """Write down that the checkpoint of this step is whole; the newest step may be a later one."""
        if self._track is not None:
            self._track(self._done, self._num_steps, **self._newest, saved=step)

    def evaluation(self, step: int, numbers: dict[str, float]) -> None:
        """Write down the scores on tuning; their time is not counted as training."""
        self._write(step, {f"tuning/{name}": value for name, value in numbers.items()})
        self._start()

    def close(self) -> None:
        """Close the TensorBoard file, where there is one."""
        if self._writer is not None:
            self._writer.close()

    def _start(self) -> None:
        self._losses: list[float] = []
        self._num_tokens, self._since = 0, time.perf_counter()

    def _step(self, stats: StepStats, engine) -> None:
        self._losses.append(stats.loss)
        self._num_tokens += stats.num_tokens
        numbers = {"loss": stats.loss, "learning_rate": engine.learning_rate}
        if stats.step % self.EVERY == 0 or stats.step == self._num_steps:
            numbers["tokens_per_second"] = self._num_tokens / (time.perf_counter() - self._since)
            if (norm := engine.gradient_norm()) is not None:
                numbers["gradient_norm"] = norm
            mean = sum(self._losses) / len(self._losses)
            self._write(stats.step, {f"train/{name}": value for name, value in (numbers | {"loss": mean}).items()})
            self._start()
        self._done, self._newest = stats.step, numbers
        self._track(stats.step, self._num_steps, **numbers)

    def _write(self, step: int, numbers: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, step)
