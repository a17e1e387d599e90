"""What is said of jobs that failed, with Ray or without it."""

from ckd_dist.mistakes import is_mistake, is_of_a_machine

from .lock import REQUEUE, JobsFailed

MOST_NAMED = 10  # jobs in a sentence
FIRST, IN_A_ROW = 3, 10  # jobs that fail one after the other, before one is done or later: all is at fault


def failure_of_jobs(failed: dict[int, BaseException], total: int) -> JobsFailed:
    """Return what to raise where some jobs of a stage failed: their numbers, and the first one's cause.

    >>> str(failure_of_jobs({7: ValueError("cut short"), 3: ValueError("cut short")}, 20))
    'jobs 3, 7 of 20 failed, all others are done; 3: ValueError cut short'
    """
    numbers = sorted(failed)
    named = ", ".join(map(str, numbers[:MOST_NAMED])) + (" ..." if len(numbers) > MOST_NAMED else "")
    error = JobsFailed(
        f"{'jobs' if len(numbers) > 1 else 'job'} {named} of {total} failed, all others are done; "
        f"{numbers[0]}: {first_line(failed[numbers[0]])}",
        REQUEUE if all(is_of_a_machine(error) and not is_mistake(error) for error in failed.values()) else 1,
    )
    for number in numbers[:MOST_NAMED]:
        for note in getattr(failed[number], "__notes__", ()):
            error.add_note(f"job {number}: {note}")
    return error


def most_in_a_row(num_done: int) -> int:
    """Return how many jobs fail one after the other where all is at fault, and not those jobs."""
    return IN_A_ROW if num_done else FIRST


def first_line(error: BaseException) -> str:
    """Return kind and first line of an exception."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__} {said[0] if said else ''}".strip()
