"""Mistakes and faults: what another try would only meet again, and what it may mend.

A mistake is an exception that says something of the recipe, the data or the program; there is a list of them.  All else
may be the machine's fault: a lost GPU, a memory that flipped, a file system that hiccups.
"""

import errno
import re

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
    """Say whether a disk or a quota is full; safetensors has words of its own for it.

    >>> is_full_disk(OSError(errno.ENOSPC, "No space left")), is_full_disk(Exception("I/O error (os error 28)"))
    (True, True)
    """
    return getattr(error, "errno", None) in _FULL or any(f"os error {number})" in str(error) for number in _FULL)


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
    return bool(LEFT_ALONE.search(str(error)))
