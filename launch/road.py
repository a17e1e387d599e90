"""From the first stage that is not done to the last: what runs in this process, what on the cluster, and how it ends."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

from ckd_dist import recipes, stages
from ckd_dist.config import Recipe, Workers
from ckd_dist.progress import Tracker, last
from ckd_dist.schema import Run
from ckd_dist.world import World
from launch import guard, show

PLAIN = ("extract", "select", "prompt", "evaluate")  # one process, no Ray
RANKS = {"train_teacher": "teacher", "distill": "student"}  # lock-step; stage -> part of the recipe with its workers


def workers_of(recipe: Recipe, name: str) -> Workers:
    """The workers of a stage that runs on the cluster."""
    return recipe.label.workers if name == "label" else getattr(recipe, RANKS[name]).workers


def travel(recipe: Recipe, run: Run, names: list[str], local: bool = False) -> None:
    """Run the stages in order.  A stage that is done is passed; one that was begun goes on.

    Raises what a stage raises, ValueError where another driver holds the run folder, guard.Stopped after a signal.
    """
    from ckd_dist import pipeline

    os.umask(0o077)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    world = World.from_environment()
    if world.num_ranks > 1 and len(names) > 1:
        raise ValueError("under torchrun run one stage at a time: the stages before training want one process")
    if not world.is_leader:
        return _local(names[0], pipeline, recipe, run, world, guard.stop_flag(run).exists)
    with guard.lock(run), guard.Stop(run, show.say) as stop, contextlib.ExitStack() as cluster:
        recipes.save(recipe, run.recipe)
        todo = [name for name in names if not stages.is_done(recipe, run, name)]
        for name in names:
            if stages.is_done(recipe, run, name):
                show.say(f"{name:<14} done already")
                continue
            with _watched(run, name):
                if local or name in PLAIN:
                    stop.can_save = name not in PLAIN
                    _local(name, pipeline, recipe, run, world, lambda: stop.asked)
                else:
                    from launch import cluster as ray_cluster

                    if not cluster_is_up(cluster):
                        asked = {_field(n): workers_of(recipe, n) for n in todo if n not in PLAIN}
                        cluster.enter_context(ray_cluster.connect(asked))
                    stop.can_save = True
                    _remote(name, pipeline, recipe, run, lambda: stop.asked)
                stop.can_save = False
            if not stages.is_done(recipe, run, name):
                if stop.asked:
                    raise stop.stopped(_where(run, name))
                raise RuntimeError(f"stage {name} ended without its record: {stages.state(recipe, run, name).why}")


def cluster_is_up(cluster: contextlib.ExitStack) -> bool:
    return bool(cluster._exit_callbacks)


def _field(name: str) -> str:
    return "label" if name == "label" else RANKS[name]


def _where(run: Run, name: str) -> str:
    point = last(run.progress(name))
    return f"at step {point.done} of {point.total} of stage {name}" if point else f"in stage {name}"


@contextlib.contextmanager
def _watched(run: Run, name: str) -> Iterator[None]:
    """Show a stage's progress file while it runs, and how long it took."""
    run.progress(name).unlink(missing_ok=True)
    start = time.monotonic()
    with show.watching(name, run.progress(name)):
        yield
    show.finished(name, time.monotonic() - start)


def _remote(name: str, pipeline: ModuleType, recipe: Recipe, run: Run, should_stop: Callable[[], bool]) -> None:
    """A stage on the Ray cluster."""
    from launch import cluster

    workers, track = workers_of(recipe, name), Tracker(run.progress(name))
    if name == "label":
        device = "cuda" if workers.gpus else "cpu"
        shards = pipeline.plan_labels(recipe, run)
        make = partial(pipeline.Labeller, recipe, run, device)
        cluster.label(make, shards, workers=workers, track=track, should_stop=should_stop)
        if not should_stop():
            pipeline.finish_labels(recipe, run)
        return
    work = partial(getattr(pipeline, name), recipe, run, track=track)
    cluster.train(work, name=name, workers=workers, folder=run.root / "ray", stop=guard.stop_flag(run))


def _local(
    name: str, pipeline: ModuleType, recipe: Recipe, run: Run, world: World, should_stop: Callable[[], bool]
) -> None:
    """A stage in this process, and under torchrun in its sisters: no Ray."""
    track = Tracker(run.progress(name))
    if name in PLAIN:
        if world.is_leader:
            getattr(pipeline, name)(recipe, run, track)
        return
    if name == "label":
        return _label_here(pipeline, recipe, run, world, track, should_stop)
    with _process_group(world):
        getattr(pipeline, name)(recipe, run, world, _nobody_waits, should_stop, track)


def _label_here(
    pipeline: ModuleType, recipe: Recipe, run: Run, world: World, track: Tracker, should_stop: Callable[[], bool]
) -> None:
    """Shard i to process i mod W; the leader then sweeps what is missing.  A shard made twice is harmless."""
    labeller = pipeline.Labeller(recipe, run, "cuda" if recipe.label.workers.gpus else "cpu")
    shards = pipeline.plan_labels(recipe, run)
    for i, shard in enumerate(mine := shards[world.rank :: world.num_ranks]):
        if should_stop():
            return
        labeller.label(shard)
        if world.is_leader:
            track(i + 1, len(mine))
    if not world.is_leader:
        return
    for shard in pipeline.plan_labels(recipe, run):
        if should_stop():
            return
        labeller.label(shard)
    pipeline.finish_labels(recipe, run)


def _nobody_waits(checkpoint: object, step: int, numbers: dict[str, float]) -> None:
    """`committed` where no controller keeps notes: what is on disk is all there is."""


@contextlib.contextmanager
def _process_group(world: World) -> Iterator[None]:
    """What Ray Train makes for its workers: gloo or NCCL among torchrun's processes, or a group of one."""
    import datetime

    import torch
    import torch.distributed as dist

    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(world.local_rank)
    limit = datetime.timedelta(seconds=300)
    if world.num_ranks > 1:
        dist.init_process_group(backend, timeout=limit)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=limit)
    try:
        yield
    finally:
        dist.destroy_process_group()
