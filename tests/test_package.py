"""What is installed: one top-level package with all that it reads, and a command that needs no checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

import ckd_dist
from ckd_dist.studies import STUDIES
from tests.data import ROOT
from tests.end_to_end.small import SMALL

BUILT_FROM = [
    *("pyproject.toml", "README.md", "LICENSE"),
    *("ckd_dist", "launch", "ds_configs"),
]
SDIST = "from setuptools import build_meta; import sys; build_meta.build_sdist(sys.argv[1])"


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """A source distribution, built from a copy: setuptools leaves folders behind where it builds."""
    tree, made = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("sdist")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree)
    done = subprocess.run([sys.executable, "-c", SDIST, made], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(made.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel that comes of the source distribution alone."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, sdist)
    return next(folder.glob("*.whl"))


def files_below(folder, *but):
    """Every file that a person wrote below a folder of the checkout, by its path from there."""
    found = [
        file.relative_to(folder) for file in folder.rglob("*") if file.is_file() and "__pycache__" not in str(file)
    ]
    return {str(file) for file in found if file.name not in but}


def test_the_wheel_holds_what_the_rooms_hold_and_nothing_beside(wheel):
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    inside = {f"ckd_dist/{name}" for name in files_below(ROOT / "ckd_dist")}
    inside |= {f"ckd_dist/launch/{name}" for name in files_below(ROOT / "launch", "README.md")}
    inside |= {f"ckd_dist/ds_configs/{name}" for name in files_below(ROOT / "ds_configs", "README.md")}
    assert set(names) == inside
    assert {Path(name).suffix for name in names} >= {".py", ".jinja", ".yaml", ".json", ".txt"}


def test_the_wheel_says_its_version_licence_and_command(wheel):
    parts = {Path(name).name: name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" in name}
    text = {
        name: zipfile.ZipFile(wheel).read(parts[name]).decode() for name in ("METADATA", "entry_points.txt", "LICENSE")
    }
    assert f"\nVersion: {ckd_dist.__version__}\n" in text["METADATA"]
    assert "\nLicense-Expression: Apache-2.0\n" in text["METADATA"]
    assert text["LICENSE"] == (ROOT / "LICENSE").read_text()
    assert "ckd-dist = ckd_dist.launch.run:main" in text["entry_points.txt"]


def test_the_citation_has_the_version_and_each_study_s_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ckd_dist.__version__
    cited = {reference["url"].rpartition("/")[2] for reference in citation["references"]}
    pages = [(ROOT / "ckd_dist" / "studies" / name / "README.md").read_text() for name in STUDIES]
    first = {re.search(r"arXiv[ :]\[?(?:arXiv )?(\d{4}\.\d{5})", page)[1] for page in pages}
    assert cited == first


# --- installed, in an empty folder -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The scripts' folder of a new virtual environment with the wheel; its dependencies are those of this one."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    packages = next(place.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files are not read
    pip("--python", place / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index", wheel)
    return place / "bin"


def run_there(folder, *command):
    """Run a command in a folder, with nothing of this checkout on its path."""
    theirs = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=theirs | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_installed_wheel_runs_the_tiny_recipe_in_an_empty_folder(installed, tmp_path):
    ckd = installed / "ckd-dist"
    where = "import ckd_dist, importlib.util as u; print(ckd_dist.__file__, u.find_spec('launch'))"
    file, launch = run_there(tmp_path, installed / "python", "-c", where).split()
    assert Path(file).is_relative_to(installed.parent) and launch == "None"
    assert "`ckd-dist recipes` lists them" in run_there(tmp_path, ckd, "label", "--help")

    first = ["--recipe", "tiny", "--source", "synthetic:150", *SMALL, "teacher.workers.num=1"]
    for stage in ("extract", "select", "prompt_teacher"):
        run_there(tmp_path, ckd, stage, "--run", "run", "--local", *first)
        first = []
    run_there(tmp_path, ckd, "train_teacher", "--run", "run")  # a Ray worker, under ZeRO-3
    assert (tmp_path / "run" / "stages" / "train_teacher.json").is_file()
    run_there(tmp_path, ckd, "pipeline", "--run", "run", "--local")

    assert (tmp_path / "run" / "report" / "report.html").is_file()
    states = run_there(tmp_path, ckd, "status", "run").splitlines()
    of_stage = {
        line.split()[0]: line.split()[1]
        for line in states
        if line.split()[:1] and line.split()[0] in STUDIES["disease"].stages
    }
    assert of_stage == dict.fromkeys(STUDIES["disease"].stages, "done")
    assert "files hold what their stages wrote" in run_there(tmp_path, ckd, "verify", "run")
    run_there(tmp_path, ckd, "predict", "--model", "run/student", "--source", "synthetic:40", "--out", "out")
    assert (tmp_path / "out" / "predictions.parquet").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]
