"""A fourth study is handed to the command line and runs to its report, without an edit anywhere else."""

import importlib
import os
from pathlib import Path

import pytest

from ckd_dist.record import read
from ckd_dist.runfolder import RunFolder
from ckd_dist.studies import STUDIES
from launch.run import main

FOLDER = Path(__file__).parents[1] / "toy_study"


@pytest.fixture
def studies(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return STUDIES | {"toy": importlib.import_module("toy").STUDY}


@pytest.fixture
def ckd(studies, tmp_path, capfd):
    def call(command, *arguments):
        """The exit code and what was said."""
        where = [str(tmp_path)] if command in ("status", "verify") else ["--run", str(tmp_path)]
        code = main([command, *where, *arguments], studies=studies)
        return code, "".join(capfd.readouterr())

    return call


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def how(request):
    if request.param == "ray" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two ranks want two cores")
    return ["--local"] if request.param == "local" else []


def test_it_runs_resumes_and_reports(ckd, how, tmp_path):
    run, html = RunFolder(tmp_path), tmp_path / "report" / "report.html"
    code, said = ckd("pipeline", "--recipe", "toy", *how)
    assert code == 0, said
    assert html.read_text() == "The sum is 91."
    assert read(run, "report").numbers == {"ranks": 1 if how else 2}

    assert ckd("pipeline", *how)[1].count("done already") == 2
    assert "missing" not in ckd("status")[1]
    assert ckd("verify")[0] == 0

    (tmp_path / "squares" / "3.txt").unlink()  # lost: its stage alone is done again, and of that this one job
    kept = (tmp_path / "squares" / "2.txt").stat().st_mtime_ns
    assert "3.txt is gone" in ckd("status")[1]
    assert ckd("pipeline", *how)[1].count("done already") == 1
    assert (tmp_path / "squares" / "2.txt").stat().st_mtime_ns == kept

    assert ckd("pipeline", *how, "report.weight=2")[0] == 0
    assert html.read_text() == "The sum is 182."


def test_it_is_asked_to_stop_and_goes_on(ckd, tmp_path, studies, monkeypatch):
    toy = importlib.import_module("toy")
    working = toy.Squarer.do

    def stops(self, number):
        working(self, number)
        (tmp_path / "STOP").touch()

    monkeypatch.setattr(toy.Squarer, "do", stops)
    code, said = ckd("pipeline", "--recipe", "toy", "--local")
    assert code == 85 and "run the same command to go on" in said
    assert len(list((tmp_path / "squares").iterdir())) == 1
    monkeypatch.setattr(toy.Squarer, "do", working)
    assert ckd("pipeline", "--local")[0] == 0


def test_its_mistakes_are_sentences(ckd):
    assert ckd("pipeline", "--recipe", "toy", "squares.last=0") == (
        2,
        "recipe field squares.last: Input should be greater than or equal to 1, got 0\n",
    )
    assert ckd("pipeline", "--recipe", "toy", "--source", "synthetic:3") == (2, "study toy takes no --source\n")
    code, said = ckd("distill", "--recipe", "toy")
    assert code == 2 and "this recipe's study toy has square, report" in said


def test_the_command_line_knows_it(studies, capfd):
    assert main(["recipes"], studies=studies) == 0
    assert "The smallest recipe there is." in capfd.readouterr().out
    assert main(["square", "--recipe", "toy", "--help"], studies=studies) == 0
    assert "largest number that is squared" in capfd.readouterr().out
