"""A checkpoint is whole or it is nothing.

Saving writes the files, then MANIFEST.json (size and sha256 of each, and what they are), then renames COMMITTED into
place, which holds the manifest's own hash.  Starting takes the newest folder in which all of that still holds, and says
why it passed over the others.  A folder's name carries step, world size and attempt: two attempts never share one.
What the system cannot read (EIO, ESTALE) is passed over by a start and not deleted: it may be whole tomorrow.

    step_000500-w2-a1/   trainable.safetensors   MANIFEST.json   COMMITTED

Hashing costs a second a gigabyte and thread; what it buys is that a truncated or bit-flipped file is never loaded.
"""

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ckd_dist.files import flush, hash_file, write
from ckd_dist.mistakes import is_mistake

PAUSES = (1.0, 5.0)  # seconds between tries to read what the system could not
MANIFEST, MARKER = "MANIFEST.json", "COMMITTED"
NAME = re.compile(r"step_(\d{6,})-w(\d+)-a(\d+)")


class Unusable(ValueError):  # noqa: N818, a state of the folder
    """A folder that is no whole checkpoint of this run; the message says what is wrong with which file."""


class Torn(Unusable):
    """A folder that was never sealed."""


class Foreign(Unusable):
    """A checkpoint of another recipe or of other inputs, which may be whole."""


class Unread(Unusable):
    """A checkpoint that the system could not read, which may be whole; the cause is the system's error."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that is sealed."""

    step: int  # updates made
    attempt: int  # 1 for a run that never stopped
    num_ranks: int
    path: Path
    numbers: dict[str, float | None]

    def score(self, better: str) -> float:
        """Return the number that chooses the best; minus infinity where it was not measured."""
        value = self.numbers.get(better)
        return -math.inf if value is None else value


def name_of(step: int, num_ranks: int, attempt: int) -> str:
    """Return the name of a checkpoint's folder.

    >>> name_of(500, num_ranks=2, attempt=1)
    'step_000500-w2-a1'
    """
    return f"step_{step:06d}-w{num_ranks}-a{attempt}"


def folders(folder: Path) -> list[Path]:
    """List everything below `folder` that is named like a checkpoint, newest first, whole or not."""
    named = [(NAME.fullmatch(path.name), path) for path in folder.glob("step_*")]
    found = [(int(m[1]), int(m[3]), int(m[2]), path) for m, path in named if m]
    return [path for *_, path in sorted(found, reverse=True)]


def next_attempt(folder: Path) -> int:
    """Return one more than any attempt that left a folder behind."""
    return 1 + max((int(NAME.fullmatch(path.name)[3]) for path in folders(folder)), default=0)


def commit(path: Path, digest: str, numbers: Mapping[str, float]) -> Checkpoint:
    """Seal the files of `path`: all of them are on disk, then the manifest, then the marker."""
    step, num_ranks, attempt = (int(part) for part in NAME.fullmatch(path.name).groups())
    kept = {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}
    manifest = {"digest": digest, "step": step, "num_ranks": num_ranks, "attempt": attempt, "numbers": kept}
    names = _files(path)
    flush(path / name for name in names)
    manifest["files"] = _describe_all(path, names)
    text = json.dumps(manifest, indent=1) + "\n"
    write(path / MANIFEST, text)
    write(path / MARKER, hashlib.sha256(text.encode()).hexdigest() + "\n")
    return Checkpoint(step, attempt, num_ranks, path, kept)


def read_checkpoint(path: Path, digest: str, *, hashes: bool = True) -> Checkpoint:
    """Read what the checkpoint at `path` is.  Raise Unusable unless marker, manifest, digest and every file hold.

    `hashes=False` looks at names and sizes only.  Raises OSError where the system cannot read it.
    """
    try:
        seal = (path / MARKER).read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise Torn(f"{path.name}: never completed ({MARKER} is missing)") from None
    try:
        text = (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise Unusable(f"{path.name}: {MANIFEST} is missing") from None
    if hashlib.sha256(text).hexdigest() != seal:
        raise Unusable(f"{path.name}: {MANIFEST} or {MARKER} was changed after it was written")
    manifest = json.loads(text)
    if manifest["digest"] != digest:
        raise Foreign(f"{path.name}: made by another recipe or from other inputs")
    _check_files(path, manifest["files"], hashes)
    return Checkpoint(manifest["step"], manifest["attempt"], manifest["num_ranks"], path, manifest["numbers"])


def _read_again(path: Path, digest: str, *, hashes: bool = True) -> Checkpoint:
    """Read a checkpoint, and again after a while where the system could not.  Raises OSError where it still cannot."""
    for pause in PAUSES:
        try:
            return read_checkpoint(path, digest, hashes=hashes)
        except OSError as error:
            if is_mistake(error):
                raise
            time.sleep(pause)
    return read_checkpoint(path, digest, hashes=hashes)


def newest_whole(folder: Path, digest: str) -> tuple[Checkpoint | None, dict[Path, Unusable]]:
    """Find the newest whole checkpoint of `digest`; say why newer folders were passed over.

    Raises OSError where none is whole and one of them could not be read.
    """
    skipped: dict[Path, Unusable] = {}
    for path in folders(folder):
        try:
            return _read_again(path, digest), skipped
        except Unusable as why:
            skipped[path] = why
        except OSError as error:
            if is_mistake(error):
                raise
            skipped[path] = unread = Unread(f"{path.name}: cannot be read now ({error})")
            unread.__cause__ = error
    for why in skipped.values():
        if isinstance(why, Unread):
            raise why.__cause__
    return None, skipped


def best(folder: Path, digest: str, better: str) -> Checkpoint | None:
    """Find the whole checkpoint with the highest `better`, the earliest of equals; without any, the newest.

    Raises OSError where one cannot be read: it may be the best, and what is taken here is what a stage ends with.
    """
    found = []
    for path in folders(folder):
        with suppress(Unusable):
            found.append(_read_again(path, digest, hashes=False))
    for candidate in sorted(
        found, key=lambda c: (-c.score(better), c.step if c.score(better) > -math.inf else -c.step)
    ):
        with suppress(Unusable):
            return _read_again(candidate.path, digest)
    return None


def prune(
    folder: Path, digest: str, better: str, damaged: Collection[Path] = (), unread: Collection[Path] = ()
) -> None:
    """Keep the two newest of `digest` and the best; delete its others, the torn and the damaged.  Other digests stay.

    The newest is the last of the latest attempt: the one that was just sealed, whatever an earlier attempt left at a
    later step.  The newest but one is what a run goes on from where the newest turns out to be damaged.
    damaged: what a start passed over; names and sizes, which are all that is looked at here, may not show it.
    unread: what it could not read.  That stays, as does what cannot be read now, and is not one of the two newest.
    """
    whole, torn = [], list(damaged)
    for path in folders(folder):
        if path in damaged or path in unread:
            continue
        try:
            whole.append(read_checkpoint(path, digest, hashes=False))
        except Torn:
            torn.append(path)
        except (Unusable, OSError):
            continue
    kept = sorted(whole, key=lambda c: (c.attempt, c.step))[-2:]
    kept += sorted(whole, key=lambda c: (c.score(better), -c.step))[-1:]
    keep = {each.path for each in kept}
    for path in [*torn, *(c.path for c in whole if c.path not in keep)]:
        with suppress(OSError):  # of a disk that hiccups: the next time will do
            (path / MARKER).unlink(missing_ok=True)  # first: half a folder must not look whole
            shutil.rmtree(path, ignore_errors=True)


def _files(path: Path) -> list[str]:
    """Names below `path`, but for the seal and hidden files.  Raises OSError: a folder that hides is not empty."""
    walk = os.walk(path, onerror=_raise)
    found = (Path(place, name).relative_to(path).as_posix() for place, _, names in walk for name in names)
    return sorted(name for name in found if name not in (MANIFEST, MARKER) and not Path(name).name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _describe_all(path: Path, names: list[str]) -> dict[str, dict]:
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter lock
        hashes = pool.map(lambda name: hash_file(path / name), names)
        return {
            name: {"bytes": (path / name).stat().st_size, "sha256": h} for name, h in zip(names, hashes, strict=True)
        }


def _check_files(path: Path, expected: Mapping[str, dict], hashes: bool) -> None:
    present = _files(path)
    for name in expected:
        if name not in present:
            raise Unusable(f"{path.name}: {name} is missing")
        if (size := (path / name).stat().st_size) != expected[name]["bytes"]:
            raise Unusable(f"{path.name}: {name} has {size} bytes, the manifest says {expected[name]['bytes']}")
    if extra := sorted(set(present) - set(expected)):
        raise Unusable(f"{path.name}: {extra[0]} is not in the manifest")
    if hashes:
        for name, found in _describe_all(path, list(expected)).items():
            if found != expected[name]:
                raise Unusable(f"{path.name}: the bytes of {name} changed after it was written")
