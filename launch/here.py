"""A stage without Ray: in this process, or in each of those that torchrun started."""

import traceback
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from ckd_dist.mistakes import is_for_want_of_room, is_mistake
from ckd_dist.study import Context, Jobs, Stage, Study, Worker, begin_jobs, finish_jobs, resolve, run_stage, with_inputs
from ckd_dist.world import World

from . import show
from .failed import FIRST, failure_of_jobs, first_line, most_in_a_row
from .room import device_of, workers_of
from .waiting import Waiting


def run_here(study: Study, stage: Stage, context: Context) -> None:
    """Run a stage in this process."""
    if study.ledger(context.recipe, context.run).is_done(stage.name):
        return  # on every rank: nobody waits for one that has left
    if stage.runs == "jobs":
        return _do_jobs(study, stage, context)
    if stage.runs == "ranks":
        from ckd_dist.engine.group import join

        join(context.world)  # what Ray Train does for its workers
    elif not context.world.is_leader:
        return
    run_stage(study, stage, context)


def _do_jobs(study: Study, stage: Stage, context: Context) -> None:
    """Give job i to process i mod W; the leader then sweeps what is missing.  A job done twice is harmless.

    A job that fails does not stop the others.  The leader names those that are left when all others are done; another
    process leaves them to the leader, because torchrun ends all where one ends with an error.
    """
    world, alone = context.world, replace(context, world=World())  # jobs wait for no other process
    jobs = resolve(stage.work)
    if world.is_leader:
        alone, missing = begin_jobs(study, stage, alone)
    else:
        alone = with_inputs(study, stage, alone)
        missing = jobs.missing(alone)
    worker = jobs.worker(alone, device_of(workers_of(stage, context))) if missing else None
    mine, tried = missing[world.rank :: world.num_ranks], _Tried(stage.name)
    waiting = Waiting(mine)
    while waiting or (world.is_leader and (waiting := _left_over(jobs, alone, world, tried.failed))):
        if context.callbacks.should_stop():
            return
        tried.do(worker, waiting.take(after_failure=tried.in_a_row > 0))
        context.callbacks.track(min(tried.num_done, len(mine)), len(mine))
    if world.is_leader:
        tried.check(len(missing))
        finish_jobs(stage, alone)


def _left_over(jobs: Jobs, alone: Context, world: World, failed: Collection[int]) -> Waiting:
    """Return whatever the others have not done, by when this process has done its own jobs."""
    if world.num_ranks == 1:
        return Waiting()
    return Waiting(number for number in jobs.missing(alone) if number not in failed)


@dataclass
class _Tried:
    """The jobs that one process has tried: how many are done, and why the others are not."""

    stage: str
    num_done: int = 0
    in_a_row: int = 0  # failures
    failed: dict[int, Exception] = field(default_factory=dict)

    def do(self, worker: Worker, number: int) -> None:
        """Do a job; keep what it raises for the end.  Raise it at once where the next one would fare no better."""
        try:
            worker.do(number)
        except Exception as error:
            self.in_a_row += 1
            if self._is_of_all(error):
                raise
            error.add_note(traceback.format_exc())
            traceback.clear_frames(error.__traceback__)  # they hold what the job worked on, in a GPU's memory too
            self.failed[number] = error
            show.say(show.named(self.stage, f"job {number} failed: {first_line(error)}; the others go on"))
        else:
            self.num_done, self.in_a_row = self.num_done + 1, 0

    def _is_of_all(self, error: Exception) -> bool:
        """Say whether all is at fault: there is no room, or job after job fails."""
        most = most_in_a_row(self.num_done) if is_mistake(error) else FIRST  # the next would meet a fault here too
        return is_for_want_of_room(error) or self.in_a_row >= most

    def check(self, total: int) -> None:
        """Raise where some jobs failed: what one raised where none of the `total` is done, else their numbers."""
        if self.failed and len(self.failed) == total:
            raise self.failed[min(self.failed)]
        if self.failed:
            raise failure_of_jobs(self.failed, total)
