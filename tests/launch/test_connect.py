"""Before Ray is connected to: what is refused, who is waited for, and what killed drivers have left."""

import itertools
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ckd_dist.config import Workers
from launch import cluster, lock
from launch.elsewhere import Elsewhere, at_fault


@pytest.fixture
def token(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.touch(0o600)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    return file


def test_a_cluster_with_a_private_token_is_accepted_and_one_with_an_open_token_or_without_is_not(token, monkeypatch):
    cluster.check_closed("it")
    token.chmod(0o644)
    with pytest.raises(ValueError, match=f"others may read the token of it: chmod 600 {token}"):
        cluster.check_closed("it")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)  # as KubeRay gives it, from a secret
    cluster.check_closed("it")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ValueError, match="may be open to everybody"):
        cluster.check_closed("it")


def test_a_head_is_waited_for_and_one_that_does_not_come_is_no_mistake():
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with pytest.raises(lock.Failure, match=f"nobody answers at {address}"):
            cluster.wait_for_head(address, seconds=0)
        head.listen()
        cluster.wait_for_head(address, seconds=0)
    cluster.wait_for_head("auto", seconds=0)  # Ray finds it


def test_private_folders_of_dead_drivers_go_and_those_of_living_ones_and_of_other_containers_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = cluster._pid_space()
    drivers = {"ckd-dead": f"{dead.pid} {here}", "ckd-alive": f"{os.getpid()} {here}", "ckd-far": f"{dead.pid} far:1"}
    for name, text in drivers.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "driver").write_text(text)
    (tmp_path / "ckd-12-0").mkdir()  # of a Slurm job
    cluster.sweep_private(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckd-12-0", "ckd-alive", "ckd-far"]


@pytest.mark.parametrize(
    "errors, blamed",
    [
        ({0: "ncclRemoteError: remote process exiting prematurely", 1: "CUDA error: GPU is lost"}, [1]),
        ({0: "NCCL communicator was aborted on rank 0", 1: "Connection closed by peer"}, []),
        ({0: "CUDA error: GPU is lost", 1: "CUDA error: GPU is lost"}, []),
        ({0: "CUDA error: GPU is lost"}, [0]),
    ],
)
def test_whoever_lost_a_peer_is_not_to_blame_nor_anybody_where_all_failed(errors, blamed):
    assert at_fault({rank: RuntimeError(words) for rank, words in errors.items()}) == blamed


def test_a_frozen_rank_is_to_blame():
    frozen = type("WorkerHealthCheckTimeoutError", (Exception,), {})
    assert at_fault({0: RuntimeError("Connection closed by peer"), 1: frozen("hangs")}) == [1]


def test_ranks_that_are_ended_to_grow_are_said_and_those_that_start_first_or_after_a_fault_are_not(tmp_path):
    from ray.train.v2._internal.execution.controller import state  # after launch has set what Ray reads
    from ray.train.v2._internal.execution.scaling_policy import ResizeDecision

    file, grow = tmp_path / "faults", ResizeDecision(2, {})
    elsewhere = Elsewhere(Workers(num=2, min=1), file)
    rank = SimpleNamespace(distributed_context=SimpleNamespace(world_rank=0), metadata=SimpleNamespace(node_id="a"))
    group = SimpleNamespace(get_worker_group_state=lambda: SimpleNamespace(workers=[rank]))
    start = [state.SchedulingState(grow), state.RunningState(), state.RunningState()]
    states = [state.InitializingState(), *start, state.RestartingState(None), *start]
    for before, after in itertools.pairwise(states):
        elsewhere.after_controller_state_update(before, after)
    elsewhere.after_worker_group_start(group)
    assert not file.exists()
    elsewhere.after_controller_state_update(state.RunningState(), state.ResizingState(grow))
    elsewhere.after_controller_state_update(state.ResizingState(grow), state.SchedulingState(grow))
    assert file.read_text() == "nodes have come or gone: 2 ranks instead of 1 start from the last checkpoint\n"


def raising(error):
    def init(**_):
        raise error

    return init


SLOW = Exception("The current node timed out during startup.")
VERSION = RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.59.0")


@pytest.mark.parametrize(
    "connect, error, kind, words",
    [
        (cluster._start, SLOW, lock.Failure, "Ray did not start on this machine: Exception The current node"),
        (cluster._join, SLOW, cluster._NotYet, "timed out"),
        (cluster._join, VERSION, ValueError, "refuses: Version mismatch: The cluster was started with: Ray: 2.59.0"),
        (cluster._start, lock.Stopped("stopped", 130), lock.Stopped, "stopped"),
        (cluster._join, lock.Stopped("stopped", 130), lock.Stopped, "stopped"),
    ],
)
def test_what_ray_says_at_its_start_is_a_fault_or_a_mistake_and_a_stop_is_neither(
    monkeypatch, connect, error, kind, words
):
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.7:10000")
    monkeypatch.setattr(cluster.ray, "init", raising(error))
    with pytest.raises(kind, match=words):
        connect()
