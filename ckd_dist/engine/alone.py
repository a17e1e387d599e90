"""Work of the leader alone between two collectives: the others wait however long it takes, and hear of its failure.

A collective has a time limit, so none may wait for one rank's files.  The leader works in a thread, and all ranks ask
every second or so whether it is done, which costs a sum of one number.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from ckd_dist.world import World

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0  # seconds between two questions
LONGEST_SENTENCE = 2000  # bytes of a failure that others hear of


def alone(world: World, device: torch.device, work: Callable[[], None]) -> None:
    """Run `work` on the leader while the others wait.  A collective.

    device: of this rank's collectives.  Raises on the leader what `work` raised, on the others an error of the same
    words: OSError where it was one, else ValueError.
    """
    if world.num_ranks == 1:
        work()
        return
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work) if world.is_leader else None
        pause = FIRST_PAUSE
        while not int(world.total(torch.tensor(int(future is not None and future.done()), device=device))):
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    error = future.exception() if future else None
    _raise_everywhere(world, device, error)


def _raise_everywhere(world: World, device: torch.device, error: BaseException | None) -> None:
    """Raise the leader's error on every rank, if there is one."""
    number = 0 if error is None else getattr(error, "errno", None) or -1
    words = str(error).encode()[:LONGEST_SENTENCE] if error else b""
    letters = torch.zeros(LONGEST_SENTENCE, dtype=torch.uint8)
    letters[: len(words)] = torch.tensor(list(words), dtype=torch.uint8)
    number, letters = (world.total(each.to(device)) for each in (torch.tensor(number), letters))
    if error is not None:
        raise error
    if int(number):
        sentence = bytes(letters.tolist()).rstrip(b"\0").decode(errors="replace")
        raise OSError(int(number), sentence) if int(number) > 0 else ValueError(sentence)
