"""From the first stage that is not done to the last: what runs in this process, what on the cluster, how it ends."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from ckd_dist import record
from ckd_dist.config import Workers
from ckd_dist.files import sweep
from ckd_dist.progress import Tracker, last, seconds_in_words
from ckd_dist.recipefile import save
from ckd_dist.study import (
    Callbacks,
    Context,
    Stage,
    Study,
    begin_jobs,
    finish_jobs,
    resolve,
    run_stage,
)
from ckd_dist.world import World

from . import lock, show
from .here import run_here
from .room import check_room, device_of, this_machine, workers_of


@dataclass(frozen=True)
class Line:
    """One stage of a plan."""

    name: str
    state: str  # done, stale, missing
    why: str
    size: str  # in words; empty where nothing is known yet


def plan(study: Study, context: Context) -> list[Line]:
    """Return every stage, its state, and how large what is left of it will be."""
    states = study.ledger(context.recipe, context.run).status()
    return [Line(s.name, s.state, s.why, size_of(study.stages[s.name], context)) for s in states]


def size_of(stage: Stage, context: Context) -> str:
    """Say how large a stage will be; empty where nothing is known."""
    return str(resolve(stage.size)(context.recipe, context.run)) if stage.size else ""


def run_stages(study: Study, context: Context, names: Sequence[str], local: bool = False) -> None:
    """Run stages in order.  One that is done is passed; one that was begun goes on.

    Raises what a stage raises, ValueError where another driver holds the run folder, lock.Stopped after a signal.
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
    context, stages = replace(context, world=world), [study.stages[name] for name in names]
    check_recipe(study, context, names)
    if not local and not os.environ.get("RAY_ADDRESS"):  # before anything is written, the recipe too
        check_room(_waiting(study, stages, context), [this_machine()], "this machine")
    if not world.is_leader:
        lock.leave_signals_to_the_leader()
        callbacks = Callbacks(should_stop=partial(lock.is_raised, lock.stop_flag(context.run)))
        context = replace(context, callbacks=callbacks)
        return run_here(study, stages[0], context)
    with lock.hold(context.run), lock.Stop(context.run, show.say) as stop, contextlib.ExitStack() as ends:
        sweep(context.run.root)  # of killed runs: the lock says that nobody else writes here
        save(context.recipe, context.run.recipe)
        connected = False
        for stage in stages:
            state = study.ledger(context.recipe, context.run).state(stage.name)
            if state.state == "done":
                why = "done already" if stage.needed(context.recipe) else state.why
                show.say(show.named(stage.name, why))
                continue
            here = local or stage.runs == "alone"
            study.ledger(context.recipe, context.run).check_inputs(stage.name)
            if not here and not connected:
                connected = ends.enter_context(_cluster(study, stages, context, stop.listen))
            track = Tracker(context.run.progress(stage.name))
            watched = replace(context, callbacks=Callbacks(should_stop=stop.asked, track=track))
            with _watched(stage, context):
                stop.can_save = stage.runs != "alone"
                run_here(study, stage, watched) if here else _on_cluster(study, stage, watched, stop)
                stop.can_save = False
            _check_end(study, stage, context, stop)
            if stop.asked() and stage is not stages[-1]:  # it came when nothing was left to save
                raise stop.stopped(f"after stage {stage.name}")


def check_recipe(study: Study, context: Context, names: Sequence[str]) -> None:
    """Raise ValueError where the study says that its recipe cannot be run, before anything is written."""
    ledger = study.ledger(context.recipe, context.run)
    if study.check and not all(ledger.is_done(name) for name in names):
        resolve(study.check)(context.recipe, context.run)


def _cluster(
    study: Study, stages: Sequence[Stage], context: Context, listen: Callable[[], None]
) -> contextlib.AbstractContextManager[bool]:
    """Connect to a cluster with room for the stages that are still to run on it.  listen: handles signals again."""
    from . import cluster  # importing ray takes seconds

    return cluster.connect(_waiting(study, stages, context), show.say, listen)


def _waiting(study: Study, stages: Sequence[Stage], context: Context) -> dict[str, Workers]:
    """Return the workers of the stages that are still to run on a cluster, by part of the recipe."""
    ledger = study.ledger(context.recipe, context.run)
    waiting = [stage for stage in stages if stage.runs != "alone" and not ledger.is_done(stage.name)]
    return {stage.part: workers_of(stage, context) for stage in waiting}


@contextlib.contextmanager
def _watched(stage: Stage, context: Context) -> Iterator[None]:
    """Say how large a stage will be, show its progress while it runs, say how long it took and what it lost."""
    progress = context.run.progress(stage.name)
    progress.unlink(missing_ok=True)
    if stage.runs != "alone":
        show.say(show.named(stage.name, size_of(stage, context)))
    start = time.monotonic()
    with show.watching(stage.name, progress):
        yield
    written = record.read(context.run, stage.name)
    said = f"; {written.said}" if written and written.said else ""
    show.say(show.named(stage.name, f"{seconds_in_words(time.monotonic() - start)}{said}"))


def _check_end(study: Study, stage: Stage, context: Context, stop: lock.Stop) -> None:
    """Raise unless the stage that returned has finished: it was asked to stop, or is at fault."""
    state = study.ledger(context.recipe, context.run).state(stage.name)
    if state.state == "done":
        return
    if stop.asked():
        point = last(context.run.progress(stage.name))
        where = f"after step {point.done} of {point.total} of stage {stage.name}" if point else f"in stage {stage.name}"
        raise stop.stopped(where)
    raise RuntimeError(f"stage {stage.name} returned but is not done: {state.why}")


# --- on the cluster --------------------------------------------------------------------------------------------------


def _on_cluster(study: Study, stage: Stage, context: Context, stop: lock.Stop) -> None:
    from . import cluster, jobs, ranks

    run, callbacks, folder = context.run, context.callbacks, lock.ray_folder(context.run)

    def say(words: str) -> None:
        show.say(show.named(stage.name, words))

    workers = cluster.filled_now(workers_of(stage, context), say)
    if stage.runs == "ranks":
        work = partial(run_stage, study, stage)
        on_ranks = replace(context, callbacks=Callbacks(track=callbacks.track))
        group = ranks.Group(stage.name, workers, folder, lock.stop_flag(run), run.progress(stage.name), say)
        return ranks.train(work, on_ranks, group)
    context, missing = begin_jobs(study, stage, context)
    if missing:
        make = partial(resolve(stage.work).worker, replace(context, callbacks=Callbacks()), device_of(workers))
        jobs.do(make, missing, jobs.Hands(workers, folder, say, stop.asked, stop.is_late), callbacks.track)
    if not stop.asked():
        finish_jobs(stage, context)
