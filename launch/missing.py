"""Nodes that are missing: waited for, with a line a minute, and given up after ten, so that the job is queued again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from .lock import Failure

MISSING_SECONDS = 600.0  # after which nodes are missing for good: they import from a shared file system, all at once


@dataclass
class Missing:
    """How long no worker of a kind has run: with too few nodes Ray waits for ever, and says nothing.

    kind: what a worker is called, rank or worker.
    """

    kind: str
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _since: float | None = None
    _minutes: int = 0  # that were said

    @property
    def seconds(self) -> float:
        """For how long none has run."""
        return 0.0 if self._since is None else self.clock() - self._since

    def look(self, runs: bool) -> None:
        """Say how long none has run, once a minute.  Raises Failure after ten."""
        if runs or self._since is None:
            self._since, self._minutes = self.clock(), 0
        seconds = self.seconds
        if seconds > MISSING_SECONDS:
            raise Failure(f"no {self.kind} could be started within {MISSING_SECONDS / 60:g} minutes: nodes are missing")
        if seconds > 60 * (self._minutes + 1):
            self._minutes += 1
            self.say(f"no {self.kind} has run for {self._minutes} min: waiting for nodes, or for workers that start")
