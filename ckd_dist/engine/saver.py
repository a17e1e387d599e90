"""Saving and resuming, by all ranks together.  What a whole checkpoint is, checkpoint.py says."""

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ckd_dist.engine import checkpoint
from ckd_dist.engine.checkpoint import Checkpoint


class Saver:
    """The checkpoints of one run of one stage.  Every method is a collective; the leader alone looks at the folder."""

    def __init__(
        self, engine, folder: Path, digest: str, better: str, committed: Callable[[Path, int, dict[str, float]], None]
    ) -> None:
        self._engine, self._world = engine, engine.world
        self._folder, self._digest, self._better, self._committed = folder, digest, better, committed
        self._attempt = 1

    def resume(self) -> int:
        """Load the newest whole checkpoint, and return its step.  Log why newer ones were passed over, in one line."""
        newest, skipped, attempt = None, [], 0
        if self._world.is_leader:
            self._folder.mkdir(parents=True, exist_ok=True)
            newest, skipped = checkpoint.newest_whole(self._folder, self._digest)
            attempt = checkpoint.next_attempt(self._folder)
        if skipped:
            begin = f"go on from step {newest.step}" if newest else "begin at step 0"
            logging.getLogger(__name__).warning("%s; checkpoints passed over: %s", begin, "; ".join(skipped))
        (self._attempt,) = self._agree(attempt)
        return self._load(newest)

    def save(self, step: int, numbers: dict[str, float]) -> None:
        """Write files on all ranks, then the seal on the leader, then call `committed` and delete older ones.

        Raises OSError, on every rank, where one of them cannot write; earlier checkpoints stay.
        """
        path = self._folder / checkpoint.name_of(step, self._world.num_ranks, self._attempt)
        with self._together(path):
            if self._world.is_leader:
                path.mkdir(parents=True)
        with self._together(path):
            self._engine.save(path)
        with self._together(path):
            if self._world.is_leader:
                checkpoint.commit(path, self._digest, numbers)
        self._committed(path, step, numbers)
        if self._world.is_leader:
            checkpoint.prune(self._folder, self._digest, self._better)

    def best_step(self) -> int:
        """Return the step of the best checkpoint so far, on every rank; 0 where none has been scored."""
        found = checkpoint.best(self._folder, self._digest, self._better) if self._world.is_leader else None
        (step,) = self._agree(found.step if found else 0)
        return step

    def load_best(self, done: int) -> Checkpoint | None:
        """Put the best checkpoint's weights into the engine, unless it is the newest.  Returns it, on the leader."""
        found = checkpoint.best(self._folder, self._digest, self._better) if self._world.is_leader else None
        if self._agree(found.step if found else done) != [done]:
            self._load(found)
        return found

    def _load(self, chosen: Checkpoint | None) -> int:
        """Load on every rank what the leader chose; 0 where that is nothing."""
        named = (chosen.step, chosen.num_ranks, chosen.attempt) if chosen else (0, 0, 0)
        step, num_ranks, attempt = self._agree(*named)
        if step:
            self._engine.load(self._folder / checkpoint.name_of(step, num_ranks, attempt))
        return step

    def _agree(self, *numbers: int) -> list[int]:
        """The leader's numbers, on every rank."""
        mine = numbers if self._world.is_leader else [0] * len(numbers)
        return self._world.total(torch.tensor(mine, device=self._engine.device)).tolist()

    @contextmanager
    def _together(self, path: Path) -> Iterator[None]:
        """A barrier after the block.  Where one rank could not write, all say so: none waits for it."""
        error = None
        try:
            yield
        except (OSError, RuntimeError) as caught:  # what torch.save raises on a full disk
            error = caught
        if int(self._world.total(torch.tensor(int(error is not None), device=self._engine.device))):
            if self._world.is_leader:
                shutil.rmtree(path, ignore_errors=True)
            why = str(error) if error else "another rank failed"
            raise OSError(
                getattr(error, "errno", None) or errno.EIO,
                f"checkpoint could not be written ({why}); earlier ones stand: make room and start again",
                str(path),
            ) from error
