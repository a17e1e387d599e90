"""The third study at its smallest: a run of two made-up departments, by the pipeline's own functions, without Ray."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import polars as pl

from ckd_dist import recipes, stages
from ckd_dist.config import Tiny
from ckd_dist.schema import CASES, CONCEPTS, Run
from ckd_dist.softlabels.plan import Plan
from ckd_dist.studies.concepts import stages as pipeline_concepts
from ckd_dist.studies.concepts.config import ConceptRecipe, PatientModel
from ckd_dist.studies.concepts.experiment import Planned, Worker
from ckd_dist.studies.concepts.grid import Cell, Result, path_of
from ckd_dist.world import World

TEACHER, STUDENT, ONE_HOT = "tiny teacher", "student", "one-hot"
REGIMES = ("local", "shared", "frozen", "full", "thawed", "pooled", "adversarial")
TINY = Tiny(hidden=32, layers=1, heads=2, vocabulary=500)


def small() -> ConceptRecipe:
    """concepts_tiny with everything that costs time made small; every regime, a size and a curve are there."""
    recipe = recipes.with_source(recipes.load("concepts_tiny"), "synthetic:200")
    model = replace(recipe.embed.models[0], tiny=TINY, synonyms=None)
    return replace(
        recipe,
        embed=replace(recipe.embed, models=(model,), phrases=None, shard_rows=50, random=None),
        student=replace(recipe.student, tiny=TINY, optim=replace(recipe.student.optim, epochs=2)),
        grid=replace(
            recipe.grid,
            models=(PatientModel(filters=8), PatientModel(kind="transformer", filters=8, layers=1, heads=2)),
            regimes=REGIMES,
            pairs=("north->south",),
            seeds=1,
            sizes=(40,),
            steps_curve=1,
            rates=(),
            train=replace(recipe.grid.train, epochs=2),
            tune=replace(recipe.grid.tune, epochs=1),
        ),
    )


def grid(recipe: ConceptRecipe, **changes) -> ConceptRecipe:
    """The same recipe with another grid."""
    return replace(recipe, grid=replace(recipe.grid, **changes))


def build(recipe: ConceptRecipe, folder: Path) -> Run:
    """Everything before the grid."""
    run = Run(folder)
    pipeline_concepts.read(recipe, run)
    jobs = pipeline_concepts.JOBS["embed"]
    missing = jobs.missing(recipe, run)
    worker = jobs.worker(recipe, run, "cpu")
    for number in missing:
        worker.do(number)
    jobs.finish(recipe, run)
    pipeline_concepts.distill(recipe, run, World(0, 1))
    pipeline_concepts.tabulate(recipe, run)
    return run


def twin(run: Run, folder: Path) -> Run:
    """Another run folder with the same cases, concepts and tables, and no cell."""
    for part in ("concepts", "embeddings"):
        copytree(run.root / part, folder / part)
    return Run(folder)


def change(run: Run, cases: pl.DataFrame | None = None, concepts: pl.DataFrame | None = None) -> None:
    """Give a twin other cases or concepts."""
    if cases is not None:
        cases.cast(dict(CASES)).select(CASES.names()).write_parquet(run.cases)
    if concepts is not None:
        concepts.cast(dict(CONCEPTS)).select(CONCEPTS.names()).write_parquet(run.concepts)


def turned(cases: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
    """The same cases, but of those that `which` names every outcome is the other one."""
    other = 1 - pl.col("outcomes").list.to_array(len(cases["outcomes"][0]))
    return cases.with_columns(pl.when(which).then(other.arr.to_list()).otherwise(pl.col("outcomes")).alias("outcomes"))


def do(worker: Worker, numbers: Iterable[int]) -> None:
    for number in numbers:
        worker.do(number)


def results(recipe: ConceptRecipe, run: Run) -> dict[Cell, Result]:
    """Of all cells that are there, weights included."""
    files = {cell: path_of(run.cells, cell) for cell in Planned(recipe, run).cells}
    return {cell: Result.read(file, weights=True) for cell, file in files.items() if file.is_file()}


def numbers_where(worker: Worker, **like) -> list[int]:
    """Of the cells that have these values."""
    return [i for i, cell in enumerate(worker.planned.cells) if all(getattr(cell, k) == v for k, v in like.items())]


def plan_of(recipe: ConceptRecipe, run: Run, name: str = TEACHER) -> Plan:
    return Plan.open(run.softlabels, stages.read(run, "embed").numbers[name]["plan"])


def bce(outcomes_NK: np.ndarray, logits_NK: np.ndarray) -> float:
    """Mean binary cross-entropy, plainly."""
    z, y = logits_NK.astype(np.float64), outcomes_NK
    return float(np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))))
