"""One labelling process: `python -m tests.softlabels.worker ROOT PLAN_HASH WORKER NUM_WORKERS SECONDS_PER_SHARD LOG`.

It notes every shard that it asks the teacher for, so that a test can count what was made twice.
"""

import sys
import time
from pathlib import Path

from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import Plan
from tests.softlabels.fakes import teacher


def own_first(num_shards: int, worker: int, num_workers: int) -> list[int]:
    """Every shard: first those of number `worker` modulo `num_workers`, then everyone else's from the far end.

    >>> own_first(6, 1, 2)
    [1, 3, 5, 4, 2, 0]
    """
    own = list(range(worker, num_shards, num_workers))
    return own + [number for number in reversed(range(num_shards)) if number not in own]


def main(root: str, plan_hash: str, worker: str, num_workers: str, seconds: str, log: str) -> None:
    plan = Plan.open(Path(root), plan_hash)
    shard_of = {int(plan.sample_ids_of(number)[0]): number for number in range(plan.num_shards)}

    def slow_teacher(sample_ids):
        with open(log, "a") as file:
            file.write(f"{shard_of[int(sample_ids[0])]}\n")
        time.sleep(float(seconds))
        return teacher(sample_ids)

    generate(plan, Path(root), own_first(plan.num_shards, int(worker), int(num_workers)), slow_teacher)


if __name__ == "__main__":
    main(*sys.argv[1:])
