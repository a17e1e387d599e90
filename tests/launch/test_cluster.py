"""Ranks on a private Ray cluster: a mistake ends the run once, a death is survived, a labeler's death costs a shard.

One cluster for the whole file: starting it takes seconds.
"""

import os
import stat
import time
from contextlib import suppress
from functools import partial

import pytest

from ckd_dist.config import Workers
from ckd_dist.runfolder import RunFolder
from ckd_dist.study import Context
from launch import cluster, jobs, lock, packages, ranks, stacks
from launch.faults import TRIES
from launch.verdict import verdict
from tests.data import ROOT
from tests.launch import work
from tests.launch.work import lines

TWO = Workers(num=2, cpus=1)


@pytest.fixture(scope="module", autouse=True)
def ray_cluster():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two workers want two cores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)  # workers import tests.launch.work
        with cluster.connect({"teacher": TWO}, say=print):
            yield


def train(folder, fault=None, num_steps=8):
    steps = partial(work.steps, str(folder), num_steps, fault)
    context = Context(None, RunFolder(folder))
    said = []
    ranks.train(
        steps, context, ranks.Group("test", TWO, folder / "ray", folder / "STOP", folder / "steps", said.append)
    )
    return but_waiting(said)


def but_waiting(said):
    """What was said, but for lines of a slow machine."""
    return [line for line in said if "has run for" not in line]


def wait_for_cores():
    """Wait until nobody holds one: whoever comes next would find no place."""
    deadline = time.monotonic() + 20
    while (free := jobs.ray.available_resources().get("CPU")) != 2:
        assert time.monotonic() < deadline, f"{free} of 2 cores are free"
        time.sleep(0.2)


def test_ranks_are_two_private_and_as_wide_as_their_cores(tmp_path):
    train(tmp_path, num_steps=4)
    assert lines(tmp_path, "steps") == [f"{step} 2 1 77" for step in (1, 2, 3, 4)]
    assert not list((tmp_path / "ray").glob("test-*"))


@pytest.mark.parametrize(
    "fault, kind, tries",
    [(work.mistake, ValueError, 1), pytest.param(work.bug, RuntimeError, 2, marks=pytest.mark.slow)],
)
def test_a_mistake_is_not_tried_again_and_what_may_be_one_once(tmp_path, fault, kind, tries):
    with pytest.raises(kind) as caught:
        train(tmp_path, fault)
    assert type(caught.value) is kind
    assert len(str(caught.value).splitlines()) == 1
    assert lines(tmp_path, "struck") == ["3"] * tries
    assert len(lines(tmp_path, "starts_1")) == tries
    assert any("work.py" in note for note in caught.value.__notes__)


@pytest.mark.fault
def test_a_machine_s_fault_is_survived_while_steps_are_committed(tmp_path):
    """Three faults, and a commit before each: none is one too many; each is told of in a line."""
    said = train(tmp_path, work.ecc)
    assert lines(tmp_path, "struck") == ["3", "5", "7"] and (tmp_path / "committed").read_text() == "8"
    assert len(said) == 3 and all("uncorrectable ECC error" in line and "trying again" in line for line in said)
    assert all("(1 of 3)" in line for line in said)


@pytest.mark.fault
def test_a_fault_that_stays_ends_the_run_as_one_that_another_start_may_mend(tmp_path):
    with pytest.raises(lock.Failure, match="lost 4 times in a row") as caught:
        train(tmp_path, work.lost)
    assert lines(tmp_path, "struck") == ["3"] * 4 and "GPU is lost" in str(caught.value)
    assert verdict(caught.value)[1] == lock.REQUEUE


@pytest.mark.fault
def test_a_killed_rank_is_survived_from_the_last_commit(tmp_path):
    said = train(tmp_path, work.death)
    assert len(said) == 1 and "trying again" in said[0]
    assert lines(tmp_path, "struck") == ["6"]
    assert len(lines(tmp_path, "starts_0")) == 2
    assert [line.split()[0] for line in lines(tmp_path, "steps")] == list("12345") + list("5678")


@pytest.mark.fault
def test_ranks_that_fail_while_they_meet_meet_again(tmp_path, monkeypatch):
    """A taken port, a rank that dies: neither ends the run, and none keeps the room of those who come next."""
    strikes = ("port", "death", "port")
    monkeypatch.setattr(ranks, "TorchConfig", partial(work.StruckMeeting, folder=str(tmp_path), strikes=strikes))
    said = train(tmp_path, num_steps=2)
    assert lines(tmp_path, "struck") == list(strikes) and (tmp_path / "committed").read_text() == "2"
    assert [line.rpartition("(")[2] for line in said] == ["1 of 3)", "2 of 3)", "3 of 3)"]
    assert "EADDRINUSE" in said[0] and "ActorDiedError" in said[1]


@pytest.mark.fault
def test_ranks_that_never_meet_end_the_run_as_machines_at_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "TorchConfig", partial(work.StruckMeeting, folder=str(tmp_path), strikes=("port",) * 9))
    with pytest.raises(lock.Failure, match=r"could not meet 4 times in a row.*EADDRINUSE") as caught:
        train(tmp_path)
    assert len(lines(tmp_path, "struck")) == 4 and verdict(caught.value)[1] == lock.REQUEUE
    wait_for_cores()


def test_the_flag_stops_all_ranks_at_the_same_step(tmp_path):
    train(tmp_path, work.flag)
    assert (tmp_path / "committed").read_text() == "3"
    (tmp_path / "STOP").unlink()
    train(tmp_path)
    assert (tmp_path / "committed").read_text() == "8"


def label(folder, shards, should_stop=lambda: False, say=print, **options):
    seen = []
    make = partial(work.Labeler, str(folder), **options)
    hands = jobs.Hands(TWO, folder / "ray", say, should_stop)
    jobs.do(make, shards, hands, lambda done, total: seen.append((done, total)))
    return seen


@pytest.mark.fault
def test_a_labeler_that_dies_costs_one_shard(tmp_path):
    seen = label(tmp_path, list(range(8)))
    assert lines(tmp_path, "struck") == ["3"]
    assert sorted(int(line.split()[0]) for line in lines(tmp_path, "shards")) == list(range(8))
    assert seen[-1] == (8, 8)


def test_a_bad_shard_leaves_all_others_done_and_is_named_with_its_cause(tmp_path):
    (tmp_path / "struck").touch()
    with pytest.raises(lock.JobsFailed) as caught:
        label(tmp_path, list(range(12)), refused=(1, 5), unread=(6,))
    assert str(caught.value).startswith("jobs 1, 5 of 12 failed, all others are done; 1: ValueError the teacher is")
    assert sorted(lines(tmp_path, "refused")) == ["1", "5"], "a mistake is not tried again"
    done = [int(line.split()[0]) for line in lines(tmp_path, "shards")]
    assert sorted(done) == [0, 2, 3, 4, *range(6, 12)] and lines(tmp_path, "unread") == ["6"]
    assert done[-1] == 6, "what may be a fault is tried again, after all others"


@pytest.mark.fault
def test_a_shard_that_kills_whoever_takes_it_is_named_when_all_others_are_done(tmp_path):
    (tmp_path / "struck").touch()
    said = []
    with pytest.raises(lock.JobsFailed, match="job 2 of 6 failed, all others are done; 2: ActorDiedError"):
        label(tmp_path, list(range(6)), say=said.append, deadly=(2,))
    assert len(lines(tmp_path, "deaths")) == TRIES == sum("died with job 2" in line for line in said)
    assert sorted(int(line.split()[0]) for line in lines(tmp_path, "shards")) == [0, 1, 3, 4, 5]


@pytest.mark.fault
def test_a_frozen_labeler_is_named_and_given_up_and_its_shard_goes_to_another(tmp_path, monkeypatch):
    (tmp_path / "struck").touch()
    monkeypatch.setattr(stacks, "SILENT_SECONDS", 6.0)
    monkeypatch.setattr(jobs, "FROZEN_SECONDS", 12.0)
    said = []
    seen = label(tmp_path, list(range(6)), say=said.append, freezing=(1,))
    assert seen[-1] == (6, 6) and lines(tmp_path, "frozen") == ["1"]
    assert sorted(int(line.split()[0]) for line in lines(tmp_path, "shards")) == list(range(6))
    said = but_waiting(said)
    assert "has not answered for" in said[0] and "tests/launch/work.py" in said[0]
    assert "is given up" in said[1] and "died with job 1" in said[2] and len(said) == 3


@pytest.mark.fault
@pytest.mark.parametrize("limit, hanging", [("STUCK_SECONDS", (1,)), ("UNKNOWN_SECONDS", (0, 1))])
def test_a_labeler_that_stands_at_one_place_for_long_is_given_up_too(tmp_path, monkeypatch, limit, hanging):
    """Also where all of them do, at their first shard."""
    (tmp_path / "struck").touch()
    monkeypatch.setattr(jobs, limit, 12.0)
    said = []
    seen = label(tmp_path, list(range(6)), say=said.append, hanging=hanging)
    assert seen[-1] == (6, 6) and sorted(lines(tmp_path, "hung")) == [str(job) for job in hanging]
    assert sorted(int(line.split()[0]) for line in lines(tmp_path, "shards")) == list(range(6))
    said = but_waiting(said)
    assert [sum(words in line for line in said) for words in ("is given up", "died with job")] == [len(hanging)] * 2


@pytest.mark.parametrize("refused", [(), (1,)])
def test_when_all_jobs_are_done_no_worker_holds_a_core_not_even_one_that_still_begins(tmp_path, refused):
    """Else ranks of the next stage find no place."""
    (tmp_path / "struck").touch()
    with suppress(lock.JobsFailed):
        label(tmp_path, list(range(4)), only_one=True, refused=refused)
    assert len(lines(tmp_path, "shards")) == 4 - len(refused)
    wait_for_cores()


def test_where_the_first_jobs_all_fail_the_rest_is_not_tried(tmp_path):
    (tmp_path / "struck").touch()
    with pytest.raises(ValueError, match="the teacher is not the one that the index names"):
        label(tmp_path, list(range(40)), refused=range(40))
    assert len(lines(tmp_path, "refused")) <= 6


def test_labelling_stops_between_shards(tmp_path):
    label(tmp_path, [0, 1, 2], should_stop=lambda: (tmp_path / "shards").exists())
    assert 0 < len(lines(tmp_path, "shards")) < 3


def test_the_cluster_s_folder_and_token_are_private():
    token = os.environ["RAY_AUTH_TOKEN_PATH"]
    assert stat.S_IMODE(os.stat(token).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(token)).st_mode) == 0o700


def test_what_ray_s_daemons_say_of_themselves_does_not_reach_the_screen(monkeypatch, capfd):
    """Where a raylet is killed its last lines come by this channel; that the line was handled is seen by its end."""
    worker = cluster.ray._private.worker
    heard, handle = [], worker.print_to_stdstream

    def listen(data, **options):
        handle(data, **options)
        heard.extend(data["lines"])

    monkeypatch.setattr(worker, "print_to_stdstream", listen)
    words = "Raylet is terminated. [state-dump] Event stats"
    gcs_client = worker.global_worker.gcs_client
    cluster.ray._private.utils.publish_error_to_driver("raylet_died", words, gcs_client)
    deadline = time.monotonic() + 20
    while words not in heard:
        assert time.monotonic() < deadline, f"Ray's driver does not listen there any more: {heard}"
        time.sleep(0.05)
    assert "state-dump" not in "".join(capfd.readouterr())


def test_nodes_of_a_job_are_waited_for_and_counted():
    joined, said = iter([1, 1, 3, 4]), []
    cluster.wait_for_nodes(4, lambda: next(joined), said.append)
    assert said == [f"waiting for nodes: {number} of 4 have joined" for number in (1, 3)]


def test_nodes_that_do_not_come_end_the_job_so_that_it_is_queued_again(monkeypatch):
    monkeypatch.setattr(cluster, "MISSING_SECONDS", -1)
    with pytest.raises(lock.Failure, match="1 of the job's 2 nodes joined") as caught:
        cluster.wait_for_nodes(2, lambda: 1, print)
    assert verdict(caught.value)[1] == lock.REQUEUE


def test_a_node_that_does_not_say_which_packages_it_has_ends_the_job_so_that_it_is_queued_again(monkeypatch):
    monkeypatch.setattr(packages, "ASK_SECONDS", 0.0)
    with pytest.raises(lock.Failure, match="no answer within 0 minutes from") as caught:
        packages.check_nodes()
    assert verdict(caught.value)[1] == lock.REQUEUE
