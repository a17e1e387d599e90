"""Files appear whole or not at all, and survive the kill of any process at any instruction.

Written under a temporary name in the same folder, flushed to disk, then renamed or linked.  A temporary name says which
host and process it belongs to, so that what a killed one left behind can be told from what a living one is writing.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABANDONED_SECONDS = 3600.0  # a temporary file of another host that nobody has touched for so long


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
    """A hidden name `.NAME.HOST.PID.THREAD.tmp` that is gone afterwards, however it ends."""
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


def sweep(folder: Path, seconds: float = ABANDONED_SECONDS) -> int:
    """Delete temporary files whose process is dead, or that were not touched for `seconds`; return how many."""
    num_deleted = 0
    for temp in folder.glob(".*.tmp"):
        if _is_abandoned(temp, seconds):
            temp.unlink(missing_ok=True)
            num_deleted += 1
    return num_deleted


def _is_abandoned(temp: Path, seconds: float) -> bool:
    try:
        host, pid = temp.name.rsplit(".", 3)[0], int(temp.name.rsplit(".", 3)[1])
        age = time.time() - temp.stat().st_mtime
    except (IndexError, ValueError, FileNotFoundError):  # not one of ours, or just gone
        return False
    return age > seconds or (host.endswith("." + socket.gethostname()) and not _is_alive(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
