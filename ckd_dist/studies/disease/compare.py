"""Hold what the experiments predict for held_out side by side: for the report, and for the command `compare`."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from ckd_dist.config import values_of
from ckd_dist.record import read
from ckd_dist.report.bootstrap import resample
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import ExperimentOptions, budgets_of
from ckd_dist.studies.disease.held_out import read_held_out, read_labelled
from ckd_dist.studies.disease.report.claims import check_claims
from ckd_dist.studies.disease.report.experiments import ExperimentTables, compare_variants
from ckd_dist.studies.disease.report.helps import as_text
from ckd_dist.studies.disease.report.measure import held_out_size
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
    tables = compare_variants(results, budgets, held_out.labels_NK, draws, finished.costs, enough=not size.too_small)
    return replace(tables, checked=check_claims(recipe.experiments.claims, tables))


def compare(recipe: Any, run: DiseaseRun) -> str:
    """Return the tables of the experiments as text.  Raise ValueError where none are done."""
    tables = experiment_tables(recipe, run)
    if tables is None:
        raise ValueError(f"{run.root} has no finished experiments: give experiments.variants, and run experiment")
    return as_text(tables)
