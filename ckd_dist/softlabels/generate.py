"""Label what is not labelled yet: for each missing shard predict, write, publish.

No worker waits for another: a shard that somebody has published meanwhile is passed over, and two workers on one shard
waste a prediction and harm nothing.  A job is a shard's number; its rows are looked up where the prompts lie.
"""

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ckd_dist.endpoints.errors import EndpointError
from ckd_dist.files import sweep, write
from ckd_dist.mistakes import is_for_want_of_room, is_mistake
from ckd_dist.softlabels.errors import DiskError, LabelerFault, ShardError, writing
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.shards import (
    Shard,
    describe_error,
    error_name,
    is_done,
    offsets_of,
    open_shard,
    read_manifest,
    stem,
    write_shard,
)

INDEX = "index.json"
ATTEMPTS = 3  # before a shard is set aside
OF_A_GPU = re.compile(r"CUDA error|CUDA driver error|NCCL error|cuDNN error")  # how a driver's own words begin

Predict = Callable[[np.ndarray], np.ndarray | tuple[np.ndarray, dict[str, float]]]


def missing(root: Path, plan: Plan) -> list[int]:
    """List the shards of `plan` that are not published yet."""
    return [number for number in range(plan.num_shards) if not is_done(root, plan, number)]


def generate(plan: Plan, root: Path, shard_numbers: Iterable[int], predict: Predict) -> None:
    """Label and publish those of `shard_numbers` that are missing when their turn comes.

    predict: sample ids (int64 [N]) to raw logits_UK, the units of the rows one after another; or to them and numbers
    (tokens, costs, counts) for the shard's manifest.
    A shard that fails ATTEMPTS times by a mistake is set aside in shard-00012.error.json and the others go on; raises
    ShardError at the end where there was one, and DiskError at once where the disk takes no more.  What may be a
    machine's fault ends all at once and sets nothing aside: another process may do better.  It leaves as it is, an
    OSError after a second try, and as LabelerFault where its words may quote a record.
    """
    folder, failed = plan.save(root), []
    for number in shard_numbers:
        if not is_done(root, plan, number) and not _label(plan, root, number, predict):
            failed.append(number)
    if failed:
        raise ShardError(failure(folder, failed))


def _label(plan: Plan, root: Path, number: int, predict: Predict) -> bool:
    """Try to label one shard; say whether it is published.  Raises what is not the shard's mistake."""
    error_file = plan.folder(root) / error_name(number)
    if error_file.exists():  # of an earlier run, which a reader would take for this one's
        with writing(error_file):
            error_file.unlink(missing_ok=True)
    ids, failed = plan.sample_ids_of(number), None
    for attempt in range(1, ATTEMPTS + 1):
        start = time.monotonic()
        try:
            made = predict(ids)
            logits_UK, numbers = made if isinstance(made, tuple) else (made, {})
            cost = {"attempt": attempt, "seconds": round(time.monotonic() - start, 3), "numbers": numbers}
            write_shard(root, plan, Shard(number, ids, offsets_of(plan, number), logits_UK), _who() | cost)
            return True
        except DiskError:  # not the shard's fault, and the next one would fare no better
            raise
        except OSError as error:  # a file system's hiccup is often over at once
            if is_for_want_of_room(error) or (attempt > 1 and not is_mistake(error)):
                raise
            failed = error
        except Exception as error:
            if not is_mistake(error) and OF_A_GPU.match(str(error)):  # a lost GPU stays lost in this process
                raise
            failed = error
        if not isinstance(failed, OSError) and not is_mistake(failed):
            kind = kind_of(failed)  # raised outside of `except`: an exception's context gets out with it
            raise LabelerFault(f"{stem(number)} could not be labelled: {kind['error']} at {kind['place']}")
    with writing(error_file):
        write(error_file, json.dumps(_who() | {"attempts": ATTEMPTS} | kind_of(failed), indent=1).encode())
    return False


def kind_of(error: Exception) -> dict[str, str]:
    """Say what failed, without the message of a stranger's exception: it may quote a record."""
    line = error.__traceback__
    while line.tb_next:
        line = line.tb_next
    kind = {"error": type(error).__name__, "place": f"{Path(line.tb_frame.f_code.co_filename).name}:{line.tb_lineno}"}
    return kind | ({"why": str(error)} if isinstance(error, (ShardError, EndpointError)) else {})


def failure(folder: Path, numbers: list[int]) -> str:
    """Say in one sentence which shards could not be labelled."""
    first = numbers[0]
    return (
        f"{len(numbers)} shards could not be labelled, the first is {stem(first)} ({describe_error(folder, first)}): "
        f"see {folder / error_name(first)} and run the label stage again; the other shards are kept"
    )


def finish(root: Path, plan: Plan) -> dict[str, Any]:
    """Read every shard once more and write index.json, which says that the set is whole; return it.

    Raises ShardError where a shard is missing or is not what its manifest says.
    """
    folder, absent = plan.folder(root), missing(root, plan)
    failed = [number for number in absent if (folder / error_name(number)).is_file()]
    if failed:
        raise ShardError(failure(folder, failed))
    if absent:
        raise ShardError(
            f"{len(absent)} of {plan.num_shards} shards are missing in {folder}, the first is {stem(absent[0])}: "
            "run the label stage again"
        )
    for number in range(plan.num_shards):
        open_shard(root, plan, number)
    manifests = [read_manifest(folder, plan, number) for number in range(plan.num_shards)]
    index = {"plan": plan.plan_hash, "columns": plan.columns, "teacher": plan.source.teacher, "num_rows": plan.num_rows}
    index["shards"] = [
        {key: manifest[key] for key in ("file", "sha256", "bytes", "num_rows")} for manifest in manifests
    ]
    with writing(folder / INDEX):
        _tidy(folder, {manifest["file"] for manifest in manifests})
        write(folder / INDEX, json.dumps(index, indent=1).encode())
    return index


def _tidy(folder: Path, files: set[str]) -> None:
    """Delete what killed workers and lost races have left: the set is whole, whoever still writes does so in vain."""
    sweep(folder)
    for path in folder.glob("shard-*.safetensors"):
        if path.name not in files:
            path.unlink(missing_ok=True)


def _who() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}
