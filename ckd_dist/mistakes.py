"""Mistakes and faults: what another try would only meet again, and what it may mend.

A mistake is an exception that says something of the recipe, the data or the program; there is a list of them.  All else
may be the machine's fault: a lost GPU, a memory that flipped, a file system that hiccups.
"""

import errno
import os
import re
from pathlib import Path

# What Python and torch raise where the same would come again.  A GPU without memory is one: it has as little tomorrow.
MISTAKES = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, NameError)
MISTAKES += (NotImplementedError, TypeError, ValueError)
MISTAKES += (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM = (*_FULL, errno.EROFS, errno.EFBIG)

# Words of machines and of ranks that lost a peer, in exceptions of no kind of their own.
MACHINE = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|timed? ?out|socket|peer|TCPStore|broken pipe|CUDA error|cuDNN|"
    r"uncorrectable|\bECC\b|illegal (memory access|instruction)|launch failure|GPU is lost|device-side|driver|"
    r"stale file handle|input/output error",
    re.I,
)

# The system's number in words: Rust's, Python's out of another process, and what C says for it, with which DuckDB ends.
_NUMBERS = {os.strerror(number): number for number in errno.errorcode}
SYSTEM = re.compile(
    r"\(os error (?P<rust>[0-9]+)\)|\[Errno (?P<python>[0-9]+)\]|"
    rf'(file \\?"(?P<file>[^"\\\n]+)\\?")?: (?P<words>{"|".join(map(re.escape, _NUMBERS))})(?=["\n]|$)'
)

# What a healthy rank says when another one has left it.
LEFT_ALONE = re.compile(
    r"peer|connection (closed|reset|refused)|broken pipe|timed? ?out|TCPStore|"
    r"communicator was aborted|remote process|ncclRemoteError|ncclSystemError|watchdog",
    re.I,
)


def is_mistake(error: BaseException) -> bool:
    """Say whether another try would meet the same.

    >>> is_mistake(ValueError("no such label")), is_mistake(OSError(errno.ENOSPC, "No space left on device"))
    (True, True)
    >>> is_mistake(RuntimeError("CUDA error: uncorrectable ECC error")), is_mistake(OSError(errno.ESTALE, "Stale"))
    (False, False)
    """
    if type(error).__module__.startswith("ray."):
        return False
    return is_for_want_of_room(error) or isinstance(error, MISTAKES) or type(error).__name__ == "OutOfMemoryError"


def is_for_want_of_room(error: BaseException) -> bool:
    """Say whether a disk takes no more: whatever is written next would fare no better."""
    return (isinstance(error, OSError) and error.errno in _NO_ROOM) or is_full_disk(error)


def is_full_disk(error: BaseException) -> bool:
    """Say whether a disk or a quota is full, by number or in a library's words.

    >>> is_full_disk(OSError(errno.ENOSPC, "No space left")), is_full_disk(Exception("I/O error (os error 28)"))
    (True, True)
    """
    return system_number(error) in _FULL


def system_number(error: BaseException) -> int | None:
    """Return the operating system's number of an error, which some libraries give in words alone; None without one.

    >>> system_number(OSError(errno.EIO, "lost")), system_number(Exception("Input/output error (os error 5)"))
    (5, 5)
    >>> system_number(Exception('IO Error: Could not read from file "a.csv": Input/output error'))
    5
    >>> system_number(OSError("Can't load tokenizer")) is None  # transformers' own
    True
    """
    if number := getattr(error, "errno", None):
        return number
    found = SYSTEM.search(str(error))
    return found and (_NUMBERS.get(found["words"]) or int(found["rust"] or found["python"]))


def raise_fault(error: Exception, place: Path | str | None = None) -> None:
    """Raise the fault of a file system or a network that `error` is, or tells of; do nothing where it is neither.

    Call it where an error is about to be called a mistake of the data.  place: of the fault; none: as the error says.
    Where a library tells of it in words of its own, OSError is raised without these: they may quote a record.

    >>> raise_fault(OSError("Can't load tokenizer"))
    >>> raise_fault(Exception("I/O error: Stale file handle (os error 116)"), "a.safetensors")
    Traceback (most recent call last):
    OSError: [Errno 116] Stale file handle: 'a.safetensors'
    """
    number = system_number(error)
    if not number or is_mistake(error) or is_mistake(OSError(number, "")):
        return
    if place is None and isinstance(error, OSError) and error.errno:
        raise error
    found = SYSTEM.search(str(error))
    raise OSError(number, os.strerror(number), str(place) if place else found and found["file"]) from None


def is_of_a_machine(error: BaseException) -> bool:
    """Say whether an exception that is no mistake tells of a machine, a file system or a lost peer.

    >>> is_of_a_machine(RuntimeError("gloo: Connection closed by peer")), is_of_a_machine(TimeoutError())
    (True, True)
    >>> is_of_a_machine(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    if isinstance(error, OSError) or type(error).__module__.startswith(("ray.", "torch.distributed")):
        return True
    return bool(MACHINE.search(str(error)))


def is_of_a_peer(error: BaseException) -> bool:
    """Say whether an exception tells of no more than that another rank is gone, whatever became of that one.

    >>> is_of_a_peer(RuntimeError("gloo: Connection closed by peer")), is_of_a_peer(RuntimeError("GPU is lost"))
    (True, False)
    """
    return isinstance(error, ConnectionError) or bool(LEFT_ALONE.search(str(error)))
