"""The README shows the real step, the real commands and the real tree."""

import inspect
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ckd_dist.engine.loop import train_step
from ckd_dist.recipes import RECIPES
from launch.run import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_printed_step_is_the_real_one():
    assert inspect.getsource(train_step).strip() in README


def test_its_make_targets_exist():
    targets = set(re.findall(r"^(?:    |`)make ([a-z-]+)", README, re.M))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.M)] == []


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m launch\.run ([a-z_]+)", README))))
def test_its_commands_exist(command):
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_its_recipes_and_files_exist():
    named = set(re.findall(r"--recipe ([a-z0-9_]+)", README))
    assert named and named <= RECIPES.keys()
    files = set(re.findall(r"`?((?:ckd_dist|slurm|tests|ds_configs|launch)/[\w/]+\.(?:py|sh|json))", README))
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_every_source_file_stands_in_the_tree():
    tree = README.split("## How it is built")[1].split("## Speed")[0]
    for folder in ("ckd_dist", "launch"):
        for file in (ROOT / folder).rglob("*.py"):
            if file.name != "__init__.py":
                assert file.name in tree, f"{file.relative_to(ROOT)} is not in the README's tree"
