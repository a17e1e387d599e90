"""Ranks on a private Ray cluster: a mistake ends the run once, a death is survived, a labeler's death costs a shard.

One cluster for the whole file: starting it takes seconds.
"""

import os
import stat
from functools import partial

import pytest

from ckd_dist.config import Workers
from ckd_dist.runfolder import RunFolder
from ckd_dist.study import Context
from launch import cluster
from tests.data import ROOT
from tests.launch import work

TWO = Workers(num=2, cpus=1)


@pytest.fixture(scope="module", autouse=True)
def ray_cluster():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two workers want two cores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)  # workers import tests.launch.work
        with cluster.connect({"teacher": TWO}):
            yield


def train(folder, fault=None, num_steps=8):
    steps = partial(work.steps, str(folder), num_steps, fault)
    context = Context(None, RunFolder(folder))
    cluster.train(steps, context, name="test", workers=TWO, folder=folder / "ray", stop=folder / "STOP")


def lines(folder, name):
    file = folder / name
    return file.read_text().split("\n")[:-1] if file.exists() else []


def test_ranks_are_two_private_and_as_wide_as_their_cores(tmp_path):
    train(tmp_path, num_steps=4)
    assert lines(tmp_path, "steps") == [f"{step} 2 1 77" for step in (1, 2, 3, 4)]
    assert not list((tmp_path / "ray").iterdir())


@pytest.mark.parametrize(
    "fault, kind", [(work.mistake, ValueError), pytest.param(work.bug, RuntimeError, marks=pytest.mark.slow)]
)
def test_what_would_happen_again_is_not_tried_again(tmp_path, fault, kind):
    with pytest.raises(kind) as caught:
        train(tmp_path, fault)
    assert type(caught.value) is kind
    assert len(str(caught.value).splitlines()) == 1
    assert lines(tmp_path, "struck") == ["3"]
    assert len(lines(tmp_path, "starts_1")) == 1
    assert any("work.py" in note for note in caught.value.__notes__)


@pytest.mark.fault
def test_a_killed_rank_is_survived_from_the_last_commit(tmp_path):
    train(tmp_path, work.death)
    assert lines(tmp_path, "struck") == ["6"]
    assert len(lines(tmp_path, "starts_0")) == 2
    assert [line.split()[0] for line in lines(tmp_path, "steps")] == list("12345") + list("5678")


def test_the_flag_stops_all_ranks_at_the_same_step(tmp_path):
    train(tmp_path, work.flag)
    assert (tmp_path / "committed").read_text() == "3"
    (tmp_path / "STOP").unlink()
    train(tmp_path)
    assert (tmp_path / "committed").read_text() == "8"


def label(folder, shards, should_stop=lambda: False, **options):
    seen = []
    make = partial(work.Labeler, str(folder), **options)
    cluster.do(make, shards, workers=TWO, track=lambda done, total: seen.append((done, total)), should_stop=should_stop)
    return seen


@pytest.mark.fault
def test_a_labeler_that_dies_costs_one_shard(tmp_path):
    seen = label(tmp_path, list(range(8)))
    assert lines(tmp_path, "struck") == ["3"]
    assert sorted(int(line.split()[0]) for line in lines(tmp_path, "shards")) == list(range(8))
    assert seen[-1] == (8, 8)


def test_a_labeler_s_mistake_ends_labelling_once(tmp_path):
    (tmp_path / "struck").touch()
    with pytest.raises(ValueError) as caught:
        label(tmp_path, list(range(8)), refuse=True)
    assert str(caught.value) == "the teacher is not the one that the index names"
    assert lines(tmp_path, "refused") == ["5"]


def test_labelling_stops_between_shards(tmp_path):
    label(tmp_path, [0, 1, 2], should_stop=lambda: (tmp_path / "shards").exists())
    assert 0 < len(lines(tmp_path, "shards")) < 3


def test_the_cluster_s_folder_and_token_are_private():
    token = os.environ["RAY_AUTH_TOKEN_PATH"]
    assert stat.S_IMODE(os.stat(token).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(token)).st_mode) == 0o700


@pytest.mark.parametrize(
    "workers, nodes, words",
    [
        (Workers(num=3, cpus=1), [{"CPU": 2}], "has 2 CPU cores and 0 GPUs .* give teacher.workers.num=2"),
        (Workers(num=1, cpus=4), [{"CPU": 2}, {"CPU": 2}], "lower teacher.workers.cpus"),
        (Workers(num=2, gpus=1), [{"CPU": 8, "GPU": 1}], "teacher.workers.num=1"),
        (Workers(num=1, gpus=1), [{"CPU": 8}], "lower .* teacher.workers.gpus"),
    ],
)
def test_workers_that_do_not_fit_are_refused_at_once(workers, nodes, words):
    with pytest.raises(ValueError, match=words):
        cluster.check_room({"teacher": workers}, nodes, "this machine")


def test_workers_that_fit_are_not_refused():
    cluster.check_room(
        {"teacher": Workers(num=3, cpus=2, gpus=1)}, [{"CPU": 4, "GPU": 2}, {"CPU": 2, "GPU": 4}], "here"
    )
