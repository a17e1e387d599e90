"""The lowest versions that pyproject.toml allows, and the newest there are, run the pipeline on Ray to its end.

They lie in a folder before the installed ones on the path; torch is as installed.
"""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tests.data import ROOT
from tests.end_to_end.small import SMALL

NAMES = ("transformers", "peft", "deepspeed", "ray", "safetensors")
TOLD = "import importlib.metadata as m, transformers; print(transformers.__file__, *map(m.version, {names}))"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def wanted():
    """What pyproject.toml says of each of them: {name: requirement}."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = {each.name: each for each in map(Requirement, lines) if each.name in NAMES}
    assert sorted(found) == sorted(NAMES)
    return found


def lowest(requirement):
    """The version that a requirement begins with.

    >>> lowest(Requirement("peft>=0.21,<0.22"))
    '0.21'
    """
    (least,) = (each.version for each in requirement.specifier if each.operator == ">=")
    return least


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def versions_of(which):
    """What is to be tried, but for what is installed anyway: {name: version}."""
    chosen = {}
    for name, requirement in wanted().items():
        if which == "lowest":
            chosen[name] = lowest(requirement)
        else:
            report = pip("install", "--dry-run", "--ignore-installed", "--no-deps", f"{name}{requirement.specifier}")
            chosen[name] = re.search(rf"Would install {name}-(\S+)", report)[1]
    return {name: each for name, each in chosen.items() if not is_version(version(name), each)}


def is_version(found, wanted):
    """Say whether two versions are one: 0.21 and 0.21.0 are."""
    return Requirement(f"x=={wanted}").specifier.contains(found)


@pytest.mark.parametrize("which", ["lowest", "newest"])
def test_the_pipeline_runs_with(which, tmp_path):
    chosen = versions_of(which)
    if not chosen:
        return  # the installed ones, with which all other tests run
    place = tmp_path / "packages"
    for name, each in chosen.items():
        without = () if name == "transformers" else ("--no-deps",)  # the others would bring a torch of their own
        pip("install", "--quiet", "--upgrade", *without, "--target", place, f"{name}=={each}")
    environment = os.environ | {"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", TOLD.format(names=tuple(chosen))], env=environment, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    for found, each in zip(told.stdout.split()[1:], chosen.values(), strict=True):
        assert is_version(found, each)
    command = [sys.executable, "-m", "launch.run", "pipeline", "--recipe", "tiny", "--source", "synthetic:150"]
    done = subprocess.run(
        [*command, "--run", tmp_path / "run", *SMALL], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (tmp_path / "run" / "report" / "report.html").is_file()
