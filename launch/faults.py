"""Faults of workers: how often each is tried again, how it is said, and what the driver raises in the end.

A fault is tried again from the last checkpoint: often where its words are those of a machine, once where they are not,
and for as long as steps are being committed.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.exceptions import RayError
from ray.train import TrainingFailedError, UserCallback

from ckd_dist.mistakes import is_mistake, is_of_a_machine, is_of_a_peer

from .failed import first_line
from .lock import Failure

TRIES = 3  # faults in a row, without a step committed between them, that are survived


class Faults(UserCallback):
    """Runs in Ray's controller: a mistake ends the run now; a fault is noted, and ends it where it keeps coming.

    file: where each fault gets a line, for the driver to show.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.in_a_row, self.strange = file, 0, 0

    def after_report(self, run_context: Any, metrics: Any, checkpoint: Any) -> None:
        """Count from nought: steps are being committed."""
        self.in_a_row = self.strange = 0

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise what would come again; else leave it to Ray to start again.

        Where one rank tells of its own machine, whatever the others say may come of it: a lost peer has many words.
        """
        errors = {rank: innermost(error) for rank, error in sorted(worker_exceptions.items())}
        if not any(map(is_of_its_machine, errors.values())):
            for error in errors.values():
                if is_mistake(error):
                    raise error
            strange = [error for error in errors.values() if not is_of_a_machine(error)]
            self.strange += bool(strange)
            if self.strange > 1 and strange:
                raise strange[0]
        self.in_a_row += 1
        words = in_words(errors)
        if self.in_a_row > TRIES:
            raise Failure(f"workers were lost {self.in_a_row} times in a row, the last time with: {words}")
        append(self.file, f"{words}; trying again from the last checkpoint ({self.in_a_row} of {TRIES})")


def is_of_its_machine(error: BaseException) -> bool:
    """Say whether a worker's fault tells of the machine that it ran on, and not of another one that is gone."""
    if isinstance(error, RayError):  # it died
        return True
    return is_of_a_machine(error) and not (is_mistake(error) or is_of_a_peer(error))


def append(file: Path, line: str) -> None:
    """Add a line to a file that the driver and `status` show; a disk that hiccups costs the line, not the run."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as stream:
            stream.write(f"{line}\n")


def in_words(errors: dict[int, BaseException]) -> str:
    """Return the first line of what each rank raised."""
    return "; ".join(f"rank {rank}: {first_line(error)}" for rank, error in errors.items())


def cause_of(error: TrainingFailedError) -> BaseException:
    """Return the exception to raise in the driver for a training that failed."""
    inner = innermost(error)
    if isinstance(inner, Failure) or not isinstance(inner, TrainingFailedError | RayError):
        return inner
    failures = {rank: innermost(each) for rank, each in sorted(getattr(inner, "worker_failures", {}).items())}
    return Failure(f"workers were lost: {in_words(failures) or first_line(inner)}")


def innermost(error: BaseException) -> BaseException:
    """Return what the worker raised, without Ray's wrapping."""
    for attribute in ("controller_failure", "cause", "health_check_failure"):
        inner = getattr(error, attribute, None)
        if isinstance(inner, BaseException) and inner is not error:
            return innermost(inner)
    return error


@contextmanager
def traceback_kept() -> Iterator[None]:
    """Note an exception's traceback on it: it would not travel."""
    try:
        yield
    except Exception as error:
        error.add_note(traceback.format_exc())
        raise
