"""Label what is not labelled yet: for each missing shard predict, write, publish.

No worker waits for another.  Shard i goes to worker i mod W first; one that has finished its own sweeps over the rest from
the far end, so a lost worker's shards are made by the others.  Two workers on one shard waste a prediction and harm nothing.
Only a shard's number needs to travel; rows are looked up where the prompts lie.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ckd_dist.softlabels import publish
from ckd_dist.softlabels.plan import Plan, ShardError
from ckd_dist.softlabels.shards import error_name, is_done, manifest_name, open_shard, read_manifest, stem, write_shard

INDEX = "index.json"


def missing(root: Path, plan: Plan) -> list[int]:
    """Shards of `plan` that are not published yet."""
    return [number for number in range(plan.num_shards) if not is_done(root, plan, number)]


def claims(num_shards: int, worker: int, num_workers: int) -> list[int]:
    """The order in which `worker` offers itself for shards: its own, then everyone else's from the far end.

    >>> claims(6, 1, 2)
    [1, 3, 5, 4, 2, 0]
    """
    others = [number for number in range(num_shards) if number % num_workers != worker]
    others.sort(key=lambda number: (-(number // num_workers), (number - worker) % num_workers))
    return [*range(worker, num_shards, num_workers), *others]


def generate(
    plan: Plan,
    root: Path,
    shard_numbers: Iterable[int],
    predict: Callable[[np.ndarray], np.ndarray],
    track: Callable[..., None] = lambda done, total, **numbers: None,
    *,
    attempts: int = 3,
) -> None:
    """Label and publish those of `shard_numbers` that are missing when their turn comes.

    predict: sample ids (int64 [N]) to raw logits_UK, units of the rows one after another.
    A shard that fails `attempts` times is set aside in a file that says so, and the others go on; raises ShardError at
    the end where there was one, and at once where the disk takes no more.
    """
    folder, numbers, failed = plan.save(root), list(shard_numbers), []
    publish.sweep(folder)
    for done, number in enumerate(numbers):
        track(done, len(numbers))
        if not is_done(root, plan, number) and not _label(plan, root, number, predict, attempts):
            failed.append(number)
    track(len(numbers), len(numbers))
    if failed:
        raise ShardError(failure(folder, failed))


def _label(plan: Plan, root: Path, number: int, predict: Callable, attempts: int) -> bool:
    """Try to label one shard; say whether it is published."""
    (plan.folder(root) / error_name(number)).unlink(missing_ok=True)
    ids = plan.sample_ids_of(number)
    for attempt in range(1, attempts + 1):
        start = time.monotonic()
        try:
            logits_UK = predict(ids)
        except Exception as error:
            _set_aside(plan.folder(root), number, attempt, error, last=attempt == attempts)
            continue
        told = _who() | {"attempt": attempt, "seconds": round(time.monotonic() - start, 3)}
        try:
            write_shard(root, plan, number, ids, logits_UK, attempt=told)
        except ShardError as error:
            if isinstance(error.__cause__, OSError):  # the disk, not the shard
                raise
            _set_aside(plan.folder(root), number, attempt, error, last=attempt == attempts)
            continue
        return True
    return False


def _set_aside(folder: Path, number: int, attempt: int, error: Exception, last: bool) -> None:
    """Note the kind of failure and the line of code, never the message: it may quote a record."""
    if not last:
        return
    line = error.__traceback__
    while line.tb_next:
        line = line.tb_next
    place = f"{Path(line.tb_frame.f_code.co_filename).name}:{line.tb_lineno}"
    told = _who() | {"shard": number, "attempts": attempt, "error": type(error).__name__, "place": place}
    if isinstance(error, ShardError):  # our own words: counts and names
        told["why"] = str(error)
    publish.replace(folder / error_name(number), json.dumps(told, indent=1).encode())


def failure(folder: Path, numbers: list[int]) -> str:
    """One sentence on shards that could not be labelled."""
    told = json.loads((folder / error_name(numbers[0])).read_bytes())
    why = told.get("why") or f"{told['error']} at {told['place']}"
    return (
        f"{len(numbers)} shards could not be labelled, the first is {stem(numbers[0])} after {told['attempts']} attempts "
        f"({why}): see {folder / error_name(numbers[0])}, then run the label stage again, the others are kept"
    )


def finish(root: Path, plan: Plan) -> dict[str, Any]:
    """Read every shard once more and write index.json, which says that the set is whole; return it.

    Raises ShardError where a shard is missing or is not what its manifest says.
    """
    folder, absent = plan.folder(root), missing(root, plan)
    if absent:
        failed = [number for number in absent if (folder / error_name(number)).is_file()]
        if failed:
            raise ShardError(failure(folder, failed))
        raise ShardError(
            f"{len(absent)} of {plan.num_shards} shards are missing in {folder}, the first is {stem(absent[0])}: "
            "run the label stage again"
        )
    claims = [read_manifest(folder, plan, number) for number in range(plan.num_shards)]
    for number in range(plan.num_shards):
        open_shard(root, plan, number)
    _tidy(folder, {claim["file"] for claim in claims})
    index = {"plan": plan.plan_hash, "columns": plan.columns, "teacher": plan.teacher, "num_rows": plan.num_rows}
    index["shards"] = [{key: claim[key] for key in ("file", "sha256", "bytes", "num_rows")} for claim in claims]
    publish.replace(folder / INDEX, json.dumps(index, indent=1).encode())
    return index


def verify(root: Path, plan: Plan) -> list[str]:
    """What is wrong with the published shards of `plan`, one sentence each."""
    problems = []
    for number in range(plan.num_shards):
        if (plan.folder(root) / manifest_name(number)).exists():
            try:
                open_shard(root, plan, number)
            except ShardError as problem:
                problems.append(str(problem))
    return problems


def _tidy(folder: Path, files: set[str]) -> None:
    """Delete what killed workers and lost races have left."""
    publish.sweep(folder)
    for orphan in folder.glob("shard-*.safetensors"):
        if orphan.name not in files:
            orphan.unlink(missing_ok=True)


def _who() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}
