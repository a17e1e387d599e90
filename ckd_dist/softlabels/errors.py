"""What can be wrong with soft labels, with the disk that they are written to, and with who makes them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ShardError(ValueError):
    """Soft labels that must not be used, or cannot be made: the message names the file and says what to do."""


class DiskError(ShardError):
    """The disk takes no more: full, read-only, or not there.  errno: the system's number."""

    errno: int | None = None


class LabelerFault(RuntimeError):  # noqa: N818
    """A labeler failed, maybe by its machine's fault: no ShardError, because another process may do better."""


REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}
REFUSALS |= {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal into one sentence.  A disk that hiccups is no refusal: its error goes on."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        refused = DiskError(
            f"{path} cannot be written ({error.strerror or type(error).__name__}): make room or give access there and "
            "run the same command again; what is finished is kept"
        )
        refused.errno = error.errno
        raise refused from error
