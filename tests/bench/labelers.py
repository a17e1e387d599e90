"""Is every shard labelled once, and how long do labelers idle, where they are many, uneven, and some of them die?

    python -m tests.bench.labelers [--shards 2000] [--labelers 64] [--seconds 10]

Real Ray actors under the product's own hand-out; a shard is a sleep, so what remains is what handing out costs.  Every
fiftieth shard kills its labeler in the middle, once, and one labeler may be four times as slow as another.  From the
moment at which all have begun until the last shard is handed out, a labeler labels, or waits for its next shard, or is
dead and not replaced yet, which is the machine's pace of starting processes.  Needs some 150 MB a labeler.
"""

import argparse
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from ckd_dist.config import Workers
from launch import cluster, jobs

DIES = 50  # every so manieth shard kills its labeler


@dataclass(frozen=True)
class Labeler:
    """Sleeps for a shard, and notes in a file of its own process when it began and when it ended."""

    folder: Path
    seconds: float  # that a shard takes, over all labelers

    def do(self, number: int) -> None:
        start, struck = time.time(), self.folder / f"{number}.struck"
        dies = number % DIES == DIES - 1 and not struck.exists()
        pace = random.Random(os.getpid()).uniform(0.4, 1.6)
        time.sleep(self.seconds * pace * (0.5 if dies else 1))
        with (self.folder / f"{os.getpid()}.notes").open("a") as notes:
            notes.write(f"{start} {time.time()} {number} {'died' if dies else 'done'}\n")
        if dies:
            struck.touch()
            os.kill(os.getpid(), 9)


@dataclass(frozen=True)
class Try:
    """One labeler's one try at a shard."""

    start: float
    end: float
    number: int
    done: bool


def tries_of(folder: Path) -> list[list[Try]]:
    """Read what every process has noted, in order."""
    lines = [[line.split() for line in file.read_text().splitlines()] for file in sorted(folder.glob("*.notes"))]
    return [[Try(float(s), float(e), int(n), how == "done") for s, e, n, how in each] for each in lines]


def report(tries: list[list[Try]], num_shards: int, num_labelers: int) -> str:
    """Say what was lost or done twice, and what share of the labelers' time went by without labelling."""
    all_tries = [each for own in tries for each in own]
    done = Counter(each.number for each in all_tries if each.done)
    deaths = sum(not each.done for each in all_tries)
    starts = sorted(each.start for each in all_tries)
    since, until = starts[num_labelers - 1], starts[-1]  # all have begun; the last shard is handed out

    def within(start: float, end: float) -> float:
        return max(0.0, min(end, until) - max(start, since))

    labelling = sum(within(each.start, each.end) for each in all_tries)
    waiting = sum(within(a.end, b.start) for own in tries for a, b in pairwise(own))
    room = num_labelers * (until - since)
    lost = num_shards - len(done)
    doubled = sum(count - 1 for count in done.values())
    return "\n".join(
        [
            f"{num_shards} shards by {num_labelers} labelers, {deaths} deaths: lost {lost}, done twice {doubled}",
            f"  {until - since:.0f} s from the last labeler's start to the last hand-out",
            f"  waiting for a shard              {waiting / room:6.2%} of the labelers' time",
            f"  dead and not replaced yet        {(room - labelling - waiting) / room:6.2%}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--labelers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0, help="that a shard takes on average")
    args = parser.parse_args()
    workers = Workers(num=args.labelers, cpus=0.01)
    with tempfile.TemporaryDirectory() as folder, cluster.connect({"label": workers}, say=print):
        make, numbers = partial(Labeler, Path(folder), args.seconds), list(range(args.shards))
        hands = jobs.Hands(workers, Path(folder) / "ray", print, lambda: False)
        jobs.do(make, numbers, hands, lambda *_, **__: None)
        print(report(tries_of(Path(folder)), args.shards, args.labelers))


if __name__ == "__main__":
    main()
