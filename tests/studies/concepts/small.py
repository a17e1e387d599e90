"""The third study at its smallest: a run of two synthetic departments, by the study's own stages, without Ray."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import polars as pl

from ckd_dist.config import Tiny
from ckd_dist.engine.experiments import path_of
from ckd_dist.record import read
from ckd_dist.softlabels.plan import Plan
from ckd_dist.studies.concepts import STUDY
from ckd_dist.studies.concepts.cases.table import CASES, CONCEPTS
from ckd_dist.studies.concepts.config import ConceptRecipe, PatientModel
from ckd_dist.studies.concepts.experiment import ExperimentWorker
from ckd_dist.studies.concepts.grid import Experiment, ExperimentPlan
from ckd_dist.studies.concepts.recipes import concepts_tiny
from ckd_dist.studies.concepts.result import Result
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.stages import missing_experiments, planned_experiments
from ckd_dist.study import Context, begin_jobs, finish_jobs, resolve, run_stage

TEACHER, STUDENT, ONE_HOT = "tiny teacher", "student", "one-hot"
REGIMES = ("local", "shared", "frozen", "full", "thawed", "pooled", "adversarial")
TINY = Tiny(hidden=32, layers=1, heads=2, vocabulary=500)


def small() -> ConceptRecipe:
    """concepts_tiny with everything that costs time made small; every regime, a size and a curve are there."""
    recipe = with_sources(concepts_tiny(), "synthetic:200")
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


def with_sources(recipe: ConceptRecipe, *sources: str) -> ConceptRecipe:
    """The same recipe on other sources."""
    return replace(recipe, sites=replace(recipe.sites, sources=sources))


SMALL = small()


def grid(recipe: ConceptRecipe, **changes) -> ConceptRecipe:
    """The same recipe with another grid."""
    return replace(recipe, grid=replace(recipe.grid, **changes))


def do_stage(name: str, recipe: ConceptRecipe, run: ConceptsRun) -> None:
    """Run one stage to its end, all its jobs by one worker."""
    stage, context = STUDY.stages[name], Context(recipe, run)
    if stage.runs != "jobs":
        run_stage(STUDY, stage, context)
        return
    if STUDY.ledger(recipe, run).is_done(name):
        return
    context, numbers = begin_jobs(STUDY, stage, context)
    if numbers:
        do(resolve(stage.work).worker(context, "cpu"), numbers)
    finish_jobs(stage, context)


def build(recipe: ConceptRecipe, folder: Path) -> ConceptsRun:
    """Everything before the grid."""
    run = ConceptsRun(folder)
    for name in ("read", "embed", "distill", "tabulate"):
        do_stage(name, recipe, run)
    return run


def missing(name: str, recipe: ConceptRecipe, run: ConceptsRun) -> list[int]:
    """The jobs of a stage that are not done."""
    if STUDY.ledger(recipe, run).is_done(name):
        return []
    return begin_jobs(STUDY, STUDY.stages[name], Context(recipe, run))[1]


def fork(run: ConceptsRun, folder: Path) -> ConceptsRun:
    """Another run folder with the same cases, concepts and tables, and no experiment."""
    for part in ("concepts", "embeddings"):
        copytree(run.root / part, folder / part)
    return ConceptsRun(folder)


def change(run: ConceptsRun, cases: pl.DataFrame | None = None, concepts: pl.DataFrame | None = None) -> None:
    """Give a fork other cases or concepts."""
    if cases is not None:
        cases.cast(dict(CASES)).select(CASES.names()).write_parquet(run.cases)
    if concepts is not None:
        concepts.cast(dict(CONCEPTS)).select(CONCEPTS.names()).write_parquet(run.concepts)


def turned(cases: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
    """The same cases, but of those that `which` names every outcome is the other one."""
    other = 1 - pl.col("outcomes").list.to_array(len(cases["outcomes"][0]))
    return cases.with_columns(pl.when(which).then(other.arr.to_list()).otherwise(pl.col("outcomes")).alias("outcomes"))


def plans_of(recipe: ConceptRecipe, run: ConceptsRun) -> list[ExperimentPlan]:
    """The experiments of a recipe, in running order, with what shapes each."""
    return planned_experiments(Context(recipe, run)).plans


def worker_of(recipe: ConceptRecipe, run: ConceptsRun) -> ExperimentWorker:
    """A worker that can do any experiment of a recipe."""
    return ExperimentWorker(run, plans_of(recipe, run), "cpu")


def do(worker, numbers: Iterable[int]) -> None:
    """Do jobs in this order."""
    for number in numbers:
        worker.do(number)


def results(recipe: ConceptRecipe, run: ConceptsRun) -> dict[Experiment, Result]:
    """Of all experiments that are there, weights included."""
    files = {plan.experiment: path_of(run.experiments, plan.experiment) for plan in plans_of(recipe, run)}
    return {experiment: Result.read(file, weights=True) for experiment, file in files.items() if file.is_file()}


def undone(recipe: ConceptRecipe, run: ConceptsRun) -> set[Experiment]:
    """The experiments that are not done from these very inputs."""
    plans = plans_of(recipe, run)
    return {plans[number].experiment for number in missing_experiments(Context(recipe, run))}


def numbers_where(worker: ExperimentWorker, **like) -> list[int]:
    """Of the experiments that have these values."""
    own = [plan.experiment for plan in worker.plans]
    return [i for i, experiment in enumerate(own) if all(getattr(experiment, k) == v for k, v in like.items())]


def plans_where(worker: ExperimentWorker, **like) -> list[ExperimentPlan]:
    """The plans of the experiments that have these values."""
    return [worker.plans[number] for number in numbers_where(worker, **like)]


def plan_of(run: ConceptsRun, name: str = TEACHER) -> Plan:
    """The plan of an embedding's vectors."""
    return Plan.open(run.softlabels, read(run, "embed").numbers[name])


def same(one: Result, other: Result) -> bool:
    """Whether two results say the same, to the bit."""
    return (
        one.probabilities_NK.tobytes() == other.probabilities_NK.tobytes()
        and (one.curve, one.numbers) == (other.curve, other.numbers)
        and same_weights(one.weights, other.weights)
    )


def same_weights(one, other) -> bool:
    """Whether two state dicts are equal, to the bit."""
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def bce(outcomes_NK: np.ndarray, logits_NK: np.ndarray) -> float:
    """Mean binary cross-entropy, plainly."""
    z, y = logits_NK.astype(np.float64), outcomes_NK
    return float(np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))))
