"""The demos that CI has no time for are command lines of ours: their recipes run at their smallest in end_to_end/."""

import shlex
import subprocess

import pytest

from launch.run import main
from tests.data import ROOT


@pytest.mark.parametrize("target, size", [("demo-ner", 200), ("demo-concepts", 300)])
def test_a_demo_is_a_command_line_that_plans(target, size, tmp_path, capsys):
    made = subprocess.run(
        ["make", "-n", target, f"SOURCE=synthetic:{size}", f"RUN={tmp_path}/run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in made.stdout.splitlines() if " -m launch.run " in line]
    arguments = shlex.split(line.partition(" -m launch.run ")[2])
    assert main([*arguments, "--dry-run"]) == 0, capsys.readouterr().err
    assert f"synthetic:{size}" in arguments and not (tmp_path / "run").exists()
