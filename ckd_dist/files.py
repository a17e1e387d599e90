"""Write a file whole or not at all, hash files and JSON values, list what a folder holds."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

PIECES, PIECE_BYTES = 16, 2**16  # of a file that is sampled


def write(path: Path, content: str | bytes) -> None:
    """Put `content` at `path`, for the owner alone: after a crash at any byte the old file or the new one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name too is on disk before anybody relies on it
    finally:
        os.close(folder)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sample_hash(path: Path) -> str:
    """Return the sha256 of PIECES pieces spread evenly over a file, its end included; of all of a small one."""
    size, found = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        for piece in range(PIECES):
            file.seek(max(0, size - PIECE_BYTES) * piece // (PIECES - 1))
            found.update(file.read(PIECE_BYTES))
    return found.hexdigest()


def digest_of(value: Any) -> str:
    """Return 16 hex digits over a JSON value, whatever the order of its keys.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def files_below(folder: Path) -> list[Path]:
    """List every finished file below `folder`; nothing where there is no folder."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
