"""The READMEs show the real step, commands that there are, and links that lead somewhere; the top one is short."""

import inspect
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ckd_dist.engine.loop import train_step
from ckd_dist.studies import STUDIES
from launch.run import build

ROOT = Path(__file__).parents[1]
STUDY_FOLDERS = [f"ckd_dist/studies/{name}" for name in STUDIES]
FOLDERS = ("", "ckd_dist", "ckd_dist/ehr", "launch", "slurm", "ds_configs", *STUDY_FOLDERS)
PAGES = {folder: (ROOT / folder / "README.md").read_text() for folder in FOLDERS}
README, BUILT = PAGES[""], PAGES["ckd_dist"]
EVERYTHING = "\n".join(PAGES.values())
MOST_WORDS = 1200


def test_the_printed_step_is_the_real_one():
    assert inspect.getsource(train_step).strip() in README


def test_the_top_page_is_short_enough_to_be_read():
    assert len(README.split()) <= MOST_WORDS


@pytest.mark.parametrize("folder", FOLDERS)
def test_its_links_lead_to_files_and_headings(folder):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", PAGES[folder]):
        path, _, heading = target.partition("#")
        file = ROOT / folder / path if path else ROOT / folder / "README.md"
        assert file.is_file(), f"{folder}/README.md links to {target}"
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
            assert heading in [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings], target


def test_their_make_targets_exist():
    targets = set(re.findall(r"(?:^    |`)make ([a-z-]+)", EVERYTHING, re.M))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.M)] == []


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m launch\.run ([a-z_]+)", EVERYTHING))))
def test_their_commands_exist(command):
    assert CliRunner().invoke(build(STUDIES), [command, "--help"]).exit_code == 0


def test_their_recipes_and_files_exist():
    named = set(re.findall(r"--recipe ([a-z0-9_]+)", EVERYTHING))
    assert named and named <= {recipe for study in STUDIES.values() for recipe in study.recipes}
    files = set(re.findall(r"`?((?:ckd_dist|slurm|tests|ds_configs|launch)/[\w/]+\.(?:py|sh|json|md))", EVERYTHING))
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_every_room_is_in_the_tree_and_every_study_has_a_row():
    tree = BUILT.split("## Where to read first")[0]
    for path in (ROOT / "ckd_dist").iterdir():
        if path.name not in ("__init__.py", "README.md", "__pycache__"):
            assert path.name + "/" * path.is_dir() in tree, f"{path.name} is not in the tree of ckd_dist/README.md"
    for name in STUDIES:
        assert f"| {name} |" in README


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_s_page_names_its_stages(name):
    assert [stage for stage in STUDIES[name].stages if stage not in PAGES[f"ckd_dist/studies/{name}"]] == []
