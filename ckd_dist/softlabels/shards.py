"""One shard: raw logits of some rows, published once under a name that carries its content's hash.

    .shard-00012-3f2a....XXXXXXXX.tmp       being written; checked by reading it back
    shard-00012-3f2a....safetensors         whole: sample_id_N, offsets_N1, logits_UK, and further named tensors
    shard-00012.json                        the claim: which file is shard 12.  Created only if absent: the first wins
    shard-00012.error.json                  it could not be labelled; no word of a record in it

The name carries the hash because two attempts on different devices may differ in a bit: under one fixed name the file
of one could meet the manifest of the other.  safetensors notices a truncated file but not a flipped bit, so every read
of labels hashes the bytes it uses.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from ckd_dist.files import create, replacing, write
from ckd_dist.softlabels.errors import DiskError, ShardError, writing
from ckd_dist.softlabels.plan import FORMAT, Plan

# N rows of the shard, U units, K columns

OWN = ("sample_id_N", "offsets_N1", "logits_UK")


@dataclass(frozen=True, eq=False)
class Shard:
    """What one shard holds.  Row i has units offsets[i] to offsets[i + 1]."""

    number: int
    sample_id_N: np.ndarray  # int64
    offsets_N1: np.ndarray  # int64
    logits_UK: np.ndarray  # raw, in the plan's dtype
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)  # spans, attention, ... with offsets of their own


def write_shard(root: Path, plan: Plan, shard: Shard, attempt: Mapping[str, Any]) -> Path:
    """Publish `shard` of `plan` below `root`; return the file that now is that shard, another's if it was first.

    The logits are stored in the plan's dtype.  attempt: numbers and names for the manifest, nothing of a record.
    Raises ShardError where rows, shape or numbers are not what the plan says, DiskError where they cannot be written.
    """
    with np.errstate(over="ignore"):  # float16 overflows to inf, which check refuses
        logits_UK = np.ascontiguousarray(shard.logits_UK, dtype=plan.dtype)
    shard = check(replace(shard, logits_UK=logits_UK), plan)
    try:
        with writing(plan.folder(root) / stem(shard.number)):
            return _publish(plan.folder(root), plan, shard, attempt)
    except DiskError:
        claim = read_manifest(plan.folder(root), plan, shard.number)
        if claim is None:
            raise
        return plan.folder(root) / claim["file"]  # somebody else has published it meanwhile


def _publish(folder: Path, plan: Plan, shard: Shard, attempt: Mapping[str, Any]) -> Path:
    content = encode(shard, plan)
    sha256 = hashlib.sha256(content).hexdigest()
    file = folder / file_name(shard.number, sha256)
    with replacing(file) as temporary:
        with temporary.open("wb") as opened:
            opened.write(content)
        if (found := temporary.read_bytes()) != content:
            raise ShardError(f"{file} reads otherwise than it was written: look at the disk and label again")
        check(decode(found, shard.number, plan, file), plan)

    manifest = folder / manifest_name(shard.number)
    claim = {
        "format": FORMAT,
        "plan": plan.plan_hash,
        "shard": shard.number,
        "file": file.name,
        "sha256": sha256,
        "bytes": len(content),
        "num_rows": len(shard.sample_id_N),
        "num_units": len(shard.logits_UK),
        "first_id": int(shard.sample_id_N[0]),
        "last_id": int(shard.sample_id_N[-1]),
        "attempt": dict(attempt),
    }
    text = json.dumps(claim, indent=1).encode()
    if not create(manifest, text):
        first = read_manifest(folder, plan, shard.number)
        if first is None:  # it claims a file that is lost or cut short
            write(manifest, text)
        elif first["file"] != file.name:
            file.unlink(missing_ok=True)
            file = folder / first["file"]
    (folder / error_name(shard.number)).unlink(missing_ok=True)
    return file


def is_done(root: Path, plan: Plan, number: int) -> bool:
    """Say whether the shard is published whole, by its manifest and its file's size; reading it checks the hash."""
    return read_manifest(plan.folder(root), plan, number) is not None


def read_manifest(folder: Path, plan: Plan, number: int) -> dict[str, Any] | None:
    """Read the claim on shard `number`; None where there is none, or it does not hold.

    Raises OSError where the system cannot read it: it may hold.
    """
    try:
        claim = json.loads((folder / manifest_name(number)).read_bytes())
        belongs = claim["plan"] == plan.plan_hash and claim["shard"] == number
        whole = claim["file"] == file_name(number, claim["sha256"])
        return claim if belongs and whole and (folder / claim["file"]).stat().st_size == claim["bytes"] else None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def set_aside(root: Path, plan: Plan) -> list[int]:
    """List the shards that failed, and were set aside."""
    folder = plan.folder(root)
    return [number for number in range(plan.num_shards) if (folder / error_name(number)).is_file()]


def withdraw(root: Path, plan: Plan, number: int) -> None:
    """Take back the claim on a published shard, so that it is labelled again."""
    (plan.folder(root) / manifest_name(number)).unlink(missing_ok=True)


def open_shard(root: Path, plan: Plan, number: int) -> Shard:
    """Read one published shard.

    Raises ShardError naming the file where it is absent, empty, cut short, altered by a bit, or another plan's.
    """
    folder = plan.folder(root)
    manifest = folder / manifest_name(number)
    remedy = f"delete {manifest.name} there and run the label stage again"
    try:
        claim = json.loads(manifest.read_bytes())
        sha256, num_bytes, of_plan = claim["sha256"], claim["bytes"], claim["plan"]
        content = (folder / file_name(number, sha256)).read_bytes()
    except FileNotFoundError as error:
        raise ShardError(f"{Path(error.filename).name} is missing in {folder}: run the label stage again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{manifest} cannot be read: {remedy}") from error
    file = folder / file_name(number, sha256)
    if of_plan != plan.plan_hash:
        raise ShardError(f"{manifest} belongs to plan {of_plan}, not to {plan.plan_hash}: {remedy}")
    if len(content) != num_bytes:
        raise ShardError(f"{file} has {len(content)} bytes, its manifest says {num_bytes}: {remedy}")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ShardError(f"{file} has been altered, its bytes do not have the hash of its name: {remedy}")
    return check(decode(content, number, plan, file), plan)


def encode(shard: Shard, plan: Plan) -> bytes:
    """Return the bytes of a shard's file.  All metadata is under one key, for the order of several is not fixed."""
    if clash := set(shard.extra) & set(OWN):
        raise ShardError(f"{stem(shard.number)}: extra tensors may not be called {sorted(clash)}")
    tensors = {"sample_id_N": shard.sample_id_N, "offsets_N1": shard.offsets_N1, "logits_UK": shard.logits_UK}
    metadata = {"format": FORMAT, "plan": plan.plan_hash, "shard": shard.number}
    metadata |= {"columns": plan.columns, "teacher": plan.source.teacher}
    extra = {name: np.ascontiguousarray(value) for name, value in shard.extra.items()}
    return safetensors.numpy.save(tensors | extra, metadata={"shard": json.dumps(metadata)})


def decode(content: bytes, number: int, plan: Plan, file: Path) -> Shard:
    """Return the shard whose file has these bytes.  Raise ShardError where they are not shard `number` of `plan`."""
    try:
        tensors = safetensors.numpy.load(content)
        metadata = json.loads(_metadata(content)["shard"])
        own = {name: tensors.pop(name) for name in OWN}
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ShardError(f"{file} is no soft-label shard, or is cut short: delete it and label again") from error
    wanted = {"plan": plan.plan_hash, "shard": number, "columns": plan.columns, "teacher": plan.source.teacher}
    for key, value in wanted.items():
        if metadata.get(key) != value:
            raise ShardError(f"{file} is of {key} {metadata.get(key)}, expected {value}: delete it and label again")
    return Shard(number, **own, extra=tensors)


def _metadata(content: bytes) -> dict[str, str]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size])["__metadata__"]


def check(shard: Shard, plan: Plan) -> Shard:
    """Return a shard whose rows, shapes and numbers are what the plan says; raise ShardError on any other."""
    name = f"{stem(shard.number)} of plan {plan.plan_hash}"
    ids, offsets_N1 = plan.sample_ids_of(shard.number), offsets_of(plan, shard.number)
    if not np.array_equal(shard.sample_id_N, ids):
        raise ShardError(f"{name} holds other rows than the plan says: label that shard again")
    if not np.array_equal(shard.offsets_N1, offsets_N1):
        raise ShardError(f"{name} cuts its rows into other units than the plan says: label that shard again")
    wanted = (int(offsets_N1[-1]), len(plan.names))
    if shard.logits_UK.shape != wanted or shard.logits_UK.dtype != plan.dtype:
        got = f"{shard.logits_UK.dtype} {shard.logits_UK.shape}"
        raise ShardError(
            f"{name} has logits {got}, the plan says {plan.dtype} {wanted} (units, columns): label it again"
        )
    for key, value in {"logits_UK": shard.logits_UK, **shard.extra}.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            num_bad = int((~np.isfinite(value)).sum())
            raise ShardError(f"{name}: {num_bad} numbers of {key} are not finite in {value.dtype}: look at the teacher")
    return shard


def describe_error(folder: Path, number: int) -> str:
    """Say in a few words why a shard was set aside."""
    try:
        error = json.loads((folder / error_name(number)).read_bytes())
        return f"{error['attempts']} attempts, {error.get('why') or error['error'] + ' at ' + error['place']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "no reason on file"


def offsets_of(plan: Plan, number: int) -> np.ndarray:
    """Return where the units of each of a shard's rows begin, from 0."""
    rows = plan.rows_of(number)
    offsets_N1 = plan.offsets_N1[rows.start : rows.stop + 1]
    return offsets_N1 - offsets_N1[0]


def stem(number: int) -> str:
    """Return what all files of a shard are called at first."""
    return f"shard-{number:05d}"


def file_name(number: int, sha256: str) -> str:
    """Return the name of a whole shard with that hash."""
    return f"{stem(number)}-{sha256[:16]}.safetensors"


def manifest_name(number: int) -> str:
    """Return the name of the claim on a shard."""
    return f"{stem(number)}.json"


def error_name(number: int) -> str:
    """Return the name of the file that says why a shard was set aside."""
    return f"{stem(number)}.error.json"
