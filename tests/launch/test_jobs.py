"""Which worker gets which job, and who is given up: by workers that are stand-ins, in one process."""

from functools import partial
from pathlib import Path

import pytest

from ckd_dist.config import Workers
from ckd_dist.endpoints.errors import UnansweredError
from launch import elsewhere, jobs
from launch.faults import TRIES
from launch.lock import Failure, JobsFailed


class Ray:
    """What jobs.py wants of Ray: what was asked first ends first."""

    def wait(self, waiting, num_returns, timeout):
        return waiting[:1], waiting[1:]

    def get(self, reference):
        return reference()

    def kill(self, actor):
        pass

    def nodes(self):
        return []


class Actor:
    """A worker: in a broken place it cannot begin; a deadly job kills it, a bad one is refused, one `loses` its GPU."""

    broken: tuple[int, ...] = ()
    deadly: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()
    loses: tuple[int, ...] = ()
    error: Exception = RuntimeError("CUDA error: GPU is lost")
    death = jobs.RayError("the worker was killed: not enough memory")

    @classmethod
    def options(cls, **_):
        return cls

    @classmethod
    def remote(cls):
        actor = cls()
        actor.node, actor.open, actor.do = Call(lambda: "node-a"), Call(actor._open), Call(actor._do)
        return actor

    def _open(self, make, cpus, file: Path):
        if int(file.stem) in self.broken:
            raise jobs.RayTaskError("open", "", self.error)
        self.worker, self.place = make(), int(file.stem)

    def _do(self, number):
        if number in self.bad:
            raise jobs.RayTaskError("do", "", ValueError(f"job {number} is bad"))
        if number in self.loses and self.place not in self.broken:
            type(self).broken, type(self).loses = (*self.broken, self.place), ()
            raise jobs.RayTaskError("do", "", self.error)
        if number in self.deadly:
            raise self.death
        self.worker(number)


class Call:
    def __init__(self, function):
        self.function = function

    def remote(self, *arguments):
        return partial(self.function, *arguments)


@pytest.fixture
def label(tmp_path, monkeypatch):
    """Do twelve jobs by three workers; return what was done, and what was said."""
    for module in (jobs, elsewhere):
        monkeypatch.setattr(module, "ray", Ray())
    monkeypatch.setattr(jobs, "_Actor", Actor)

    def run(num=3, total=12, should_stop=lambda done: False, is_late=lambda done: False, **struck):
        for what in ("broken", "deadly", "bad", "loses"):
            monkeypatch.setattr(Actor, what, struck.get(what, ()))
        done, said = [], []
        hands = jobs.Hands(Workers(num=num), tmp_path, said.append, lambda: should_stop(done), lambda: is_late(done))
        try:
            jobs.do(lambda: done.append, list(range(total)), hands, lambda *_: None)
        except JobsFailed as error:
            said.append(error)
        return done, said

    return run


def test_a_place_where_no_worker_can_begin_is_closed_and_the_others_do_all(label):
    done, said = label(broken=(1,))
    assert sorted(done) == list(range(12))
    tries = TRIES + 1
    assert [line for line in said if "could not begin" in line] == [
        "worker 1 could not begin: RuntimeError CUDA error: GPU is lost"
    ] * tries
    assert "worker 1 is not replaced:" in said[-1] and "the others go on" in said[-1]


def test_where_no_worker_can_begin_it_is_a_fault_of_machines(label):
    with pytest.raises(Failure, match="GPU is lost"):
        label(broken=(0, 1, 2))


def test_a_server_that_is_away_ends_the_stage_as_a_fault_and_no_node_is_blamed(label, monkeypatch):
    """Were it blamed, workers would be kept from a healthy node for a day."""
    blamed = []
    monkeypatch.setattr(elsewhere.FaultyNodes, "failed", lambda self, node: blamed.append(node))
    monkeypatch.setattr(Actor, "error", UnansweredError("http://127.0.0.1:8000/v1 cannot be reached: start the server"))
    with pytest.raises(Failure, match="start the server"):
        label(broken=(0, 1, 2))
    assert not blamed
    monkeypatch.setattr(Actor, "error", RuntimeError("CUDA error: GPU is lost"))
    label(broken=(1,))
    assert set(blamed) == {"node-a"}


def test_a_place_that_lacks_something_is_closed_at_once_and_where_all_do_it_is_a_mistake(label, monkeypatch):
    """As a mount that is missing on one node, or everywhere."""
    monkeypatch.setattr(Actor, "error", FileNotFoundError("/shared/base"))
    done, said = label(broken=(0, 2))
    assert sorted(done) == list(range(12))
    assert sorted(line[:24] for line in said) == [f"worker {number} is not replaced" for number in (0, 2)]
    with pytest.raises(FileNotFoundError, match="/shared/base"):
        label(broken=(0, 1, 2))


def test_nobody_is_started_again_once_the_run_is_to_stop(label):
    done, said = label(broken=(1,), should_stop=lambda done: len(done) >= 2)
    assert len(done) < 12
    assert sum("could not begin" in line for line in said) <= TRIES


def test_places_that_cannot_begin_do_not_end_those_that_take_long_to(label):
    """Eight places of eleven fail again and again, many times in a row."""
    done, said = label(broken=range(8), num=11)
    assert sorted(done) == list(range(12))
    assert sum("could not begin" in line for line in said) >= 8 * TRIES


@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize("deadly", [(2,), (2, 3), (2, 3, 4, 5), (0, 1), (10, 11)])
def test_jobs_that_kill_whoever_takes_them_are_named_and_all_others_done(label, num, deadly):
    done, said = label(deadly=deadly, num=num)
    assert sorted(done) == sorted(set(range(12)) - set(deadly))
    assert " ".join(["jobs" if len(deadly) > 1 else "job", ", ".join(map(str, deadly)), "of 12"]) in str(said[-1])
    for job in deadly:
        assert sum(f"died with job {job}:" in str(line) for line in said) == TRIES


def test_where_job_after_job_kills_its_worker_the_rest_is_not_tried(label):
    with pytest.raises(Failure, match="4 jobs failed one after the other: RayError the worker was killed"):
        label(deadly=range(12), num=1)


def test_a_run_that_is_to_stop_waits_for_no_worker_that_begins(label):
    done, said = label(should_stop=lambda done: True)
    assert (done, said) == ([], [])


@pytest.mark.parametrize("num", [1, 2, 3])
def test_what_failed_in_an_earlier_start_comes_first_and_does_not_hold_back_the_rest(label, num):
    bad = range(9)
    done, said = label(num=num, total=30, bad=bad)
    assert sorted(done) == list(range(9, 30))
    assert str(said[-1]).startswith("jobs 0, 1, 2, 3, 4, 5, 6, 7, 8 of 30 failed, all others are done")


def test_a_job_that_lost_its_gpu_goes_to_a_worker_that_is_idle_not_to_that_gpu_again(label):
    done, said = label(num=2, total=3, loses=(2,))
    assert sorted(done) == [0, 1, 2]
    assert not any("no worker is left" in str(line) for line in said)


def test_where_time_is_up_what_is_under_way_is_not_waited_for(label):
    done, said = label(should_stop=lambda done: len(done) >= 2, is_late=lambda done: len(done) >= 2)
    assert 2 <= len(done) <= 4
    assert said[-1].endswith("under way cannot be waited for: they are done again")
