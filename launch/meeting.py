"""Ranks meet before their first step: each learns where the others are.  What fails meanwhile is tried again.

Ray Train takes what a rank raises there for a fault of its own controller, and ends the run: a port that was taken
meanwhile, a peer that could not be reached in time.  And where a rank dies there, it starts others without letting go
of what the first ones held, so that they find no place.  Both classes that mend it are no public interface of Ray:
pyproject.toml pins its minor version.
"""

from pathlib import Path
from typing import Any

from ray.train.backend import BackendConfig
from ray.train.v2._internal.callbacks import BackendSetupCallback
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError

from ckd_dist.mistakes import is_mistake

from .failed import first_line
from .faults import TRIES, append, innermost
from .lock import Failure


class Meeting(BackendSetupCallback):
    """Runs in Ray's controller: makes the process group, again with other ranks where one could not join.

    file: where each fault gets a line, for the driver to show.
    """

    def __init__(self, backend_config: BackendConfig, file: Path) -> None:
        super().__init__(backend_config)
        self._file, self._in_a_row = file, 0

    def after_execution_group_start(self, execution_group: Any) -> None:
        """Let the ranks meet.  Raises a mistake, and Failure where they fail too often in a row."""
        try:
            super().after_execution_group_start(execution_group)
        except Exception as error:
            execution_group._clear_state()  # of a group that has not started Ray ends workers and gives back the room
            cause = innermost(error)
            if is_mistake(cause):
                raise
            self._in_a_row += 1
            if self._in_a_row > TRIES:
                words = f"ranks could not meet {self._in_a_row} times in a row, the last time with"
                raise Failure(f"{words}: {first_line(cause)}") from None
            append(self._file, f"ranks could not meet: {first_line(cause)}; trying again ({self._in_a_row} of {TRIES})")
            raise WorkerGroupStartupFailedError("ranks could not meet") from error
        self._in_a_row = 0
