"""A fourth study is handed to the command line and runs to its report, without an edit anywhere else."""

import errno
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ckd_dist.recipefile import save
from ckd_dist.record import read
from ckd_dist.runfolder import RunFolder
from ckd_dist.studies import STUDIES
from launch import lock
from launch.run import main
from tests.data import ROOT

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
    assert code == 130 and "run the same command to go on" in said
    assert len(list((tmp_path / "squares").iterdir())) == 1
    monkeypatch.setattr(toy.Squarer, "do", working)
    assert ckd("pipeline", "--local")[0] == 0


# --- jobs that fail --------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(ckd, studies, tmp_path, monkeypatch):
    """Square numbers, where some jobs raise; `failing(errors)` returns exit code, what was said, and the jobs tried."""
    toy, tried = importlib.import_module("toy"), []
    working = toy.Squarer.do

    def call(errors, last=6):
        def do(self, number):
            tried.append(number)
            if error := errors.get(number):
                raise error
            working(self, number)

        tried.clear()
        monkeypatch.setattr(toy.Squarer, "do", do)
        code, said = ckd("square", "--recipe", "toy", "--local", f"squares.last={last}")
        return code, said, list(tried)

    return call


def done(tmp_path):
    return sorted(int(file.stem) - 1 for file in (tmp_path / "squares").glob("*.txt"))


def test_jobs_that_fail_stop_no_other_and_are_named_at_the_end(failing, tmp_path):
    bad = {1: ValueError("cut short"), 2: ValueError("cut short"), 3: ValueError("cut short"), 5: OSError(5, "lost")}
    code, said, tried = failing(bad, last=8)
    assert code == 1 and sorted(tried) == list(range(8)) and done(tmp_path) == [0, 4, 6, 7]
    assert "job 5 failed: OSError [Errno 5] lost; the others go on" in said
    assert "jobs 1, 2, 3, 5 of 8 failed, all others are done; 1: ValueError cut short" in said.splitlines()[-1]
    assert (tmp_path / "error.log").read_text().count("raise error") == 4, "the whole of each"
    assert failing({}, last=8)[0] == 0 and done(tmp_path) == list(range(8))


STALE, FULL = OSError(errno.ESTALE, "Stale file handle"), OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("errors", "code", "num_tried", "words"),
    [
        (dict.fromkeys(range(20), ValueError("no such teacher")), 2, 3, "no such teacher"),
        (dict.fromkeys(range(2, 20), ValueError("no such teacher")), 2, 12, "no such teacher"),
        (dict.fromkeys(range(2, 20), STALE), 85, 5, "Stale file handle; run the same command to go on"),
        ({1: FULL}, 1, 2, "No space left on device: make room"),
    ],
    ids=["the first ones", "many in a row", "one fault after the other", "no room"],
)
def test_where_the_next_would_fare_no_better_it_ends_with_what_was_raised(failing, errors, code, num_tried, words):
    ended, said, tried = failing(errors, last=20)
    assert ended == code and len(tried) == num_tried
    assert words in said.splitlines()[-1] and "all others are done" not in said


def test_a_job_that_is_alone_ends_with_what_it_raised(failing, tmp_path):
    failing({})
    (tmp_path / "squares" / "3.txt").unlink()
    code, said, tried = failing({2: ValueError("cut short")})
    assert (code, tried, said.splitlines()[-1]) == (2, [2], "cut short")


@pytest.fixture
def handlers():
    """Whoever handled signals before handles them again: a rank that is not the leader ignores them."""
    before = {number: signal.getsignal(number) for number in lock.CODES}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_under_torchrun_another_process_leaves_what_failed_to_the_leader(failing, tmp_path, monkeypatch):
    """Two processes, one after the other: numbers 1, 3 and 5 are the second one's, and it comes first."""
    save(importlib.import_module("toy").ToyRecipe(), RunFolder(tmp_path).recipe)
    monkeypatch.setenv("WORLD_SIZE", "2")
    bad = {3: ValueError("cut short")}
    monkeypatch.setenv("RANK", "1")
    code, said, tried = failing(bad)
    assert code == 0 and tried == [1, 3, 5] and done(tmp_path) == [1, 5] and "job 3 failed" in said
    monkeypatch.setenv("RANK", "0")
    code, said, tried = failing(bad | {4: ValueError("cut short")})
    assert code == 1 and done(tmp_path) == [0, 1, 2, 5] and sorted(tried) == [0, 2, 3, 4]
    assert "jobs 3, 4 of 4 failed" in said


def test_without_ray_none_is_imported_where_jobs_fail(tmp_path):
    program = f"""
import sys, toy
from ckd_dist.studies import STUDIES
from launch.run import main
working = toy.Squarer.do
toy.Squarer.do = lambda self, number: working(self, number) if number else 1 / 0
main(["square", "--run", {str(tmp_path)!r}, "--recipe", "toy", "--local"], studies=STUDIES | {{"toy": toy.STUDY}})
sys.exit("ray is imported" if "ray" in sys.modules else 0)
"""
    path = os.pathsep.join([str(FOLDER), str(ROOT)])
    ended = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, capture_output=True)
    assert ended.returncode == 0 and b"job 0 of 6 failed, all others are done" in ended.stderr, ended.stderr


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
