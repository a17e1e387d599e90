"""Work of the leader alone: the others go on, or wait however long it takes, and raise what it raised.

A collective has a time limit, so none may wait for one rank's files.  The leader works in a thread, and whoever waits
asks every second or so whether it is done, which costs a sum of one number.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

from ckd_dist.mistakes import MISTAKES
from ckd_dist.world import World

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0  # seconds between two questions
LONGEST_SENTENCE = 2000  # bytes of a failure that others hear of

# What other ranks raise of a failure: the first of these that it is.  Some are mistakes and some a machine's fault: it
# is the same on every rank, whichever is heard first.
KINDS = (*MISTAKES, OSError, torch.OutOfMemoryError, RuntimeError)


def alone(world: World, device: torch.device, work: Callable[[], None]) -> None:
    """Run `work` on the leader while the others wait.  A collective.

    device: of this rank's collectives.  Raises on the leader what `work` raised, on the others an error of the same
    kind and words.
    """
    if world.num_ranks == 1:
        work()
    else:
        Aside(world, device, work).finish()


class Aside:
    """Work that begins now in a thread of the leader while all ranks go on.  Every rank makes one, and finishes it."""

    def __init__(self, world: World, device: torch.device, work: Callable[[], None]) -> None:
        """device: of this rank's collectives."""
        self._world, self._device = world, device
        pool = ThreadPoolExecutor(1)
        self._futures: list[Future] = [pool.submit(work)] if world.is_leader else []
        pool.shutdown(wait=False)  # the thread ends with its work

    def has_ended(self) -> bool:
        """Say whether the work has ended, well or not.  The leader alone knows; the others say no."""
        return any(future.done() for future in self._futures)

    def finish(self) -> None:
        """Wait on all ranks for the end of the work.  A collective.  Raises as `alone` does."""
        pause = FIRST_PAUSE
        while not int(self._world.total(torch.tensor(int(self.has_ended()), device=self._device))):
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        errors = [future.exception() for future in self._futures]
        raise_everywhere(self._world, self._device, errors[0] if errors else None)

    def wait(self) -> None:
        """Wait for the end of the work where it is done, however it ends: all ranks, or one, are about to leave."""
        wait(self._futures)


def raise_everywhere(world: World, device: torch.device, error: BaseException | None) -> None:
    """Raise on every rank where one of them has an error: its own, or one of the first such rank's kind and words.

    A collective.  device: of this rank's collectives.
    """
    mine = torch.tensor([rank == world.rank and error is not None for rank in range(world.num_ranks)])
    failed = world.total(mine.to(device, torch.int64)).tolist()
    if not any(failed):
        return
    said = torch.zeros(2 + LONGEST_SENTENCE, dtype=torch.int64)
    if error is not None and failed.index(1) == world.rank:
        numbers = _numbers_of(error)
        said[: len(numbers)] = torch.tensor(numbers)
    numbers = world.total(said.to(device)).tolist()
    raise _error_of(numbers) if error is None else error


def _numbers_of(error: BaseException) -> list[int]:
    """An error as a sum can carry it: kind, the system's number, and the bytes of its words."""
    kind = next((kind for kind in KINDS if isinstance(error, kind)), RuntimeError)
    number = isinstance(error, OSError) and error.errno
    words = error.strerror if number else str(error)
    return [KINDS.index(kind), number or 0, *str(words).encode()[:LONGEST_SENTENCE]]


def _error_of(numbers: list[int]) -> Exception:
    kind, number, *letters = numbers
    sentence = bytes(letters).rstrip(b"\0").decode(errors="replace")
    return KINDS[kind](number, sentence) if number else KINDS[kind](sentence)
