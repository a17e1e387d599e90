"""How a failure is put: one sentence and an exit code."""

import errno

from ckd_dist.mistakes import is_full_disk, is_mistake, is_of_a_machine
from ckd_dist.softlabels.errors import LabelerFault

from .lock import REQUEUE, Failure, JobsFailed


def verdict(error: Exception) -> tuple[str, int]:
    """Return one sentence and the exit code.

    >>> verdict(ValueError("recipe field teacher.lora.rank: too small"))
    ('recipe field teacher.lora.rank: too small', 2)
    >>> verdict(OSError(errno.ESTALE, "Stale file handle"))[1], verdict(FileNotFoundError("no such recipe"))[1]
    (85, 2)
    """
    sentence = " ".join(str(error).split()) or type(error).__name__
    if is_full_disk(error):
        return f"{sentence}: make room and run the same command; what was finished is kept", 1
    if getattr(error, "errno", None) == errno.EROFS:
        return f"{sentence}: make it writable, or give another --run", 2
    if isinstance(error, JobsFailed):
        return f"{sentence} (RUN/error.log has the whole of it); run the same command to try them again", error.code
    of_a_machine = isinstance(error, Failure | LabelerFault) or (is_of_a_machine(error) and not is_mistake(error))
    if of_a_machine:  # another start may find better ones
        return f"{sentence}; run the same command to go on", REQUEUE
    if isinstance(error, OSError | ValueError):
        return sentence, 2
    return f"{type(error).__name__}: {sentence} (a fault of the program: RUN/error.log has the whole of it)", 1
