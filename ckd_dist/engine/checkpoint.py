"""A checkpoint is whole or it is nothing.

Saving writes the files, then MANIFEST.json (size and sha256 of each, and what they are), then renames COMMITTED into
place, which holds the manifest's own hash.  Starting takes the newest folder in which all of that still holds, and says
why it passed over the others.  A folder's name carries step, world size and attempt: two attempts never share one.

    step_000500-w2-a1/   trainable.safetensors   MANIFEST.json   COMMITTED

Hashing costs a second a gigabyte and thread; what it buys is that a truncated or bit-flipped file is never loaded.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ckd_dist.files import flush, hash_file, write

MANIFEST, MARKER = "MANIFEST.json", "COMMITTED"
NAME = re.compile(r"step_(\d{6,})-w(\d+)-a(\d+)")


class Unusable(ValueError):  # noqa: N818, a state of the folder
    """A folder that is no whole checkpoint of this run; the message says what is wrong with which file."""


@dataclass(frozen=True, order=True)
class Checkpoint:
    """Orders by step, then attempt."""

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

    `hashes=False` looks at names and sizes only.
    """
    if not (path / MARKER).is_file():
        raise Unusable(f"{path.name}: never completed ({MARKER} is missing)")
    try:
        text = (path / MANIFEST).read_bytes()
    except OSError:
        raise Unusable(f"{path.name}: {MANIFEST} is missing") from None
    if hashlib.sha256(text).hexdigest() != (path / MARKER).read_text(errors="replace").strip():
        raise Unusable(f"{path.name}: {MANIFEST} or {MARKER} was changed after it was written")
    manifest = json.loads(text)
    if manifest["digest"] != digest:
        raise Unusable(f"{path.name}: made by another recipe or from other inputs")
    _check_files(path, manifest["files"], hashes)
    return Checkpoint(manifest["step"], manifest["attempt"], manifest["num_ranks"], path, manifest["numbers"])


def newest_whole(folder: Path, digest: str) -> tuple[Checkpoint | None, list[str]]:
    """Find the newest whole checkpoint of `digest`; say in a sentence each why newer folders were passed over."""
    skipped = []
    for path in folders(folder):
        try:
            return read_checkpoint(path, digest), skipped
        except Unusable as why:
            skipped.append(str(why))
    return None, skipped


def best(folder: Path, digest: str, better: str) -> Checkpoint | None:
    """Find the whole checkpoint with the highest `better`, the earliest of equals; without any, the newest."""
    found = []
    for path in folders(folder):
        try:
            found.append(read_checkpoint(path, digest, hashes=False))
        except Unusable:
            continue
    for candidate in sorted(
        found, key=lambda c: (-c.score(better), c.step if c.score(better) > -math.inf else -c.step)
    ):
        try:
            return read_checkpoint(candidate.path, digest)
        except Unusable:
            continue
    return None


def prune(folder: Path, digest: str, better: str) -> None:
    """Keep the newest and the best of `digest`; delete its others and the torn.  Other digests stay."""
    whole, torn = [], []
    for path in folders(folder):
        try:
            whole.append(read_checkpoint(path, digest, hashes=False))
        except Unusable:
            if not (path / MARKER).is_file():
                torn.append(path)
    keep = {max(whole).path, max(whole, key=lambda c: (c.score(better), -c.step)).path} if whole else set()
    for path in [*torn, *(c.path for c in whole if c.path not in keep)]:
        (path / MARKER).unlink(missing_ok=True)  # first: half a folder must not look whole
        shutil.rmtree(path, ignore_errors=True)


def _files(path: Path) -> list[str]:
    """Names below `path`, but for the seal and hidden files."""
    found = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return sorted(name for name in found if name not in (MANIFEST, MARKER) and not Path(name).name.startswith("."))


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
