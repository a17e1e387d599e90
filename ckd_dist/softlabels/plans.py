"""Several plans of one stage as one row of jobs: shards are numbered through all, so a job is one number.

plans: {split: plan}, {(labeler, split): plan} or {embedding: plan}, in a fixed order

    softlabels/jobs-<digest>.json      for workers: which plans, in order, and the hashes of the model's files

Who hands out the jobs makes the plans, and so hashes a teacher and its base; who does them opens the plans by name, and
looks whether these files still have the size and the time that they had then.  At 7B that is 15 GB read once, not once
a labeler.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from ckd_dist.files import files_below, write
from ckd_dist.models.fingerprint import known_hashes, learn_hashes
from ckd_dist.softlabels.generate import finish, missing
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.shards import read_manifest

Key = TypeVar("Key")


def still_missing(root: Path, plans: Mapping[Key, Plan], digest: str) -> list[int]:
    """Write the plans, and return the numbers, through all of them, of the shards that are not published.

    digest: of the stage's context; `open_all` of the same gives the plans to a worker.
    """
    numbers, start = [], 0
    for plan in plans.values():
        plan.save(root)
        numbers += [start + shard for shard in missing(root, plan)]
        start += plan.num_shards
    named = [(key, plan.plan_hash) for key, plan in plans.items()]
    write(_jobs(root, digest), json.dumps({"plans": named, "hashes": known_hashes()}, indent=1))
    return numbers


def open_all(root: Path, digest: str) -> dict[Key, Plan]:
    """Open the plans that `still_missing` wrote, and learn the hashes that it knew."""
    jobs = json.loads(_jobs(root, digest).read_text())
    learn_hashes(jobs["hashes"])
    return {tuple(key) if isinstance(key, list) else key: Plan.open(root, named) for key, named in jobs["plans"]}


def _jobs(root: Path, digest: str) -> Path:
    return root / f"jobs-{digest}.json"


def find(plans: Mapping[Key, Plan], number: int) -> tuple[Key, Plan, int]:
    """Return whose shard has `number` through all plans, its plan, and its number in that plan."""
    shard = number
    for key, plan in plans.items():
        if shard < plan.num_shards:
            return key, plan, shard
        shard -= plan.num_shards
    raise ValueError(f"there are {number - shard} shards, asked for number {number}")


def finish_all(root: Path, plans: Mapping[Key, Plan]) -> list[Path]:
    """Write every index; return the files of the finished sets."""
    files = []
    for plan in plans.values():
        finish(root, plan)
        files += files_below(plan.folder(root))
    return files


def sums(root: Path, plan: Plan) -> dict[str, float]:
    """Sum what a plan's shards cost: the labeler's own numbers and the seconds."""
    total: dict[str, float] = {"seconds": 0.0}
    for number in range(plan.num_shards):
        attempt = read_manifest(plan.folder(root), plan, number)["attempt"]
        for what, amount in {**attempt.get("numbers", {}), "seconds": attempt["seconds"]}.items():
            total[what] = total.get(what, 0) + amount
    return total
