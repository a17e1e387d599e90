"""Hold what the experiments predict for held_out side by side: for the report, and for the command `compare`."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from ckd_dist.config import values_of
from ckd_dist.record import read
from ckd_dist.report.bootstrap import resample
from ckd_dist.studies.disease import STUDY, has_teacher
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import ExperimentOptions, budgets_of
from ckd_dist.studies.disease.held_out import read_held_out, read_labelled
from ckd_dist.studies.disease.report.claims import check_claims
from ckd_dist.studies.disease.report.experiments import ExperimentTables, compare_variants, score_all
from ckd_dist.studies.disease.report.measure import held_out_size
from ckd_dist.studies.disease.report.terminal import as_text
from ckd_dist.studies.disease.runfolder import DiseaseRun


def experiment_tables(recipe: Any, run: DiseaseRun) -> ExperimentTables | None:
    """Score and compare what the finished experiments predict for held_out; None where there are none."""
    finished = read(run, "experiment")
    if not recipe.experiments.variants or finished is None:
        return None
    results = [Result.read(run.root / path) for path in finished.files]
    held_out, settings = read_held_out(run), recipe.evaluate
    ids_N = pl.read_parquet(run.samples("held_out"))["sample_id"].to_numpy()[read_labelled(run, "held_out").rows]
    for result in results:
        if not np.array_equal(result.sample_id_N, ids_N):
            raise ValueError(
                f"experiment {result.experiment.name} is of other visits than held_out: run experiment again"
            )
    draws = resample(held_out.subject_N, settings.bootstrap_draws, settings.seed)
    size = held_out_size(held_out, len(held_out.label_names))
    budgets = budgets_of(values_of(recipe.experiments, ExperimentOptions))
    scores = score_all(results, held_out.labels_NK, draws)
    tables = compare_variants(scores, budgets, finished.costs["idle_share"], enough=not size.too_small)
    remark = taught_here(recipe, finished.numbers["teacher_learned_here"]) if any(budgets) else ""
    tables = replace(tables, remark=remark, advice=None if remark else tables.advice)
    checked = check_claims(recipe.experiments.claims, scores, budgets[0], tables.unclaimed)
    return replace(tables, checked=checked)


def taught_here(recipe: Any, learned_here: bool) -> str:
    """Say that the teacher learned from this hospital's patients, where it did: then a budget is not all."""
    if not learned_here:
        return ""
    teacher = "The other run's teacher learned from patients of this run"
    if has_teacher(recipe):
        most = recipe.teacher.labelled.train
        whose = "every training patient" if most is None else f"its own choice (teacher.labelled.train={most:g})"
        teacher = f"The teacher is this run's own and saw the labels of {whose}"
    return f"{teacher}, whatever a budget says: there is no advice."


def compare(recipe: Any, run: DiseaseRun) -> str:
    """Return the tables of the experiments as text.  Raise ValueError where this recipe's are not done."""
    state = STUDY.ledger(recipe, run).state("experiment")
    if not recipe.experiments.variants or state.state == "missing":
        raise ValueError(f"{run.root} has no finished experiments: give experiments.variants, and run experiment")
    if state.state != "done":
        raise ValueError(f"{run.root}: its experiments are {state.state} ({state.why}): run experiment again")
    return as_text(experiment_tables(recipe, run))
