"""Jobs that wait for their turn."""

from collections import deque
from collections.abc import Iterable


class Waiting:
    """Jobs in order, but after a failure the next one comes from the other end.

    What failed in an earlier start comes first again: job after job would fail, as where all is at fault, and nobody
    would have tried those that are good.

    >>> waiting = Waiting([1, 2, 3, 4])
    >>> waiting.take(), waiting.take(after_failure=True), waiting.take(), bool(waiting)
    (1, 4, 2, True)
    """

    def __init__(self, jobs: Iterable[int] = ()) -> None:
        self._jobs, self._again = deque(jobs), deque()

    def __bool__(self) -> bool:
        return bool(self._jobs or self._again)

    def take(self, after_failure: bool = False) -> int:
        """Return the job whose turn it is; one that is put back comes after all others."""
        if not self._jobs:
            return self._again.popleft()
        return self._jobs.pop() if after_failure else self._jobs.popleft()

    def put_first(self, job: int) -> None:
        """Put a job back that lost its worker: it need not be to blame."""
        self._jobs.appendleft(job)

    def put_last(self, job: int) -> None:
        """Put a job back that failed."""
        self._again.append(job)
