"""Nodes that are lost, and nodes that fail: three Ray nodes on this machine, each of one core.

Ranks go on with fewer where the recipe allows it, grow again when a node is back, and leave a node where they failed
twice, as long as the others have room.
"""

import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from ckd_dist.config import Workers
from ckd_dist.runfolder import RunFolder
from ckd_dist.study import Context
from launch import cluster, ranks
from tests.data import ROOT
from tests.launch import work
from tests.launch.work import lines

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A head without cores and two nodes of one, with a token; the driver is connected."""
    from ray.cluster_utils import Cluster  # after launch has set what Ray reads when it is imported

    token = tmp_path_factory.mktemp("token") / "token"
    token.touch(0o600)
    token.write_text(cluster._TOKEN)  # Ray keeps the first one that a process reads: another file's test may be before
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "20")
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": tempfile.mkdtemp(prefix="ckd-t-", dir="/tmp")}
        Path("/tmp/ray").mkdir(exist_ok=True)  # where it notes the address
        made = Cluster(initialize_head=True, head_node_args=head)
        made.small = [made.add_node(num_cpus=1) for _ in range(2)]
        patch.setenv("RAY_ADDRESS", made.address)
        with cluster.connect({"teacher": Workers(num=2)}, print):
            yield made
        made.shutdown()
        shutil.rmtree(head["temp_dir"], ignore_errors=True)


def start(folder, workers, fault, num_steps):
    """Train in a thread, so that the test can take nodes away meanwhile; return what ends it, and what was said."""
    said = []
    steps = partial(work.steps, str(folder), num_steps, fault)
    group = ranks.Group("test", workers, folder / "ray", folder / "STOP", folder / "steps", said.append)
    pool = ThreadPoolExecutor(1)
    return pool.submit(ranks.train, steps, Context(None, RunFolder(folder)), group), said


def wait_until(true, said, seconds=300):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"it never came to that; said: {said}"
        time.sleep(0.2)


def widths(folder):
    """How many ranks every step had."""
    return [int(line.split()[1]) for line in lines(folder, "steps")]


def test_ranks_go_on_with_fewer_where_a_node_is_lost_and_grow_when_it_is_back(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "GROW_SECONDS", 5.0)
    training, said = start(tmp_path, Workers(num=2, min=1), work.slow, 400)
    wait_until(lambda: len(widths(tmp_path)) > 5, said)
    assert set(widths(tmp_path)) == {2}
    nodes.remove_node(nodes.small.pop(), allow_graceful=False)
    wait_until(lambda: widths(tmp_path)[-1] == 1, said)
    nodes.small.append(nodes.add_node(num_cpus=1))
    wait_until(lambda: widths(tmp_path)[-1] == 2, said)
    (tmp_path / "STOP").touch()
    training.result(60)
    committed, seen = (
        int((tmp_path / "committed").read_text()),
        [int(line.split()[0]) for line in lines(tmp_path, "steps")],
    )
    assert sorted(set(seen)) == list(range(1, committed + 1)), "no step was left out"
    assert any("trying again" in line for line in said)
    assert sum("2 ranks instead of 1 start from the last checkpoint" in line for line in said) == 1
    assert not any("has not answered" in line for line in said)


def test_a_run_that_is_to_stop_while_no_rank_runs_ends(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "STOP_SECONDS", 10.0)
    training, said = start(tmp_path, Workers(num=2), work.slow, 400)
    wait_until(lambda: lines(tmp_path, "commit_seconds"), said)
    nodes.remove_node(nodes.small.pop(), allow_graceful=False)
    wait_until(lambda: not list((tmp_path / "ray" / "stacks").glob("*.json")), said)
    (tmp_path / "STOP").touch()
    training.result(60)
    assert len(lines(tmp_path, "starts_0")) == 1 and int((tmp_path / "committed").read_text()) < 400
    nodes.small.append(nodes.add_node(num_cpus=1))


def test_a_node_where_ranks_failed_twice_is_left_alone_when_others_have_room(nodes, tmp_path):
    """The third node joins before the second fault, and not sooner: ranks would find it by chance."""
    training, said = start(tmp_path, Workers(num=2), work.bad_node, 6)
    wait_until(lambda: len(lines(tmp_path, "struck")) == 2, said)
    nodes.small.append(nodes.add_node(num_cpus=1))
    (tmp_path / "joined").touch()
    training.result(240)
    assert (tmp_path / "committed").read_text() == "6"
    (bad,) = lines(tmp_path, "bad")
    assert len(lines(tmp_path, "struck")) == 2
    assert any("failed twice on node" in line for line in said)
    last = {line.split()[1] for line in lines(tmp_path, "places") if line.startswith("6 ")}
    assert len(last) == 2 and bad not in last
