"""The one way in which files come to be: whole or not at all, durable, for the owner alone.  Hashes of files and JSON.

    write(path, content)               one file from memory
    replacing(path)                    one file by whoever wants a path to write at: parquet, safetensors, gzip
    create(path, content)              one file, unless somebody was first
    filling(folder)                    many files that belong together, moved into a folder that holds others too
    replacing_folder(folder)           a whole folder

All write under a temporary name in the same file system, force the bytes to disk, then rename, then force the name to
disk: after a crash at any byte there is the old file or the new one.  A folder cannot be replaced in one step; a crash
between two renames leaves none under its name, never a mixture.  Links are refused: their files lie elsewhere, with
rights that are not ours to change.

Temporary names are .NAME.XXXXXXXX.tmp, each once on all hosts that share the disk.  Those of a killed process stay
until `sweep`, which a run calls when it starts.  Measured on ext4: a small file costs 9 to 12 ms by itself, 1 to 2 ms
among many in `filling`, so that is for many small files.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = re.compile(r"\..*\.[a-z0-9_]{8}\.tmp")
PIECES, PIECE_BYTES = 16, 2**16  # of a file that is sampled
FLUSHES = 8  # at once: the disk writes what waits together


def write(path: Path, content: str | bytes) -> None:
    """Put `content` at `path`, over whatever is there."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write at; once the block ends well that file is at `path`.  An exception leaves no trace."""
    make_folder(path.parent)
    with _temporary_file(path) as temporary:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    _sync(path.parent)


def create(path: Path, content: str | bytes) -> bool:
    """Put `content` at `path` unless something is there already; say whether this call did it."""
    make_folder(path.parent)
    with _temporary_file(path) as temporary:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        _flush(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    _sync(path.parent)
    return True


@contextmanager
def filling(folder: Path, last: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Yield a folder to write in; once the block ends well its files are at the same places in `folder`.

    All of them are on disk before the first one moves.  last: which files, by their relative path, move after all
    others.  What else lies in `folder` stays.  Raises ValueError, and moves none, where a folder there has the name of
    a file, or a file that of a folder.
    """
    make_folder(folder)
    with _temporary_folder(folder, folder) as temporary:
        yield temporary
        names = sorted(path.relative_to(temporary) for path in _below(temporary) if path.is_file())
        flush(temporary / name for name in names)
        _check_places(folder, names)
        for name in sorted(names, key=last):
            make_folder((folder / name).parent)
            os.replace(temporary / name, folder / name)
    for place in sorted({(folder / name).parent for name in names}):
        _sync(place)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write in; once the block ends well it is at `folder`, and what was there is gone.

    Of several processes that replace one folder the last stays.  Raises ValueError where `folder` is a file.
    """
    folder = folder.resolve()
    if folder.is_file():  # one look: a second would find that another process has just moved the folder away
        raise ValueError(f"{folder} is a file, and a folder is to be there: move it away, or name another folder")
    make_folder(folder.parent)
    with _temporary_folder(folder.parent, folder) as temporary:
        yield temporary
        below = [temporary, *_below(temporary)]
        flush(path for path in below if path.is_file())
        for place in (path for path in below if path.is_dir()):
            _sync(place)
        with _temporary_folder(folder.parent, folder) as aside:
            _take_place(temporary, folder, aside)
            _sync(folder.parent)


def make_folder(folder: Path) -> None:
    """Make a folder where there is none, and those above it; their names are on disk too."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def flush(paths: Iterable[Path]) -> None:
    """Force the bytes of files to disk, and let nobody but the owner read them."""
    with ThreadPoolExecutor(FLUSHES) as pool:
        list(pool.map(_flush, paths))


def sweep(folder: Path) -> None:
    """Delete what killed processes left half written below `folder`.  For whoever knows that nobody writes there."""
    for place, folders, names in os.walk(folder):
        for name in [name for name in folders if TEMPORARY.fullmatch(name)]:
            shutil.rmtree(Path(place, name), ignore_errors=True)
            folders.remove(name)
        for name in names:
            if TEMPORARY.fullmatch(name):
                Path(place, name).unlink(missing_ok=True)


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(**_name(path), dir=path.parent)  # 0600, and no other process has it
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _temporary_folder(place: Path, named: Path) -> Iterator[Path]:
    name = tempfile.mkdtemp(**_name(named), dir=place)  # 0700
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)


def _take_place(new: Path, folder: Path, aside: Path) -> None:
    """Move what is at `folder` into `aside` and `new` to its place; an exception, Ctrl-C too, brings the old one back.

    Another process may put its folder there between the two renames: then that one moves away like the first.
    """
    for number in itertools.count():
        old = aside / str(number)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.replace(folder, old)
            os.replace(new, folder)
            return
        except BaseException as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            raise


def _below(folder: Path) -> list[Path]:
    """List all that lies below a temporary folder; raise ValueError where a link does."""
    found = list(folder.rglob("*"))
    if num_links := sum(path.is_symlink() for path in found):
        raise ValueError(f"{num_links} links are among the files to be written: write the files themselves")
    return found


def _check_places(folder: Path, names: Iterable[Path]) -> None:
    """Raise ValueError unless files of these names can move into `folder`."""
    names = set(names)
    above = {place for name in names for place in name.parents}
    num_folders = sum((folder / name).is_dir() and not (folder / name).is_symlink() for name in names)
    num_files = sum(os.path.lexists(folder / place) and not (folder / place).is_dir() for place in above)
    if num_folders or num_files:  # a name can be a patient's: none is said
        raise ValueError(
            f"in {folder} {num_folders} folders have the name of a file to be written, {num_files} files that of a "
            "folder: move them away, or name another folder"
        )


def _name(path: Path) -> dict[str, str]:
    return {"prefix": f".{path.name[:60]}.", "suffix": ".tmp"}  # names of 255 bytes are the longest there are


def _flush(path: Path) -> None:
    if path.is_symlink():
        raise ValueError("a link is where a file is to be written: write the file itself")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, 0o600)  # some writers make the file anew
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Force the names in a folder to disk, before anybody relies on them."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
