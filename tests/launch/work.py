"""What the tests of launch/ give to workers: small stand-ins for a stage, importable where the workers are."""

import os
import time
from pathlib import Path

import torch
import torch.distributed as dist


def note(folder: Path, name: str, line: object) -> None:
    """Add a line to a file that the test reads afterwards."""
    with (Path(folder) / name).open("a") as file:
        file.write(f"{line}\n")


def steps(folder, num_steps, fault, context):
    """Count to `num_steps` together, from the last commit on; `fault(world, step)` may strike before a step."""
    world, callbacks = context.world, context.callbacks
    note(folder, f"starts_{world.rank}", os.getpid())
    marker = Path(folder) / "committed"
    first = int(marker.read_text()) if marker.exists() else 0
    for step in range(first + 1, num_steps + 1):
        if fault is not None:
            fault(Path(folder), world, step)
        ranks = torch.ones(1)
        dist.all_reduce(ranks)
        stop = torch.tensor(float(world.is_leader and callbacks.should_stop()))
        dist.all_reduce(stop)
        if world.is_leader:
            note(folder, "steps", f"{step} {int(ranks)} {torch.get_num_threads()} {os.umask(0o077):o}")
        if step % 2 == 0 or stop:
            if world.is_leader:
                marker.write_text(str(step))
            dist.barrier()
            start = time.monotonic()
            callbacks.committed(Path(folder) / f"step_{step}", step, {"loss": 1.0})
            note(folder, "commit_seconds", time.monotonic() - start)
        if stop:
            return


def mistake(folder, world, step):
    """One rank finds something wrong with what the user gave."""
    if world.rank == 1 and step == 3:
        note(folder, "struck", step)
        raise ValueError("labels.yaml has 24 labels, the shards have 25")


def bug(folder, world, step):
    """One rank runs into a fault of the program."""
    if world.rank == 1 and step == 3:
        note(folder, "struck", step)
        torch.ones(2, 3) @ torch.ones(2, 3)


def death(folder, world, step):
    """One rank is killed, once."""
    if world.rank == 1 and step == 6 and not (folder / "struck").exists():
        note(folder, "struck", step)
        os.kill(os.getpid(), 9)


def flag(folder, world, step):
    """Somebody asks the run to stop."""
    if world.is_leader and step == 3:
        (folder / "STOP").touch()


class Labeler:
    """Writes a line for a shard; shard 3 kills its labeler once, shard 5 may be refused."""

    def __init__(self, folder, refuse=False):
        self.folder, self.refuse = Path(folder), refuse

    def do(self, shard):
        if shard == 3 and not (self.folder / "struck").exists():
            note(self.folder, "struck", shard)
            os.kill(os.getpid(), 9)
        if shard == 5 and self.refuse:
            note(self.folder, "refused", shard)
            raise ValueError("the teacher is not the one that the index names")
        note(self.folder, "shards", f"{shard} {os.getpid()}")
