"""Several plans of one stage as one row of jobs: shards are numbered through all, so a job is one number.

plans: {split: plan}, {(labeler, split): plan} or {embedding: plan}, in a fixed order
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from ckd_dist.files import files_below
from ckd_dist.softlabels.generate import finish, missing
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.shards import read_manifest

Key = TypeVar("Key")


def still_missing(root: Path, plans: Mapping[Key, Plan]) -> list[int]:
    """Write the plans, and return the numbers, through all of them, of the shards that are not published."""
    numbers, start = [], 0
    for plan in plans.values():
        plan.save(root)
        numbers += [start + shard for shard in missing(root, plan)]
        start += plan.num_shards
    return numbers


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
