"""The whole pipeline at its smallest, by the command line that people type, in this process: `--local`, no Ray."""

import contextlib
import gzip
import hashlib
import io
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ckd_dist.hospital.tables import write_tables
from ckd_dist.record import Ledger
from ckd_dist.runfolder import RunFolder
from ckd_dist.studies import STUDIES
from ckd_dist.studies.disease.runfolder import DiseaseRun
from launch import run as command_line
from launch.choose import choose

# Everything that costs time made small; the phases are all there.
SMALL = [
    "select.absent_labels=allow",
    "prompt.teacher_tokens=384",
    "prompt.student_tokens=128",
    *(f"{part}.tiny.{shape}" for part in ("teacher", "student") for shape in ("hidden=32", "layers=1", "heads=2")),
    "teacher.tiny.vocabulary=600",
    "student.tiny.vocabulary=600",
    "teacher.sft.epochs=1",
    "teacher.labels.epochs=1",
    "student.optim.epochs=1",
    "label.shard_rows=64",
    "evaluate.bootstrap_draws=100",
    "evaluate.timing_samples=4",
]
SYNTHETIC = "synthetic:300"

THREE_LABELS = """
Heart failure:
  use_in_benchmark: true
  type: chronic
  id: 108
High blood pressure:
  use_in_benchmark: true
  type: chronic
  codes: ["401.0", "401.1", "401.9"]
Kidney failure, acute:
  use_in_benchmark: true
  type: acute
  id: 157
"""


DRUG = "CANARYDRUG77"  # of one subject who is learned from, at all of its visits
FEW = "CANARYFEW88"  # of ten such subjects, one fewer than may be told of
FREE_TEXT = "CANARY FREE TEXT 4711"
SUBJECT, VISIT = 770_000_000, 880_000_000  # added to every id: nothing else has nine digits that start so


class Said(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def ckd(*arguments: str | Path) -> Said:
    """`python -m launch.run ARGUMENTS`, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command_line.main([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def passed(said: str) -> list[str]:
    """The stages that a command found done, or not needed, in the order in which it said so."""
    words = ("done already", "not needed by this recipe")
    return [line.split()[0] for line in said.splitlines() if line.endswith(words)]


def go(command: str, run: RunFolder, *overrides: str) -> Said:
    """A stage, or all of them, in a run folder that already has its recipe."""
    return ckd(command, "--run", run.root, "--local", *overrides)


def run_pipeline(folder: Path, source: str, *overrides: str) -> DiseaseRun:
    """The whole pipeline, from nothing."""
    arguments = ["--recipe", "tiny", "--source", source, "--run", folder, "--local", *SMALL, *overrides]
    said = ckd("pipeline", *arguments)
    assert said.code == 0, said.err
    return DiseaseRun(folder)


def copy_of(run: DiseaseRun, folder: Path) -> DiseaseRun:
    return DiseaseRun(Path(shutil.copytree(run.root, folder)))


def recipe_of(run: RunFolder, *overrides: str) -> Any:
    """The recipe that a run folder keeps, with overrides."""
    return choose(STUDIES, run.root, None, None, overrides)[1].recipe


def ledger_of(run: RunFolder, *overrides: str) -> Ledger:
    """The records of a run folder, held against its recipe with overrides."""
    study, context = choose(STUDIES, run.root, None, None, overrides)
    return study.ledger(context.recipe, context.run)


def hashes(run: RunFolder) -> dict[str, str]:
    """sha256 of every file of a run folder, by path, but for the notes to labelers: they have paths and times."""
    made = [file for file in files(run.root) if not file.name.startswith("jobs-")]
    return {str(file.relative_to(run.root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in made}


def times(run: RunFolder) -> dict[str, int]:
    """When every file of a run folder was last written."""
    return {str(file.relative_to(run.root)): file.stat().st_mtime_ns for file in files(run.root)}


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def flip(file: Path, place: float = 0.9) -> None:
    """Another bit at `place` (0 to 1) of a file; its size and, as after a bad disk, its time stay."""
    before, data = file.stat(), bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def hospital(folder: Path, num_subjects: int, seed: int = 1) -> dict[str, pl.DataFrame]:
    """A synthetic hospital's tables on disk and in hand, all text."""
    write_tables(folder, num_subjects, seed)
    return {
        file.name.removesuffix(".csv.gz"): pl.read_csv(file, infer_schema=False) for file in folder.glob("*.csv.gz")
    }


def write_table(folder: Path, name: str, table: pl.DataFrame) -> None:
    """Put a table back, changed."""
    with gzip.open(folder / f"{name}.csv.gz", "wb") as file:
        file.write(table.write_csv().encode())
