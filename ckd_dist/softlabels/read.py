"""Soft labels for the student: a finished set, and, for no stage yet, one that is still being made.

`read_labels` wants index.json and gives everything: what every stage does.  `MappedLabels` wants it too and gives the
rows that are asked for, from files that stay on disk.  `LabelStream` needs the plan and the manifests alone and waits
for the shard that holds the next rows.  All check every hash and give the same numbers.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from ckd_dist.schema import hash_of_columns
from ckd_dist.softlabels.errors import ShardError
from ckd_dist.softlabels.generate import INDEX, failure
from ckd_dist.softlabels.plan import Plan, num_shards
from ckd_dist.softlabels.shards import Shard, error_name, is_done, manifest_name, open_shard, read_manifest, stem

# N rows, U units, K columns


def read_labels(root: Path, plan: Plan | str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read all of a finished set in plan order: sample_id_N and raw logits_UK (U = N where a row has one unit).

    plan: the plan or its hash.  Raises ShardError where the set is not finished, a file is damaged, or it was made for
    other label columns than `names`.
    """
    plan = open_plan(root, plan, names)
    check_index(root, plan)
    shards = [open_shard(root, plan, number) for number in range(plan.num_shards)]
    return plan.sample_id_N, np.concatenate([shard.logits_UK for shard in shards])


def open_plan(root: Path, plan: Plan | str, names: Sequence[str], teacher: str | None = None) -> Plan:
    """Read the plan on disk.  Raise ShardError where it has other label columns or another teacher."""
    plan = Plan.open(root, plan if isinstance(plan, str) else plan.plan_hash)
    if plan.columns != hash_of_columns(names):
        raise ShardError(
            f"{plan.folder(root)} has soft labels for {len(plan.names)} columns (hash {plan.columns}), the label set "
            f"has {len(names)} (hash {hash_of_columns(names)}): label again, or take the label set they were made for"
        )
    if teacher is not None and plan.source.teacher != teacher:
        raise ShardError(
            f"{plan.folder(root)} was labelled by teacher {plan.source.teacher[:16]}, this one is {teacher[:16]}: "
            "label again with this teacher, or take the other one"
        )
    return plan


def check_index(root: Path, plan: Plan) -> None:
    """Raise ShardError unless index.json says that this very set is whole."""
    index = plan.folder(root) / INDEX
    if not index.is_file():
        num_done = sum(is_done(root, plan, number) for number in range(plan.num_shards))
        raise ShardError(
            f"{index} is missing: {num_done} of {plan.num_shards} shards are finished, run the label stage to its end"
        )
    try:
        content = json.loads(index.read_bytes())
        same = content["plan"] == plan.plan_hash
        listed = [(shard["file"], shard["sha256"]) for shard in content["shards"]]
        claims = [json.loads((index.parent / manifest_name(n)).read_bytes()) for n in range(plan.num_shards)]
        whole = listed == [(claim["file"], claim["sha256"]) for claim in claims]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{index} or a manifest beside it cannot be read: run the label stage again") from error
    if not (same and whole):
        raise ShardError(f"{index} lists other shards than the manifests beside it: run the label stage again")


class MappedLabels:
    """Soft labels of a finished set by sample id, in no more memory than the rows that are asked for.

    Every shard is read and hashed once, one after another, and then mapped.  Raises ShardError as `read_labels` does.
    """

    def __init__(self, root: Path, plan: Plan) -> None:
        check_index(root, plan)
        self.plan = plan
        self.order_N = np.argsort(plan.sample_id_N)
        self.sorted_id_N = plan.sample_id_N[self.order_N]
        self.files = []
        for number in range(plan.num_shards):
            open_shard(root, plan, number)
            name = read_manifest(plan.folder(root), plan, number)["file"]
            self.files.append(safe_open(plan.folder(root) / name, framework="np"))

    def __contains__(self, sample_id: int) -> bool:
        place = int(np.searchsorted(self.sorted_id_N, sample_id))
        return place < len(self.sorted_id_N) and self.sorted_id_N[place] == sample_id

    def logits_of(self, sample_ids: Iterable[int]) -> list[np.ndarray]:
        """Read the raw logits of each sample, float32 [U, K].  Raise ShardError where the set lacks one."""
        return [self._logits_of(int(sample_id)) for sample_id in sample_ids]

    def _logits_of(self, sample_id: int) -> np.ndarray:
        if sample_id not in self:
            raise ShardError(f"plan {self.plan.plan_hash} has no soft labels of sample {sample_id}: label again")
        row = int(self.order_N[np.searchsorted(self.sorted_id_N, sample_id)])
        number = row // self.plan.shard_rows
        start = self.plan.offsets_N1[self.plan.rows_of(number).start]
        first, last = (int(self.plan.offsets_N1[each] - start) for each in (row, row + 1))
        return self.files[number].get_slice("logits_UK")[first:last].astype(np.float32)


class LabelStream:
    """Soft labels by place in plan order, read as they are published and then kept in memory.

    No stage uses it yet: today a student starts when all its labels are finished.  It is what lets one start earlier.

    timeout_seconds: how long no new shard may appear while one is waited for.
    """

    def __init__(
        self,
        root: Path,
        plan: Plan,
        *,
        timeout_seconds: float = 1800.0,
        poll_seconds: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.root, self.plan = Path(root), plan
        self.timeout_seconds, self.poll_seconds, self.sleep = timeout_seconds, poll_seconds, sleep
        self.shards: dict[int, Shard] = {}

    def labels_of(self, shard: int) -> Shard:
        """Read one shard once it is published.  Raise ShardError where it never comes, or is damaged."""
        if shard not in self.shards:
            self.wait_for(shard)
            self.shards[shard] = open_shard(self.root, self.plan, shard)
        return self.shards[shard]

    def logits_of(self, rows: Iterable[int]) -> np.ndarray:
        """Read logits_UK of rows given by place in plan order, their units one after another; wait for their shards."""
        none = np.zeros((0, len(self.plan.names)), dtype=self.plan.dtype)
        return np.concatenate([none, *(self.logits_of_row(int(row)) for row in rows)])

    def logits_of_row(self, row: int) -> np.ndarray:
        """Read logits_UK of the units of one row."""
        number, place = divmod(row, self.plan.shard_rows)
        shard = self.labels_of(number)
        return shard.logits_UK[shard.offsets_N1[place] : shard.offsets_N1[place + 1]]

    def wait_for_rows(self, num_rows: int) -> None:
        """Return once the first `num_rows` rows of plan order are labelled."""
        for number in range(num_shards(num_rows, self.plan.shard_rows)):
            self.labels_of(number)

    def wait_for(self, shard: int) -> None:
        """Return once `shard` is published.  Raises ShardError where it was set aside, or nothing came for too long."""
        folder, waited, num_seen = self.plan.folder(self.root), 0.0, -1
        while not is_done(self.root, self.plan, shard):
            if (folder / error_name(shard)).is_file():
                raise ShardError(failure(folder, [shard]))
            num_done = sum(1 for _ in folder.glob("shard-?????.json"))
            waited = 0.0 if num_done != num_seen else waited
            num_seen = num_done
            if waited >= self.timeout_seconds:
                raise ShardError(
                    f"{stem(shard)} has not come to {folder}, nor has any other shard for {waited:.0f} seconds "
                    f"({num_done} of {self.plan.num_shards} are there): is the label stage running?"
                )
            self.sleep(self.poll_seconds)
            waited += self.poll_seconds
