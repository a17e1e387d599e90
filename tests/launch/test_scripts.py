"""The shell scripts: clean to shellcheck, free of hyperparameters, and orderly when something goes wrong.

A fake `srun` runs the node's part on this machine, a fake `ray` waits or fails, a fake `python` is the driver.
"""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / "slurm").glob("*.sh")), ROOT / ".ci" / "run", *sorted(Path(__file__).parent.glob("*.sh"))]
STAGE_SCRIPTS = [path for path in SCRIPTS if path.parent.name == "slurm" and path.name != "ray_cluster.sh"]

WAITS = "exec sleep 60"
FAKES = {
    "srun": 'while [[ $1 == --* ]]; do shift; done; SLURM_NODEID=0 SLURM_CPUS_ON_NODE=2 exec "$@"',
    "scontrol": 'echo "$@" >> "$RUN_DIR/scontrol"',
    "hostname": "echo 127.0.0.1",
}


@pytest.fixture
def job(tmp_path, monkeypatch):
    """`job(script, ray=..., python=...)` starts a Slurm script with these two as fakes; returns the process."""
    for program in ("setsid", "bash"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    (tmp_path / "run").mkdir()
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    started = []

    def start(script="teacher.sh", *arguments, **fakes):
        environment_of_job = fakes.pop("environment", {})
        for name, body in {**FAKES, **fakes}.items():
            fake = tmp_path / "venv" / "bin" / name
            fake.write_text(f"#!/usr/bin/env bash\n{body}\n")
            fake.chmod(0o755)
        environment = {
            "PATH": "/usr/bin:/bin",
            "RUN_DIR": str(tmp_path / "run"),
            "VENV": str(tmp_path / "venv"),
            "NODE_TMP": str(tmp_path),
            "CKD_HOME": str(ROOT),
            "SLURM_JOB_ID": "1234",
            "SLURM_JOB_NUM_NODES": "1",
        }
        process = subprocess.Popen(
            ["bash", str(ROOT / "slurm" / script), *arguments],
            env=environment | environment_of_job,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(file, seconds=20):
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline, f"{file.name} did not come"
        time.sleep(0.05)


def left_over(tmp_path):
    return [*tmp_path.glob("ckd-*"), *tmp_path.glob("run/.job-*")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
    assert subprocess.run(["bash", "-n", script]).returncode == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean_to_shellcheck(script):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", "-x", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", STAGE_SCRIPTS, ids=lambda path: path.name)
def test_a_stage_script_holds_machines_and_time_and_one_launch_line(script):
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == 2
    assert lines[1].startswith("launch_line ")
    options = re.findall(r"^#SBATCH (\S+)", script.read_text(), re.MULTILINE)
    assert {"--exclusive", "--requeue", "--signal=B:USR1@300", "--open-mode=append"} <= set(options)


def test_constraints_pin_every_package_once_and_name_no_host():
    lines = [line for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    names = [re.fullmatch(r"([A-Za-z0-9_.-]+)==[0-9][A-Za-z0-9.]*", line) for line in lines]
    assert all(names)
    assert len({match[1].lower() for match in names}) == len(lines)
    assert "torch==2.13.0" in lines


def test_the_driver_s_status_is_the_job_s_and_nothing_is_left(tmp_path, job):
    process = job(
        "teacher.sh",
        "teacher.workers.num=4",
        ray=WAITS,
        python='cd "$RUN_DIR"; stat -c %a "$RAY_AUTH_TOKEN_PATH" > mode; echo "$RAY_AUTH_MODE $@" > seen; exit 2',
    )
    process.communicate(timeout=30)
    assert process.returncode == 2
    assert (tmp_path / "run" / "mode").read_text() == "600\n"
    seen = (tmp_path / "run" / "seen").read_text()
    assert seen == f"token -m launch.run train_teacher --run {tmp_path}/run teacher.workers.num=4\n"
    assert not left_over(tmp_path)
    assert not (tmp_path / "run" / "scontrol").exists()


def test_ray_that_does_not_start_fails_the_job(tmp_path, job):
    process = job(ray="echo port 1 is taken; exit 1", python=WAITS)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "port 1 is taken" in out
    assert not left_over(tmp_path)


SAVES = """trap 'kill $!; exit 85' USR1 TERM; touch "$RUN_DIR/up"; sleep 60 & wait"""


@pytest.mark.parametrize(("sent", "requeued"), [(signal.SIGUSR1, "requeue 1234\n"), (signal.SIGTERM, None)])
def test_a_signal_saves_and_usr1_alone_requeues_exactly_once(tmp_path, job, sent, requeued):
    """TERM leaves requeueing to Slurm."""
    process = job(ray=WAITS, python=SAVES)
    wait_for(tmp_path / "run" / "up")
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert process.returncode == 85
    said = tmp_path / "run" / "scontrol"
    assert (said.read_text() if said.exists() else None) == requeued
    assert not left_over(tmp_path)


def test_a_job_that_was_requeued_too_often_gives_up(tmp_path, job):
    process = job(ray=WAITS, python=SAVES, environment={"SLURM_RESTART_COUNT": "20"})
    wait_for(tmp_path / "run" / "up")
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "giving up" in out
    assert not (tmp_path / "run" / "scontrol").exists()


def test_a_script_outside_slurm_says_so(tmp_path):
    done = subprocess.run(
        ["bash", str(ROOT / "slurm" / "teacher.sh")],
        env={"PATH": "/usr/bin:/bin", "RUN_DIR": str(tmp_path), "CKD_HOME": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "sbatch" in done.stderr
