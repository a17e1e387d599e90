"""What can be wrong with soft labels, and with the disk that they are written to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ShardError(ValueError):
    """Soft labels that must not be used, or cannot be made: the message names the file and says what to do."""


class DiskError(ShardError):
    """The disk takes no more: full, read-only, or not there."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal into one sentence."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{path} cannot be written ({error.strerror or type(error).__name__}): make room or give access there and "
            "run the same command again; what is finished is kept"
        ) from error
