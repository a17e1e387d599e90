"""Files appear whole or not at all, and survive the kill of any process at any instruction.

Written under a temporary name in the same folder, forced to disk, then renamed or linked.  The temporary file of a
killed process stays; `generate.finish` sweeps those up once nobody can need them.
"""

import os
import socket
import threading
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


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path`, over whatever is there."""
    with temporary(path.parent, path.name) as temp:
        write(temp, content)
        os.replace(temp, path)
    sync_folder(path.parent)


def create(path: Path, content: bytes) -> bool:
    """Put `content` at `path` unless something is there already; say whether this call did it."""
    with temporary(path.parent, path.name) as temp:
        write(temp, content)
        try:
            os.link(temp, path)
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def write(path: Path, content: bytes) -> None:
    """Write and force to disk, readable by the owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def temporary(folder: Path, name: str) -> Iterator[Path]:
    """Give a hidden name of this thread, `.NAME.HOST.PID.THREAD.tmp`, and delete what lies there, however it ends."""
    temp = folder / f".{name}.{socket.gethostname()}.{os.getpid()}.{threading.get_native_id()}.tmp"
    try:
        yield temp
    finally:
        temp.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force the names in `folder` to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
