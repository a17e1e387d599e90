"""The third study at its smallest, by the command line, and a folder of synthetic findings to mark or break."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.studies.concepts.grid import Experiment
from ckd_dist.studies.concepts.result import Result
from ckd_dist.studies.concepts.runfolder import ConceptsRun
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


def run_pipeline(run: ConceptsRun, source: str, *overrides: str, local: bool = True) -> Said:
    """The whole pipeline, from nothing."""
    arguments = ["--recipe", "concepts_tiny", "--source", source, "--run", run.root, *(["--local"] if local else [])]
    said = ckd("pipeline", *arguments, *SMALL, *overrides)
    assert said.code == 0, said.err
    return said


def results(run: ConceptsRun) -> dict[Experiment, Result]:
    """What every experiment of a run found."""
    found = [Result.read(file) for file in sorted(run.experiments.iterdir())]
    return {result.experiment: result for result in found}


def assert_same_results(found: dict[Experiment, Result], wanted: dict[Experiment, Result]) -> None:
    """The same experiments, and the same probabilities and curves to the bit."""
    assert found.keys() == wanted.keys()
    for experiment, result in wanted.items():
        assert np.array_equal(found[experiment].case_id_N, result.case_id_N), experiment
        assert np.array_equal(found[experiment].probabilities_NK, result.probabilities_NK), experiment
        assert found[experiment].curve == result.curve, experiment


def metrics(run: ConceptsRun) -> dict:
    return json.loads((run.report / "metrics.json").read_text())


def findings(folder: Path, num_cases: int = 200) -> dict[str, pl.DataFrame]:
    """Two departments' findings on disk and in hand, all text."""
    write_sites(folder, num_cases, seed=1)
    return {name: pl.read_csv(folder / f"{name}.csv.gz", infer_schema=False) for name in FILES}
