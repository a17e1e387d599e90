"""`ray job submit` against a cluster that somebody else started, with a token: to the end; and not without one.

One head for the whole file, and one checkout, in which lie records, an environment and a history beside the code.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
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
        yield environment | {"RAY_ADDRESS": f"http://127.0.0.1:{dashboard}", "TOLD": str(short)}
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


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of this checkout, with what lies in one that is used: a run, tables, an environment, a history."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("ckd_dist", "launch", "ds_configs", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".gitignore", "README.md"):
        shutil.copy(ROOT / name, folder)
    for place in ("runs/mine/softlabels", "RUN", "mimic3", "data/notes", ".venv/lib", "env/lib", ".git", "build"):
        (folder / place).mkdir(parents=True)
        (folder / place / "canary.csv").write_text("SUBJECT_ID,TEXT\n4711,a canary\n")
    (folder / "notes.jsonl").write_text('{"text": "a canary"}')
    return folder


def submit(environment, checkout, *arguments, options=()):
    entry = [sys.executable, "-m", "launch.run", *map(str, arguments)]
    command = [RAY, "job", "submit", *options, "--runtime-env", "launch/runtime_env.yaml", "--", *entry]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A run folder that is ready to train a small teacher."""
    run = tmp_path_factory.mktemp("prepared") / "run"
    small = ["select.absent_labels=allow", "teacher.sft.epochs=0.1", "teacher.labels.epochs=0.2"]
    first = ["--recipe", "tiny", "--source", "synthetic:200", *small]
    command = [sys.executable, "-m", "launch.run", "pipeline", "--until", "prompt_teacher", "--run", run, *first]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    return run


@pytest.fixture
def run(prepared, tmp_path):
    return Path(shutil.copytree(prepared, tmp_path / "run"))


def uploaded(head):
    """Every path that jobs have brought to the cluster."""
    places = Path(head["TOLD"]).glob("ray/session_*/runtime_resources/working_dir_files/*/**/*")
    return {str(Path(*path.parts[path.parts.index("working_dir_files") + 2 :])) for path in places}


def test_a_submitted_job_runs_a_stage_on_the_cluster_s_workers(head, checkout, run):
    done = submit(head, checkout, "train_teacher", "--run", run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((run / "stages" / "train_teacher.json").read_text())["stage"] == "train_teacher"
    relative = submit(head, checkout, "train_teacher", "--run", "runs/here")
    assert relative.returncode != 0
    assert "absolute" in relative.stdout


@pytest.mark.parametrize("options", [(), ("--working-dir", ".")])
def test_nothing_but_the_code_is_uploaded(head, checkout, options):
    done = submit(head, checkout, "recipes", options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    there = uploaded(head)
    assert {"launch/run.py", "ckd_dist/study.py", "ds_configs/zero2.json", "pyproject.toml"} <= there
    tops = {name.partition("/")[0] for name in there}
    assert tops == {"launch", "ckd_dist", "ds_configs", "pyproject.toml"}
    assert not [name for name in there if "canary" in name]


def test_nodes_with_other_packages_than_the_project_names_are_refused(head, checkout, run):
    project = checkout / "pyproject.toml"
    kept = project.read_text()
    project.write_text(kept.replace('"numpy>=2"', '"numpy>=99"').replace('"scipy>=1.11"', '"no-such-package"'))
    try:
        done = submit(head, checkout, "train_teacher", "--run", run)
    finally:
        project.write_text(kept)
    assert done.returncode != 0
    assert "no-such-package (not installed)" in done.stdout and "numpy>=99" in done.stdout
    assert not (run / "stages" / "train_teacher.json").exists()


def test_a_job_that_is_stopped_has_saved(head, checkout, run):
    """`ray job stop` waits until the step is finished and saved."""
    long = ["teacher.sft.epochs=0", "teacher.labels.epochs=200", "teacher.labels.evaluate_every=100000"]
    options = ("--no-wait", "--submission-id", "stopped")
    begun = submit(head, checkout, "train_teacher", "--run", run, *long, options=options)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    wait_for_steps(run, 5)
    subprocess.run([RAY, "job", "stop", "stopped"], env=head, check=True, capture_output=True)
    log = subprocess.run([RAY, "job", "logs", "stopped"], env=head, capture_output=True, text=True).stdout
    assert "saved" in log
    assert list((run / "teacher").glob("**/COMMITTED"))


def wait_for_steps(run, num, seconds=600):
    """Wait until so many steps are made."""
    deadline = time.monotonic() + seconds
    progress = run / "progress" / "train_teacher.jsonl"
    while True:
        lines = progress.read_text().splitlines() if progress.exists() else []
        if lines and json.loads(lines[-1])["done"] >= num:
            return
        assert time.monotonic() < deadline, "the job made no step"
        time.sleep(0.2)


def test_who_has_no_token_is_refused(head):
    job = json.dumps({"entrypoint": "true"}).encode()
    asked = urllib.request.Request(f"{head['RAY_ADDRESS']}/api/jobs/", job, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=30)
    assert refused.value.code == 401


def test_a_job_without_the_token_is_refused(head, checkout, tmp_path):
    done = submit({**head, "RAY_AUTH_TOKEN_PATH": "/no/such/token", "HOME": str(tmp_path)}, checkout, "recipes")
    assert done.returncode != 0
