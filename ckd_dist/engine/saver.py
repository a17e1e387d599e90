"""Saving and resuming, by all ranks together.  What a whole checkpoint is, checkpoint.py says.

A save is in two parts.  All ranks stand still while the state is copied to the leader's host; the leader writes, hashes
and seals the copy in a thread, while steps go on.  One save is under way at a time.
"""

import errno
import logging
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from ckd_dist.engine import checkpoint
from ckd_dist.engine.alone import Aside, alone, raise_everywhere
from ckd_dist.engine.checkpoint import Checkpoint, Foreign, Unread, Unusable
from ckd_dist.mistakes import is_for_want_of_room

T = TypeVar("T")

TORCH_WRITES = re.compile(r"inline_container|iostream|PytorchStreamWriter")  # in its RuntimeError of a disk


@dataclass(frozen=True)
class Begun:
    """A checkpoint that is being written."""

    path: Path
    step: int
    numbers: dict[str, float]
    writing: Aside


class Saver:
    """The checkpoints of one run of one stage.  The leader alone looks at the folder.

    Every method is a collective, but for `is_due`, `is_written` and `close`.
    """

    def __init__(
        self,
        engine,
        folder: Path,
        digest: str,
        better: str,
        committed: Callable[[Path, int, dict[str, float]], None],
        seconds: float = math.inf,
    ) -> None:
        """seconds: after a save, or the start, until the next one is due."""
        self._engine, self._world = engine, engine.world
        self._folder, self._digest, self._better, self._committed = folder, digest, better, committed
        self._attempt = 1
        self._damaged: list[Path] = []  # what `resume` passed over, until the next one is whole
        self._unread: list[Path] = []  # what `resume` could not read, which stays
        self._seconds, self._last = seconds, time.monotonic()
        self._begun: Begun | None = None

    def resume(self) -> int:
        """Load the newest whole checkpoint, and return its step.  Log why newer ones were passed over, in one line.

        Those that are damaged are deleted once the next one is whole: until then they do no harm, and a machine whose
        own memory is at fault destroys nothing.  Those that cannot be read now stay.  Raises OSError, on every rank,
        where there is no other.
        """
        newest, skipped, attempt = self._seen(self._left_behind) or (None, {}, 0)
        if newest:  # a group that starts again and again, as nodes come and go, saves all the same
            self._last -= max(0.0, time.time() - (newest.path / checkpoint.MARKER).stat().st_mtime)
        self._damaged = [path for path, why in skipped.items() if not isinstance(why, Foreign | Unread)]
        self._unread = [path for path, why in skipped.items() if isinstance(why, Unread)]
        if skipped:
            begin = f"go on from step {newest.step}" if newest else "begin at step 0"
            end = "; the damaged are deleted once the next one is whole" if self._damaged else ""
            end += "; what cannot be read is kept" if self._unread else ""
            why = "; ".join(map(str, skipped.values()))
            logging.getLogger(__name__).warning("%s; checkpoints passed over: %s%s", begin, why, end)
        (self._attempt,) = self._agree(attempt)
        return self._load(newest)

    def begin(self, step: int, numbers: dict[str, float]) -> None:
        """Copy the state of this step, and begin to write it.  The save before it is finished first.

        Raises on every rank where one of them cannot: OSError where it cannot write.  Earlier checkpoints stay.
        """
        self.finish()
        path = self._folder / checkpoint.name_of(step, self._world.num_ranks, self._attempt)
        with self._together(path):
            if self._world.is_leader:
                path.mkdir(parents=True)
        with self._together(path):
            write = self._engine.begin_save(path)
        writing = Aside(self._world, self._engine.device, partial(self._write, path, write, numbers))
        self._begun, self._last = Begun(path, step, numbers, writing), time.monotonic()

    def finish(self) -> None:
        """Wait until the checkpoint that was begun, if any, is whole; call `committed`, and delete older ones.

        Raises on every rank where the leader could not: OSError where it could not write.  Earlier checkpoints stay.
        """
        if self._begun is None:
            return
        begun, self._begun = self._begun, None
        begun.writing.finish()
        self._committed(begun.path, begun.step, begun.numbers)
        if self._world.is_leader:
            checkpoint.prune(self._folder, self._digest, self._better, self._damaged, self._unread)

    def is_due(self) -> bool:
        """Say whether the last save, or the start, was long ago by the leader's clock; the others say no."""
        return self._world.is_leader and self._begun is None and time.monotonic() - self._last >= self._seconds

    def is_written(self) -> bool:
        """Say whether a checkpoint waits for `finish` alone.  The leader knows; the others say no."""
        return self._begun is not None and self._begun.writing.has_ended()

    def close(self) -> None:
        """Let the checkpoint that was begun become whole, if it can, where something else went wrong meanwhile."""
        if self._begun is not None:
            self._begun.writing.wait()

    def best_step(self) -> int:
        """Return the step of the best checkpoint so far, on every rank; 0 where none has been scored."""
        self.finish()
        found = self._seen(lambda: checkpoint.best(self._folder, self._digest, self._better))
        (step,) = self._agree(found.step if found else 0)
        return step

    def load_best(self, done: int) -> Checkpoint | None:
        """Put the best checkpoint's weights into the engine, unless it is the newest.  Returns it, on the leader."""
        self.finish()
        found = self._seen(lambda: checkpoint.best(self._folder, self._digest, self._better))
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

    def _write(self, path: Path, write: Callable[[], None], numbers: dict[str, float]) -> None:
        """In the leader's thread: the files, then the seal."""
        try:
            with _said_of_the_disk(path):
                write()
                checkpoint.commit(path, self._digest, numbers)
        except Exception:
            shutil.rmtree(path, ignore_errors=True)
            raise

    def _left_behind(self) -> tuple[Checkpoint | None, dict[Path, Unusable], int]:
        """The newest whole checkpoint, why newer ones were passed over, and the number of this attempt."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return *checkpoint.newest_whole(self._folder, self._digest), checkpoint.next_attempt(self._folder)

    def _seen(self, look: Callable[[], T]) -> T | None:
        """What the leader sees in the folder, which takes as long as hashing does; None on other ranks."""
        seen: list[T] = []
        alone(self._world, self._engine.device, lambda: seen.append(look()))
        return seen[0] if seen else None

    def _agree(self, *numbers: int) -> list[int]:
        """The leader's numbers, on every rank."""
        mine = numbers if self._world.is_leader else [0] * len(numbers)
        return self._world.total(torch.tensor(mine, device=self._engine.device)).tolist()

    @contextmanager
    def _together(self, path: Path) -> Iterator[None]:
        """A barrier after the block.  Where one rank failed in it, all raise: none waits for it."""
        error = None
        try:
            with _said_of_the_disk(path):
                yield
        except Exception as caught:
            error = caught
        try:
            raise_everywhere(self._world, self._engine.device, error)
        except Exception:
            if self._world.is_leader:
                shutil.rmtree(path, ignore_errors=True)
            raise


@contextmanager
def _said_of_the_disk(path: Path) -> Iterator[None]:
    """Say of a disk's error what stands and what to do.  Any other keeps its kind: it may be a mistake."""
    try:
        yield
    except OSError as error:
        then = ": make room and start again" if is_for_want_of_room(error) else ""
        raise _unwritten(error, error.errno or errno.EIO, then, path) from error
    except RuntimeError as error:
        if not TORCH_WRITES.search(str(error)):
            raise
        raise _unwritten(error, errno.EIO, ": torch does not say why, see whether there is room", path) from error


def _unwritten(error: Exception, number: int, then: str, path: Path) -> OSError:
    return OSError(number, f"checkpoint could not be written ({error}); earlier ones stand{then}", str(path))
