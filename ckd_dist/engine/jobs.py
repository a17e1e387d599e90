"""A stage of independent jobs, each a number: no worker waits for another, and a lost one costs the job it was at.

launch/ hands missing numbers to workers that are free; only numbers travel.  Doing a job twice is harmless.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ckd_dist.schema import Run


class Worker(Protocol):
    """What one process holds between jobs: a teacher, an embedder, the cases."""

    def do(self, number: int) -> None: ...


@dataclass(frozen=True)
class Jobs:
    """missing: numbers of the jobs that are not done, in the order in which they are handed out.  worker: of (recipe,
    run, device).  finish: called once none is missing; it ends the stage.
    """

    missing: Callable[[Any, Run], list[int]]
    worker: Callable[[Any, Run, str], Worker]
    finish: Callable[[Any, Run], None]
