"""Ranks in lock-step: one function on every worker of a Ray Train group, again after a fault."""

import contextlib
import json
import logging
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint, CheckpointConsistencyMode, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks import BackendSetupCallback
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback

from ckd_dist.config import Workers
from ckd_dist.files import write
from ckd_dist.study import Context
from ckd_dist.world import World

from .elsewhere import Elsewhere
from .environment import GROUP_SECONDS
from .faults import Faults, append, cause_of, traceback_kept
from .lock import faults_file, is_raised
from .meeting import Meeting
from .missing import Missing
from .stacks import RANK, Watch, noting_stack

STOP_SECONDS = 60.0  # without a sign of a rank, after which there is none that could still save
GROW_SECONDS = 600.0  # between two looks whether nodes have joined that a smaller group could grow by

Work = Callable[[Context], None]


@dataclass(frozen=True)
class Group:
    """Ranks of one stage: how many, where Ray notes what it must, which files stop them and tell of their steps.

    say: is told of faults.
    """

    name: str
    workers: Workers
    folder: Path
    stop: Path
    progress: Path
    say: Callable[[str], None]


def train(work: Work, context: Context, group: Group) -> None:
    """Run work(context) on every rank, again after a fault, from its last checkpoint on disk.

    `group.folder` takes Ray's own notes, afresh at each call, so that a torn note of an earlier run cannot hinder this
    one.  Where nodes are lost it goes on with fewer ranks, down to `workers.min`, and grows again when they are back.
    Returns when all is done, or the run is to stop.  Raises what a rank raised where running again would raise it
    again, and Failure where faults were too many.
    """
    folder, workers = group.folder, group.workers
    folder.mkdir(parents=True, exist_ok=True)
    (noted := faults_file(folder)).unlink(missing_ok=True)
    watch = Watch(folder / "stacks", group.say, RANK, heard=partial(_size_of, group.progress))
    watch.begin()
    trainer = _Trainer(
        workers,
        noted,
        _rank,
        train_loop_config={"work": work, "context": context, "group": replace(group, say=print)},
        scaling_config=ScalingConfig(
            num_workers=(workers.min, workers.num) if 0 < workers.min < workers.num else workers.num,
            elastic_resize_monitor_interval_s=GROW_SECONDS,
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {}),
        ),
        run_config=RunConfig(
            name=f"{group.name}-{secrets.token_hex(4)}",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=-1, controller_failure_limit=-1),  # Faults or Missing ends it
            callbacks=[Faults(noted)],
        ),
        torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo", timeout_s=GROUP_SECONDS),
    )
    try:
        _aside(trainer.fit, meanwhile=_Looks(_Lines(noted), watch, Missing("rank", group.say), group).look)
    except ray.train.TrainingFailedError as error:
        raise cause_of(error) from None
    finally:
        shutil.rmtree(folder / trainer.run_config.name, ignore_errors=True)


class _Trainer(TorchTrainer):
    """Ray's trainer, whose ranks keep away from faulty nodes and meet again where they failed to.

    It lacks the part that hands out Ray's own datasets: a process more, and an import, at each start.  None of these
    parts has a public switch: pyproject.toml pins Ray's minor version.
    """

    def __init__(self, workers: Workers, noted: Path, *args: Any, **options: Any) -> None:
        """noted: takes a line for every fault of a start."""
        super().__init__(*args, **options)
        self._workers, self._noted = workers, noted

    def _create_default_callbacks(self) -> list[Any]:
        meeting = Meeting(self.backend_config, self._noted)
        kept = (each for each in super()._create_default_callbacks() if not isinstance(each, DatasetsCallback))
        rest = [meeting if isinstance(each, BackendSetupCallback) else each for each in kept]
        return [Elsewhere(self._workers, self._noted), *rest]  # it is told of ranks that start before they meet


def _rank(config: dict[str, Any]) -> None:
    """What every rank runs.  Ray Train has made the process group and exported RANK and the like."""
    group, context, world = config["group"], config["context"], World.from_environment()
    settle(group.workers.cpus)
    callbacks = replace(
        context.callbacks,
        committed=lambda *checkpoint: _committed(world, *checkpoint),
        should_stop=partial(is_raised, group.stop),
    )
    if world.is_leader:
        logging.getLogger("ckd_dist").addHandler(_Noted(faults_file(group.folder)))
    with traceback_kept(), noting_stack(group.folder / "stacks" / f"{world.rank}.json"):
        config["work"](replace(context, world=world, callbacks=callbacks))


class _Noted(logging.Handler):
    """Hands the leader's warnings, such as a damaged checkpoint that is passed over, to the driver's screen."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.WARNING)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        append(self._file, " ".join(record.getMessage().split()))


def settle(cpus: float) -> None:
    """Make a worker's files private, and give it as many threads as it was given cores."""
    import torch

    os.umask(0o077)
    os.environ["OMP_NUM_THREADS"] = str(max(1, int(cpus)))
    torch.set_num_threads(max(1, int(cpus)))


def _committed(world: World, checkpoint: Path, step: int, numbers: dict[str, float]) -> None:
    """Tell Ray of a checkpoint that is whole on disk, and wait until it has written that down.  Called on all ranks.

    Ray keeps a pointer only: weights are large, and a start takes the newest whole checkpoint, known to Ray or not.
    """
    with tempfile.TemporaryDirectory() as folder:
        pointer = None
        if world.is_leader:
            write(Path(folder, "checkpoint.json"), json.dumps({"path": str(checkpoint), "step": step}))
            pointer = Checkpoint.from_directory(folder)
        ray.train.report({"step": step} | {name: float(value) for name, value in numbers.items()}, checkpoint=pointer)
        ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED, timeout_s=60)


@dataclass
class _Lines:
    """Lines that others add to a file."""

    file: Path
    offset: int = 0  # bytes that were read

    def new(self) -> list[str]:
        with contextlib.suppress(OSError):  # not there yet, or a disk that hiccups
            block = self.file.read_bytes()[self.offset :]
            whole = block[: block.rfind(b"\n") + 1]
            self.offset += len(whole)
            return whole.decode().splitlines()
        return []


@dataclass
class _Looks:
    """What the driver does while ranks work: it says what is new."""

    faults: _Lines
    watch: Watch
    missing: Missing
    group: Group

    def look(self) -> bool:
        """Say what is new of faults, who stands still, and that no rank runs.  After a fault other workers start.

        Returns whether to go on: where the run is to stop and no rank has run for long, nobody is left who could save.
        """
        new = self.faults.new()
        for line in new:
            self.group.say(line)
        if new:
            self.watch.begin()
        self.watch.look()
        self.missing.look(runs=self.watch.num_seen > 0)
        return self.missing.seconds < STOP_SECONDS or not is_raised(self.group.stop)


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _aside(call: Callable[[], None], meanwhile: Callable[[], bool]) -> None:
    """Run `call` in a thread: Ray takes Ctrl-C for itself in the main one, where ours must save first.

    Where `meanwhile` raises, or says that it is not to go on, the thread is left to itself: Ray's shutdown ends it.
    """
    future: Future = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        if not meanwhile():
            return
    future.result()
