"""What the tests of launch/ give to workers: small stand-ins for a stage, importable where the workers are."""

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import ray.train
import torch
import torch.distributed as dist
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend


class Meeting(_TorchBackend):
    """Torch's process group, at whose making something strikes rank 1: each of `strikes`, one a start."""

    def on_start(self, worker_group, backend_config):
        worker_group.execute(_strike, backend_config.folder, backend_config.strikes)
        super().on_start(worker_group, backend_config)


@dataclass
class StruckMeeting(TorchConfig):
    folder: str = ""
    strikes: tuple[str, ...] = ()

    @property
    def backend_cls(self):
        return Meeting


def _strike(folder, strikes):
    if ray.train.get_context().get_world_rank() != 1:
        return
    num = len(lines(folder, "struck"))
    if num < len(strikes):
        note(folder, "struck", strikes[num])
        if strikes[num] == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        raise dist.DistNetworkError("The server socket has failed to listen on any local network address: EADDRINUSE")


def note(folder: Path, name: str, line: object) -> None:
    """Add a line to a file that the test reads afterwards."""
    with (Path(folder) / name).open("a") as file:
        file.write(f"{line}\n")


def lines(folder: Path, name: str) -> list[str]:
    """Return the lines that were added to a file."""
    file = Path(folder) / name
    return file.read_text().split("\n")[:-1] if file.exists() else []


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
    """One rank runs into a fault of the program, each time."""
    if world.rank == 1 and step == 3:
        note(folder, "struck", step)
        torch.ones(2, 3) @ torch.ones(2, 3)


def ecc(folder, world, step):
    """A GPU of one rank loses a bit, once in every two steps: as often as that, but steps are committed between."""
    if world.rank == 1 and step in (3, 5, 7) and str(step) not in lines(folder, "struck"):
        note(folder, "struck", step)
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")


def lost(folder, world, step):
    """A GPU of one rank is lost for good."""
    if world.rank == 1 and step == 3:
        note(folder, "struck", step)
        raise RuntimeError("CUDA error: GPU is lost")


def death(folder, world, step):
    """One rank is killed, once."""
    if world.rank == 1 and step == 6 and not (folder / "struck").exists():
        note(folder, "struck", step)
        os.kill(os.getpid(), 9)


def slow(folder, world, step):
    """Every step takes a while."""
    time.sleep(0.1)


def bad_node(folder, world, step):
    """The node of the first rank 1 is broken: whoever runs there raises at step 3, the second one when `joined` is."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    if world.rank == 1 and not lines(folder, "bad"):
        note(folder, "bad", here)
    note(folder, "places", f"{step} {here}")
    if step == 3 and here in lines(folder, "bad"):
        note(folder, "struck", step)
        while len(lines(folder, "struck")) > 1 and not (folder / "joined").exists():
            time.sleep(0.1)
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")


def flag(folder, world, step):
    """Somebody asks the run to stop."""
    if world.is_leader and step == 3:
        (folder / "STOP").touch()


class Labeler:
    """Writes a line for a shard; shard 3 kills its labeler once, `deadly` ones each time, and `freezing` ones stop it
    once, `hanging` ones let it wait for ever, once; those in `refused` are, `unread` ones once.  `only_one` begins, the
    others take for ever to."""

    def __init__(self, folder, refused=(), unread=(), deadly=(), freezing=(), hanging=(), only_one=False):
        self.folder, self.refused, self.unread, self.deadly = Path(folder), refused, unread, deadly
        self.freezing, self.hanging = freezing, hanging
        note(self.folder, "began", os.getpid())
        if only_one and lines(self.folder, "began")[0] != str(os.getpid()):
            time.sleep(10_000)

    def do(self, shard):
        if shard in self.deadly:
            note(self.folder, "deaths", shard)
            os.kill(os.getpid(), 9)
        if shard in self.freezing and str(shard) not in lines(self.folder, "frozen"):
            note(self.folder, "frozen", shard)
            time.sleep(1)  # until it has noted where it stands
            os.kill(os.getpid(), signal.SIGSTOP)
        if shard in self.hanging and str(shard) not in lines(self.folder, "hung"):
            note(self.folder, "hung", shard)
            time.sleep(10_000)
        if shard == 3 and not (self.folder / "struck").exists():
            note(self.folder, "struck", shard)
            os.kill(os.getpid(), 9)
        if shard in self.refused:
            note(self.folder, "refused", shard)
            raise ValueError("the teacher is not the one that the index names")
        if shard in self.unread and str(shard) not in lines(self.folder, "unread"):
            note(self.folder, "unread", shard)
            raise OSError(errno.ESTALE, "Stale file handle")
        note(self.folder, "shards", f"{shard} {os.getpid()}")
