"""`ray job submit` against a cluster that somebody else started, with a token: to the end; and not without one."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def head(tmp_path_factory):
    """Environment for a Ray head of two cores, with a dashboard, that is a child of this process."""
    folder = tmp_path_factory.mktemp("ray-head")
    folder.chmod(0o700)
    token = folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    port, dashboard = free_port(), free_port()
    short = Path("/tmp") / f"ckd-test-{os.getpid()}"  # sockets want a short path
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "OMP_NUM_THREADS": "1",
    }
    short.mkdir(mode=0o700)
    options = [
        f"--port={port}",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
    ]
    options += [
        f"--dashboard-agent-listen-port={free_port()}",
        "--num-cpus=2",
        "--object-store-memory=100000000",
        f"--temp-dir={short}/ray",
        "--block",
    ]
    process = subprocess.Popen(
        [RAY, "start", "--head", *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(dashboard)
        yield environment | {"RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(short, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, seconds=120):
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the head did not start"
            time.sleep(0.5)


def submit(environment, *arguments):
    command = [RAY, "job", "submit", "--working-dir", ".", "--", sys.executable, "-m", "launch.run", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_submitted_job_runs_a_stage_on_the_cluster_s_workers(head, tmp_path):
    run = tmp_path / "run"
    small = ["select.absent_labels=allow", "teacher.sft.epochs=0.1", "teacher.labels.epochs=0.2"]
    first = ["--recipe", "tiny", "--source", "synthetic:400", *small]
    for stage in ("extract", "select", "prompt_teacher"):
        command = [sys.executable, "-m", "launch.run", stage, "--run", run, *first]
        assert subprocess.run(command, cwd=ROOT).returncode == 0
        first = []
    done = submit(head, "train_teacher", "--run", str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((run / "stages" / "train_teacher.json").read_text())["stage"] == "train_teacher"
    relative = submit(head, "train_teacher", "--run", "runs/here")
    assert relative.returncode != 0
    assert "absolute" in relative.stdout


def test_a_job_without_the_token_is_refused(head, tmp_path):
    done = submit({**head, "RAY_AUTH_TOKEN_PATH": "/no/such/token", "HOME": str(tmp_path)}, "recipes")
    assert done.returncode != 0
