"""Ray, and nothing but Ray: connect, run ranks in lock-step, hand jobs to independent workers.

What runs on the workers is a callable that knows nothing of Ray; what comes back is nothing: stages write files.  Times
and limits below were measured; none of them changes a result.
"""

import contextlib
import json
import math
import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

GROUP_SECONDS = 300  # a collective that takes longer has lost a rank
JOIN_SECONDS = 60  # for the nodes of a cluster that somebody else started
DEATHS = 3  # workers that may die before the stage gives up

ENVIRONMENT = {  # Ray reads some of it when it is imported, so it stands before that; workers inherit it
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # reports are committed at this pace
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": str(GROUP_SECONDS),
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "5",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
os.environ |= {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()}
os.environ.pop("RAY_TRAIN_CALLBACKS", None)  # names classes to import
if not os.environ.get("RAY_ADDRESS"):
    os.environ["RAY_AUTH_MODE"] = "token"

import ray  # noqa: E402
import ray.train  # noqa: E402
from ray.exceptions import RayActorError, RayError, RayTaskError  # noqa: E402
from ray.train import (  # noqa: E402
    Checkpoint,
    CheckpointConsistencyMode,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    UserCallback,
)
from ray.train.torch import TorchConfig, TorchTrainer  # noqa: E402

from ckd_dist.config import Workers  # noqa: E402
from ckd_dist.files import write  # noqa: E402
from ckd_dist.progress import Track  # noqa: E402
from ckd_dist.study import Context  # noqa: E402
from ckd_dist.world import World  # noqa: E402

from .lock import Failure  # noqa: E402

_TOKEN = secrets.token_hex(32)  # of all private clusters of this process: Ray reads it once and keeps it

Work = Callable[[Context], None]


# --- connect ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def connect(asked: dict[str, Workers]) -> Iterator[bool]:
    """Connect to a Ray cluster for these workers: the one that RAY_ADDRESS names, else a private one on this machine.

    Raises ValueError where it cannot hold them: waiting would never end.
    """
    os.umask(0o077)
    if os.environ.get("RAY_ADDRESS"):
        with _existing(asked):
            yield True
    else:
        with _private(asked):
            yield True


@contextlib.contextmanager
def _existing(asked: dict[str, Workers]) -> Iterator[None]:
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise ValueError(
            f"the Ray cluster at {os.environ['RAY_ADDRESS']} may be open to everybody: start it and this command with "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE"
        )
    try:
        _until(lambda: ray.init(log_to_driver=False, logging_level="ERROR"), ConnectionError)
        _until(lambda: check_room(asked, _nodes(), f"the Ray cluster at {os.environ['RAY_ADDRESS']}"), ValueError)
        yield
    except ConnectionError as error:
        raise ValueError(f"no Ray cluster answers at {os.environ['RAY_ADDRESS']}: {_first_line(error)}") from None
    finally:
        ray.shutdown()


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _until(call: Callable[[], Any], refusal: type[Exception]) -> None:
    """Call again while it raises `refusal`: nodes of a young cluster join one by one."""
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        try:
            call()
            return
        except refusal:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


@contextlib.contextmanager
def _private(asked: dict[str, Workers]) -> Iterator[None]:
    """Exactly the CPUs and GPUs that the largest stage needs; token, sockets and logs in a private short folder."""
    here = {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(_num_gpus())}
    check_room(asked, [here], "this machine")
    folder = Path(tempfile.mkdtemp(prefix="ckd-", dir=None if len(tempfile.gettempdir()) < 30 else "/tmp"))
    token = folder / "token"
    write(token, _TOKEN)
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    python_path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(place) for place in sys.path)  # a study may lie anywhere
    try:
        ray.init(
            address="local",
            num_cpus=math.ceil(max(w.num * w.cpus for w in asked.values())),
            num_gpus=math.ceil(max(w.num * w.gpus for w in asked.values())),
            object_store_memory=100 * 2**20,  # nothing but names and numbers passes through it
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=str(folder / "ray"),  # Ray opens its own folders to all: only the one above is private
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop("PYTHONPATH")
        os.environ |= {} if python_path is None else {"PYTHONPATH": python_path}


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def check_room(asked: dict[str, Workers], nodes: Sequence[dict[str, float]], where: str) -> None:
    """Raise ValueError where the nodes (each {"CPU": n, "GPU": n}) cannot hold the workers of a stage at once."""
    num_cpus, num_gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    there = f"{where} has {num_cpus:g} CPU cores and {num_gpus:g} GPUs on {len(nodes)} node(s)"
    for part, workers in asked.items():
        fits = sum(_fits(workers, node) for node in nodes)
        each = f"{workers.cpus:g} CPU and {workers.gpus:g} GPU"
        if fits == 0:
            raise ValueError(
                f"{there}, one worker of {part} needs {each}: lower {part}.workers.cpus or {part}.workers.gpus"
            )
        if fits < workers.num:
            asks = f"{part} asks for {workers.num} workers of {each}"
            raise ValueError(f"{there}, {asks}: give {part}.workers.num={fits}")


def _fits(workers: Workers, node: dict[str, float]) -> int:
    """How many of the workers one node holds."""
    room = node.get("CPU", 0) / workers.cpus
    return int(min(room, node.get("GPU", 0) / workers.gpus) if workers.gpus else room)


# --- ranks in lock-step ----------------------------------------------------------------------------------------------


def train(work: Work, context: Context, *, name: str, workers: Workers, folder: Path, stop: Path) -> None:
    """Run work(context) on every rank, again after a fault, from its last checkpoint on disk.

    `folder` takes Ray's own notes, afresh at each call, so that a torn note of an earlier run cannot hinder this one.
    Raises what a rank raised where running again would raise it again, and Failure where faults were too many.
    """
    trainer = TorchTrainer(
        _rank,
        train_loop_config={"work": work, "context": context, "cpus": workers.cpus, "stop": str(stop)},
        scaling_config=ScalingConfig(
            num_workers=workers.num,
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {}),
        ),
        run_config=RunConfig(
            name=f"{name}-{secrets.token_hex(4)}",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=DEATHS, controller_failure_limit=DEATHS),
            callbacks=[StopAtMistake()],
        ),
        torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo", timeout_s=GROUP_SECONDS),
    )
    try:
        _aside(trainer.fit)
    except ray.train.TrainingFailedError as error:
        raise cause_of(error) from None
    finally:
        shutil.rmtree(folder / trainer.run_config.name, ignore_errors=True)


def _rank(config: dict[str, Any]) -> None:
    """What every rank runs.  Ray Train has made the process group and exported RANK and the like."""
    _settle(config["cpus"])
    world, context = World.from_environment(), config["context"]
    callbacks = replace(
        context.callbacks,
        committed=lambda *checkpoint: _committed(world, *checkpoint),
        should_stop=Path(config["stop"]).exists,
    )
    with _traceback_kept():
        config["work"](replace(context, world=world, callbacks=callbacks))


@contextlib.contextmanager
def _traceback_kept() -> Iterator[None]:
    """Note an exception's traceback on it: it would not travel."""
    try:
        yield
    except Exception as error:
        error.add_note(traceback.format_exc())
        raise


def _settle(cpus: float) -> None:
    """Private files, and as many threads as the worker was given cores."""
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


# --- faults and mistakes ---------------------------------------------------------------------------------------------

# What torch says on the ranks that are left when another one died: running again may help.
LOST_PEER = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|timed? ?out|socket|peer|TCPStore|broken pipe", re.I
)


class StopAtMistake(UserCallback):
    """Runs in Ray's controller: an exception that would come again ends the run now, not `max_failures` times later."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for error in worker_exceptions.values():
            if not is_fault(error):
                raise innermost(error)


def is_fault(error: BaseException) -> bool:
    """Say whether another try may succeed: a worker died or lost its peers.

    >>> is_fault(ValueError("no such label")), is_fault(RuntimeError("gloo: Connection closed by peer"))
    (False, True)
    """
    error = innermost(error)
    if isinstance(error, RayError) or type(error).__module__.startswith(("ray.", "torch.distributed")):
        return True
    return isinstance(error, RuntimeError) and bool(LOST_PEER.search(str(error)))


def innermost(error: BaseException) -> BaseException:
    """Return what the worker raised, without Ray's wrapping."""
    for attribute in ("controller_failure", "cause"):
        inner = getattr(error, attribute, None)
        if isinstance(inner, BaseException) and inner is not error:
            return innermost(inner)
    return error


def cause_of(error: ray.train.TrainingFailedError) -> BaseException:
    """Return the exception to raise in the driver for a training that failed."""
    inner = innermost(error)
    if not is_fault(inner):
        return inner
    failures = {rank: innermost(e) for rank, e in getattr(inner, "worker_failures", {}).items()}
    words = "; ".join(f"rank {rank}: {_first_line(e)}" for rank, e in sorted(failures.items())) or _first_line(inner)
    return Failure(f"workers were lost {DEATHS + 1} times, the last time with: {words}")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__} {str(error).strip().splitlines()[0] if str(error).strip() else ''}".strip()


def _aside(call: Callable[[], Any]) -> Any:
    """Run `call` in a thread: Ray takes Ctrl-C for itself in the main one, where ours must save first."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(0.2):
            pass
        return future.result()


# --- independent jobs ------------------------------------------------------------------------------------------------


@ray.remote(max_restarts=0)
class _Actor:
    """One worker with all that its jobs need, e.g. a whole teacher.  Only a job's number travels."""

    def open(self, make: Callable[[], Any], cpus: float) -> None:
        _settle(cpus)
        with _traceback_kept():
            self.worker = make()

    def do(self, number: int) -> None:
        with _traceback_kept():
            self.worker.do(number)


def do(
    make: Callable[[], Any], numbers: list[int], *, workers: Workers, track: Track, should_stop: Callable[[], bool]
) -> None:
    """Do every job in order: a worker that is free takes the next one.  One that dies costs one job and is replaced.

    Raises what a worker raised, and Failure where too many died.
    """
    waiting, total, deaths = list(reversed(numbers)), len(numbers), 0
    work: dict[Any, tuple[Any, int | None]] = {}  # what is awaited -> its actor and job; None: still opening

    def start_worker() -> None:
        actor = _Actor.options(num_cpus=workers.cpus, num_gpus=workers.gpus).remote()
        work[actor.open.remote(make, workers.cpus)] = actor, None

    track(0, total)
    for _ in range(min(workers.num, total)):
        start_worker()
    done = 0
    while done < total and work:
        ready, _ = ray.wait(list(work), num_returns=1, timeout=0.5)
        for reference in ready:
            actor, number = work.pop(reference)
            try:
                ray.get(reference)
            except RayTaskError as error:
                raise innermost(error) from None
            except RayActorError as error:
                deaths += 1
                if deaths > DEATHS:
                    raise Failure(f"{deaths} workers died, the last one with: {_first_line(error)}") from None
                waiting += [] if number is None else [number]
                start_worker()
                continue
            if number is not None:
                done += 1
                track(done, total)
            if waiting and not should_stop():
                number = waiting.pop()
                work[actor.do.remote(number)] = actor, number
