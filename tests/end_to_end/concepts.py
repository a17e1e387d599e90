"""The third study at its smallest, by the command line, and a folder of made-up findings to mark or break."""

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.schema import Run
from ckd_dist.studies.concepts.grid import Cell, Result
from ckd_dist.studies.concepts.synthetic.sites import FILES, write_sites
from tests.end_to_end.small import Said, ckd

TINY = "{hidden: 32, layers: 1, heads: 2, vocabulary: 600}"
TEACHER = f"name: tiny teacher, pooling: mean, tiny: {TINY}"
SMALL = [
    f"embed.models=[{{{TEACHER}}}]",
    *(f"student.tiny.{shape}" for shape in ("hidden=32", "layers=1", "heads=2")),
    "student.optim.epochs=2",
    "grid.pairs=['north->south']",
    "grid.models=[{kind: max}]",
    "grid.seeds=1",
    "grid.sizes=[30]",
    "grid.steps_curve=1",
    "grid.train.epochs=2",
    "grid.tune.epochs=1",
    "evaluate.bootstrap_draws=100",
]
SYNTHETIC = "synthetic:200"


def travel(run: Run, source: str, *overrides: str, local: bool = True) -> Said:
    """The whole road, from nothing."""
    arguments = ["--recipe", "concepts_tiny", "--source", source, "--run", run.root, *(["--local"] if local else [])]
    said = ckd("pipeline", *arguments, *SMALL, *overrides)
    assert said.code == 0, said.err
    return said


def results(run: Run) -> dict[Cell, Result]:
    """What every cell of a run found."""
    found = [Result.read(file) for file in sorted(run.cells.iterdir())]
    return {result.cell: result for result in found}


def assert_same_results(found: dict[Cell, Result], wanted: dict[Cell, Result]) -> None:
    """The same cells, and the same probabilities and curves to the bit."""
    assert found.keys() == wanted.keys()
    for cell, result in wanted.items():
        assert np.array_equal(found[cell].case_id_N, result.case_id_N), cell
        assert np.array_equal(found[cell].probabilities_NK, result.probabilities_NK), cell
        assert found[cell].curve == result.curve, cell


def metrics(run: Run) -> dict:
    return json.loads((run.report / "metrics.json").read_text())


def findings(folder: Path, num_cases: int = 200) -> dict[str, pl.DataFrame]:
    """Two departments' findings on disk and in hand, all text."""
    write_sites(folder, num_cases, seed=1)
    return {name: pl.read_csv(folder / f"{name}.csv.gz", infer_schema=False) for name in FILES}


def put(folder: Path, name: str, table: pl.DataFrame) -> None:
    """Put a table back, changed."""
    with gzip.open(folder / f"{name}.csv.gz", "wb") as file:
        file.write(table.write_csv().encode())
