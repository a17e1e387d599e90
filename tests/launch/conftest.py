"""Fixtures of the tests of the Slurm scripts."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.launch.script_jobs import FAKES, OPTIONAL, ROOT


@pytest.fixture
def node_tmp():
    """A folder with a path as short as Ray's sockets need."""
    with tempfile.TemporaryDirectory(prefix="n", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def job(tmp_path, node_tmp):
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
            "NODE_TMP": str(node_tmp),
            "CKD_HOME": str(ROOT),
            "SLURM_JOB_ID": "1234",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_CPUS_ON_NODE": "2",
            "SLURMD_NODENAME": "n1",
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


@pytest.fixture(scope="module")
def bare_path(tmp_path_factory):
    """PATH of a machine without the programs that a site may lack."""
    folder = tmp_path_factory.mktemp("bin")
    for program in Path("/usr/bin").iterdir():
        if program.name not in OPTIONAL:
            (folder / program.name).symlink_to(program)
    return str(folder)
