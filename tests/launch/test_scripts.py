"""The shell scripts: clean to shellcheck, and free of hyperparameters."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.launch.script_jobs import ROOT

SCRIPTS = [*sorted((ROOT / "slurm").glob("*.sh")), ROOT / ".ci" / "run", *sorted(Path(__file__).parent.glob("*.sh"))]
STAGE_SCRIPTS = [ROOT / "slurm" / f"{name}.sh" for name in ("pipeline", "teacher", "label", "student")]


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
    machine = {"--exclusive", "--gpus-per-node=8", "--mem=0"}
    assert machine | {"--requeue", "--signal=B:USR1@300", "--open-mode=append"} <= set(options)


def test_constraints_pin_every_package_once_and_name_no_host():
    lines = [line for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    names = [re.fullmatch(r"([A-Za-z0-9_.-]+)==[0-9][A-Za-z0-9.]*", line) for line in lines]
    assert all(names)
    assert len({match[1].lower() for match in names}) == len(lines)
    assert "torch==2.13.0" in lines


def test_a_script_outside_slurm_says_so(tmp_path):
    done = subprocess.run(
        ["bash", str(ROOT / "slurm" / "teacher.sh")],
        env={"PATH": "/usr/bin:/bin", "RUN_DIR": str(tmp_path), "CKD_HOME": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "sbatch" in done.stderr
