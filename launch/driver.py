"""From the first stage that is not done to the last: what runs in this process, what on the cluster, how it ends."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType

import torch

from ckd_dist import recipes, stages
from ckd_dist.config import Workers
from ckd_dist.engine.jobs import Jobs
from ckd_dist.engine.train import nobody_waits
from ckd_dist.progress import Tracker, last, seconds_in_words
from ckd_dist.schema import Run
from ckd_dist.stages import AnyRecipe
from ckd_dist.world import World
from launch import lock as guard
from launch import show
from launch.plan import plan, words


def workers_of(recipe: AnyRecipe, name: str) -> Workers:
    """The workers of a stage that runs on the cluster."""
    return getattr(recipe, stages.of(recipe)[name].part).workers


def is_alone(recipe: AnyRecipe, name: str) -> bool:
    """One process, which cannot save half of its work."""
    return stages.of(recipe)[name].runs == "alone"


def travel(pipeline: ModuleType, recipe: AnyRecipe, run: Run, names: Sequence[str], local: bool = False) -> None:
    """Run stages of `pipeline` in order.  One that is done is passed; one that was begun goes on.

    Raises what a stage raises, ValueError where another driver holds the run folder, guard.Stopped after a signal.
    """
    os.umask(0o077)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed warns where it has to find that out
    world = World.from_environment()
    if world.num_ranks > 1 and not local:
        raise ValueError("give --local under torchrun: without it Ray starts the workers")
    if world.num_ranks > 1 and len(names) > 1:
        raise ValueError("under torchrun run one stage at a time: the stages before training want one process")
    if not world.is_leader:
        return _here(names[0], pipeline, recipe, run, world, guard.stop_flag(run).exists)
    with guard.lock(run), guard.Stop(run, show.say) as stop, contextlib.ExitStack() as ends:
        recipes.save(recipe, run.recipe)
        connected = False
        for name in names:
            if stages.is_done(recipe, run, name):
                show.say(f"{name:<14} done already")
                continue
            if not local and not is_alone(recipe, name) and not connected:
                connected = ends.enter_context(_cluster(recipe, names))
            with _watched(recipe, run, name):
                stop.can_save = not is_alone(recipe, name)
                if local or is_alone(recipe, name):
                    _here(name, pipeline, recipe, run, world, stop.asked)
                else:
                    _on_cluster(name, pipeline, recipe, run, stop.asked)
                stop.can_save = False
            _check_end(recipe, run, name, stop)


def _cluster(recipe: AnyRecipe, names: Sequence[str]) -> contextlib.AbstractContextManager[bool]:
    from launch import cluster  # importing ray takes seconds

    asked = [name for name in names if not is_alone(recipe, name)]
    return cluster.connect({stages.of(recipe)[name].part: workers_of(recipe, name) for name in asked})


@contextlib.contextmanager
def _watched(recipe: AnyRecipe, run: Run, name: str) -> Iterator[None]:
    """Say how large a stage will be, show its progress while it runs, say how long it took."""
    run.progress(name).unlink(missing_ok=True)
    if not is_alone(recipe, name):
        size = words(next(line for line in plan(recipe, run) if line.name == name))
        show.say(f"{name:<14} {size}")
    start = time.monotonic()
    with show.watching(name, run.progress(name)):
        yield
    show.say(f"{name:<14} {seconds_in_words(time.monotonic() - start)}")


def _check_end(recipe: AnyRecipe, run: Run, name: str, stop: guard.Stop) -> None:
    """A stage that returned has finished, or was asked to stop."""
    state = stages.state(recipe, run, name)
    if state.state == "done":
        return
    if stop.asked():
        point = last(run.progress(name))
        raise stop.stopped(f"after step {point.done} of {point.total} of stage {name}" if point else f"in stage {name}")
    raise RuntimeError(f"stage {name} returned but is not done: {state.why}")


# --- on the cluster --------------------------------------------------------------------------------------------------


def _on_cluster(name: str, pipeline: ModuleType, recipe: AnyRecipe, run: Run, should_stop: Callable[[], bool]) -> None:
    from launch import cluster

    workers, track = workers_of(recipe, name), Tracker(run.progress(name))
    if stages.of(recipe)[name].runs == "ranks":
        work = partial(getattr(pipeline, name), recipe, run, track=track)
        cluster.train(work, name=name, workers=workers, folder=guard.ray_folder(run), stop=guard.stop_flag(run))
        return
    jobs = pipeline.JOBS[name]
    if missing := jobs.missing(recipe, run):
        make = partial(jobs.worker, recipe, run, "cuda" if workers.gpus else "cpu")
        cluster.do(make, missing, workers=workers, track=track, should_stop=should_stop)
    if not should_stop():
        jobs.finish(recipe, run)


# --- without Ray: this process, or the ones that torchrun started ----------------------------------------------------


def _here(
    name: str, pipeline: ModuleType, recipe: AnyRecipe, run: Run, world: World, should_stop: Callable[[], bool]
) -> None:
    track = Tracker(run.progress(name))
    if is_alone(recipe, name):
        if world.is_leader:
            getattr(pipeline, name)(recipe, run, track)
    elif stages.of(recipe)[name].runs == "jobs":
        _jobs_here(pipeline.JOBS[name], name, recipe, run, world, track, should_stop)
    else:
        from ckd_dist.engine.group import join

        join(world)  # what Ray Train does for its workers
        getattr(pipeline, name)(recipe, run, world, nobody_waits, should_stop, track)


def _jobs_here(
    jobs: Jobs,
    name: str,
    recipe: AnyRecipe,
    run: Run,
    world: World,
    track: Tracker,
    should_stop: Callable[[], bool],
) -> None:
    """Job i to process i mod W; the leader then sweeps what is missing.  A job done twice is harmless."""
    missing = jobs.missing(recipe, run)
    worker = jobs.worker(recipe, run, "cuda" if workers_of(recipe, name).gpus else "cpu") if missing else None
    mine = missing[world.rank :: world.num_ranks]
    sweep = (number for _ in (0,) if world.is_leader for number in jobs.missing(recipe, run))
    for numbers in (mine, sweep):
        for done, number in enumerate(numbers, 1):
            if should_stop():
                return
            worker.do(number)
            if world.is_leader:
                track(min(done, len(mine)), len(mine))
    if world.is_leader:
        jobs.finish(recipe, run)
