"""The house holds: who may import whom, and nothing but launch/ needs Ray, nothing but zero.py DeepSpeed."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ckd_dist.studies import STUDIES
from ckd_dist.study import resolve

ROOT = Path(__file__).parents[1]

# Each line imports only from lines below it; `|` are strangers to each other, `:` may import one another.
CONTRACT = """
[importlinter]
root_packages =
    ckd_dist
    launch
include_external_packages = True

[importlinter:contract:launch]
name = launch is on top
type = layers
layers =
    launch
    ckd_dist

[importlinter:contract:rooms]
name = rooms
type = layers
containers = ckd_dist
exhaustive = True
layers =
    studies
    report | softlabels | engine
    models | ehr | endpoints | notes
    hospital
    study
    record
    config : recipefile : ragged : runfolder : progress : schedule : source
    account : files : mistakes : schema : splitmix : world

[importlinter:contract:studies]
name = studies are strangers, and only their registry knows them all
type = independence
modules =
    {studies}

[importlinter:contract:ray]
name = Ray stays in launch
type = forbidden
source_modules = ckd_dist
forbidden_modules = ray

[importlinter:contract:deepspeed]
name = DeepSpeed stays in zero.py
type = forbidden
source_modules =
    ckd_dist
    launch
forbidden_modules = deepspeed
allow_indirect_imports = True
ignore_imports =
    ckd_dist.engine.zero -> deepspeed
"""

IMPORT_ALL = '''
import importlib, importlib.machinery, pkgutil, sys

class Without(importlib.machinery.PathFinder):
    """Finds what is installed, but for ray and deepspeed."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ("ray", "deepspeed") else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if f is importlib.machinery.PathFinder else f for f in sys.meta_path]
import ckd_dist
names = [module.name for module in pkgutil.walk_packages(ckd_dist.__path__, "ckd_dist.")]
for name in names:
    importlib.import_module(name)
print(len(names))
'''


def test_each_room_imports_only_from_rooms_below(tmp_path):
    contract = tmp_path / "contract.ini"
    studies = "\n    ".join(f"ckd_dist.studies.{name}" for name in STUDIES)
    contract.write_text(CONTRACT.replace("{studies}", studies))
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--config", contract, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_imports_without_ray_and_deepspeed():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_every_reference_of_a_study_names_something():
    for study in STUDIES.values():
        for each in (*study.all_stages, *study.commands):
            assert callable(resolve(each.work)) or each.runs == "jobs"
            assert getattr(each, "size", None) is None or callable(resolve(each.size))


# Who may know a study's configuration; every other module gets values.  dataset: opens a run by its recipe, as a stage
# does.  from_run and what begins with it: read the recipe of another run.  prompt_stage: two of the stages.
KNOW_CONFIG = ("__init__", "config", "recipes", "stages", "prompt_stage", "size", "describe", "dataset", "from_run")
KNOW_CONFIG += ("from_run_identity", "from_run_refusals", "checks")
# Who may know which shared part: a component knows the part that is its own settings, and no wider one.
SHARED = {
    "softlabels": {"Optim"},
    "engine": {"DataParallelism", "Optim", "Lora", "Workers"},
    "models": {"Lora", "Tiny"},
}
SHARED |= {"endpoints": {"Endpoint"}, "ehr": set(), "notes": set(), "hospital": set(), "report": set()}


def imported_from(file: Path, module: str) -> set[str]:
    """Return the names that a file imports of `module`; the whole module counts as "*"."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == module.rpartition(".")[0]:
            names |= {"*" for alias in node.names if alias.name == module.rpartition(".")[2]}
        elif isinstance(node, ast.Import):
            names |= {"*" for alias in node.names if alias.name == module}
    return names


@pytest.mark.parametrize("study", sorted(STUDIES))
def test_leaves_of_a_study_do_not_know_its_configuration(study):
    folder = ROOT / "ckd_dist" / "studies" / study
    allowed = {folder / f"{name}.py" for name in KNOW_CONFIG}
    module = f"ckd_dist.studies.{study}.config"
    assert imported_from(folder / "stages.py", module), "the rule looks at the right module"
    assert [file for file in folder.rglob("*.py") if file not in allowed and imported_from(file, module)] == []


@pytest.mark.parametrize("study", sorted(STUDIES))
def test_no_leaf_gets_a_class_of_the_configuration_by_another_way(study):
    """Not from a module that has imported it, nor relatively."""
    config, folder = import_module(f"ckd_dist.studies.{study}.config"), ROOT / "ckd_dist" / "studies" / study
    classes = {name for name, each in vars(config).items() if getattr(each, "__module__", "") == config.__name__}
    assert "Recipe" in " ".join(classes), "the rule looks at the right classes"
    for file in folder.rglob("*.py"):
        if file.parent == folder and file.stem in KNOW_CONFIG:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                own = (node.module or "").startswith(f"ckd_dist.studies.{study}.")
                assert not (own and classes & {alias.name for alias in node.names} - declared(node.module)), file


def test_the_package_has_no_relative_imports():
    for file in (ROOT / "ckd_dist").rglob("*.py"):
        levels = [node.level for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not any(levels), file


def declared(module: str) -> set[str]:
    """Return the classes that a module itself declares."""
    return {name for name, each in vars(import_module(module)).items() if getattr(each, "__module__", "") == module}


@pytest.mark.parametrize("room", sorted(SHARED))
def test_a_room_knows_no_more_of_a_recipe_than_its_own_settings(room):
    files = (ROOT / "ckd_dist" / room).rglob("*.py")
    assert set().union(*(imported_from(file, "ckd_dist.config") for file in files)) <= SHARED[room]
