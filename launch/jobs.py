"""Independent jobs: numbers, which a worker takes when it is free.

A worker that dies, freezes or fails costs the job that it had; the job is given to another one.  What cannot be done
after some tries is named at the end, when all others are done.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from ckd_dist.config import Workers
from ckd_dist.mistakes import is_for_want_of_room, is_mistake
from ckd_dist.progress import Track
from ckd_dist.study import no_op

from .elsewhere import FaultyNodes
from .failed import failure_of_jobs, first_line, most_in_a_row
from .faults import TRIES, append, innermost, is_of_its_machine, traceback_kept
from .lock import Failure, faults_file
from .missing import Missing
from .ranks import settle
from .stacks import Kind, Watch, noting_stack
from .waiting import Waiting

FROZEN_SECONDS = 120.0  # without a sign of a worker, after which it is given up
STUCK_SECONDS = 1800.0  # at one and the same place of the code, after which it is given up too
UNKNOWN_SECONDS = 7200.0  # the same as long as no job is done, and nobody knows how long one takes
TIMES = 3  # as long as the longest job so far, at least: an endpoint that is asked may be slow
WORKER = Kind("worker", "job", patience=600.0)


@dataclass(frozen=True)
class Hands:
    """The workers of one stage: how many, where they note where they stand, who is told of faults, when to stop.

    is_late: whether what is under way cannot be waited for, because the machine is about to be taken away.
    """

    workers: Workers
    folder: Path
    say: Callable[[str], None]
    should_stop: Callable[[], bool]
    is_late: Callable[[], bool] = no_op


@ray.remote(max_restarts=0)
class _Actor:
    """One worker with all that its jobs need, e.g. a whole teacher.  Only a job's number travels."""

    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()

    def open(self, make: Callable[[], Any], cpus: float, file: Path) -> None:
        """Make what the jobs need."""
        settle(cpus)
        self._file = file
        with traceback_kept(), noting_stack(file):
            self.worker = make()

    def do(self, number: int) -> None:
        with traceback_kept(), noting_stack(self._file):
            self.worker.do(number)


@dataclass
class _Place:
    """The place of one worker; who sits in it may change."""

    number: int
    actor: Any = None
    node: str | None = None  # None: no node has been found for it yet
    is_open: bool = False
    job: int | None = None
    since: float = 0.0  # when it got the job
    in_a_row: int = 0  # faults of those who sat here, since a job was done here

    @property
    def is_idle(self) -> bool:
        """Say whether who sits here could take a job."""
        return self.is_open and self.job is None


def do(make: Callable[[], Any], jobs: Sequence[int], hands: Hands, track: Track) -> None:
    """Do every job in order: a worker that is free takes the next one.  One that dies costs one job and is replaced.

    A job that fails does not stop the others: it is tried again after them, by a fresh worker, unless it is a mistake.
    Raises JobsFailed, which names those that are left, where all others are done.  Where job after job fails, or no
    worker can begin any more, all is at fault: raises what it raised where that is a mistake, and Failure where not.
    """
    _Jobs(make, jobs, hands, track).do()


class _Jobs:
    """What waits, who works, what failed."""

    def __init__(self, make: Callable[[], Any], jobs: Sequence[int], hands: Hands, track: Track) -> None:
        self._make, self._hands, self._track = make, hands, track
        self._waiting, self._total, self._num_done = Waiting(jobs), len(jobs), 0
        self._places = [_Place(number) for number in range(min(hands.workers.num, self._total))]
        self._working: dict[Any, _Place] = {}  # what is awaited -> by whom it is done
        self._tries: Counter[int] = Counter()
        self._failed: dict[int, BaseException] = {}
        self._failures = 0  # of jobs at their first try, in a row
        self._longest = 0.0  # seconds of a job
        self._nodes = FaultyNodes(hands.workers, self._say)
        heard = partial(getattr, self, "_num_done")
        self._watch = Watch(hands.folder / "stacks", self._say, WORKER, heard)
        self._missing = Missing("worker", self._say)
        faults_file(hands.folder).unlink(missing_ok=True)

    def do(self) -> None:
        """Hand out jobs until all are done, or have failed, or the run is to stop."""
        self._watch.begin()
        self._track(0, self._total)
        try:
            for place in self._places:
                self._start(place)
            while self._working and not self._is_left():
                ready, _ = ray.wait(list(self._working), num_returns=1, timeout=0.5)
                for reference in ready:
                    self._end(reference, self._working.pop(reference))
                self._give_up_frozen()
                self._missing.look(runs=bool(ready) or self._watch.num_seen > 0)
        finally:
            self._let_go()
        if self._failed and not self._hands.should_stop():
            raise failure_of_jobs(self._failed, self._total)

    def _is_left(self) -> bool:
        """Say whether no job is under way and none is to be: workers that begin now would have nothing to do."""
        num_under_way = sum(place.job is not None for place in self._working.values())
        if num_under_way and self._hands.is_late():
            self._say(f"{num_under_way} jobs under way cannot be waited for: they are done again")
            return True
        return not num_under_way and (not self._waiting or self._hands.should_stop())

    def _let_go(self) -> None:
        """End every worker, also one that still begins: the next stage wants its core or GPU."""
        with suppress(RayError):  # a cluster that is lost has none
            for place in self._places:
                if place.actor is not None:
                    ray.kill(place.actor)

    def _say(self, words: str) -> None:
        """Say a fault, and note it for `status`."""
        append(faults_file(self._hands.folder), words)
        self._hands.say(words)

    def _start(self, place: _Place) -> None:
        """Start a worker, and ask where it runs."""
        workers = self._hands.workers
        place.node, place.is_open, place.job = None, False, None
        place.actor = _Actor.options(
            num_cpus=workers.cpus, num_gpus=workers.gpus, label_selector=self._nodes.labels()
        ).remote()
        self._working[place.actor.node.remote()] = place

    def _open(self, place: _Place) -> None:
        """Let a worker make what its jobs need."""
        note = self._hands.folder / "stacks" / f"{place.number}.json"
        self._working[place.actor.open.remote(self._make, self._hands.workers.cpus, note)] = place

    def _hand_out(self, place: _Place) -> None:
        """Give the worker that sits there the next job."""
        place.job = None
        if self._waiting and not self._hands.should_stop():
            place.job, place.since = self._waiting.take(after_failure=self._failures > 0), time.monotonic()
            self._working[place.actor.do.remote(place.job)] = place

    def _end(self, reference: Any, place: _Place) -> None:
        """Take note of how a worker ended what it did, and give it, or another in its place, what comes next."""
        try:
            answer = ray.get(reference)
        except RayTaskError as error:
            cause = innermost(error)
            if is_for_want_of_room(cause):
                raise cause from None
            self._job_failed(place, cause)
            if is_mistake(cause):  # another worker there would meet it, too
                return self._close(place, cause) if place.job is None else self._hand_out(place)
            ray.kill(place.actor)  # a GPU that failed once may fail in this process for ever
            self._replace(place, cause)
        except RayError as error:  # it died, or was killed for want of memory
            self._job_lost(place, error)
            self._replace(place, error)
        else:
            self._went_well(place, answer)

    def _went_well(self, place: _Place, answer: Any) -> None:
        if place.node is None:
            place.node = answer
            return self._open(place)
        if place.job is not None:
            seconds = time.monotonic() - place.since
            self._longest = max(seconds, self._longest)
            self._num_done, self._failures, place.in_a_row = self._num_done + 1, 0, 0
            self._failed.pop(place.job, None)
            self._track(self._num_done, self._total)
        place.is_open = True
        self._hand_out(place)

    def _job_failed(self, place: _Place, cause: BaseException) -> None:
        """Keep a job that raised for the end."""
        if place.job is None:
            if not is_mistake(cause):  # else its place is closed, and that is said
                self._say(f"worker {place.number} could not begin: {first_line(cause)}")
            return
        self._count(place.job, cause)
        again = not is_mistake(cause) and self._tries[place.job] < TRIES
        if again:
            self._waiting.put_last(place.job)
        then = "it is tried again after the others" if again else "the others go on"
        self._say(f"job {place.job} failed: {first_line(cause)}; {then}")

    def _job_lost(self, place: _Place, error: RayError) -> None:
        """Hand out the job of a worker that died again: at once, and where that one dies too, after the others."""
        what = "" if place.job is None else f" with job {place.job}"
        self._say(f"worker {place.number} died{what}: {first_line(error)}; another one takes its place")
        if place.job is None:
            return
        self._count(place.job, error)
        if self._tries[place.job] == 1:
            self._waiting.put_first(place.job)
        elif self._tries[place.job] < TRIES:
            self._waiting.put_last(place.job)

    def _count(self, job: int, error: BaseException) -> None:
        """Count a try of a job.  Raise where job after job fails at its first."""
        self._failed[job] = error
        self._tries[job] += 1
        self._failures += self._tries[job] == 1
        if self._failures >= most_in_a_row(self._num_done) + self._hands.workers.num:
            if is_mistake(error):
                raise error from None
            raise Failure(f"{self._failures} jobs failed one after the other: {first_line(error)}") from error

    def _replace(self, place: _Place, error: BaseException) -> None:
        """Start another worker in a place, if there is work for it that no idle one can take."""
        self._watch.forget(place.number)
        if place.job is None or self._tries[place.job] == 1:  # a job that killed two workers is to blame itself
            place.in_a_row += 1
            if place.node is not None and is_of_its_machine(error):
                self._nodes.failed(place.node)
        was_open, place.is_open, place.job = place.is_open, False, None
        self._wake_idle()
        if place.in_a_row > TRIES and (self._working or not was_open):  # the last one goes on, with other jobs
            return self._close(place, error)
        if self._waiting and not self._hands.should_stop():
            self._start(place)

    def _wake_idle(self) -> None:
        """Give jobs that came back to workers that found none before."""
        for place in self._places:
            if place.is_idle:
                self._hand_out(place)

    def _close(self, place: _Place, error: BaseException) -> None:
        """Go on without a place where workers fail.  Raise where it was the last one: a mistake, or Failure."""
        self._watch.forget(place.number)
        ray.kill(place.actor)
        is_last = not self._working and self._waiting
        if is_last and is_mistake(error):
            raise error from None
        words = f"workers there fail, the last one with: {first_line(error)}"
        if is_last:
            raise Failure(f"no worker is left: {words}")
        self._say(f"worker {place.number} is not replaced: {words}; the others go on")

    def _give_up_frozen(self) -> None:
        """Name workers that stand still, and kill those that give no sign: their jobs go to others."""
        self._watch.look()
        most = max(STUCK_SECONDS, TIMES * self._longest) if self._num_done else UNKNOWN_SECONDS
        for place in list(self._working.values()):
            silent, standing = self._watch.silent_for(place.number), self._watch.standing_for(place.number)
            if silent > FROZEN_SECONDS or standing > most:
                self._say(f"worker {place.number} is given up")
                self._watch.forget(place.number)
                ray.kill(place.actor)
