"""Refuse experiments that cannot be done, or would not show what they seem to, before anything is trained."""

from dataclasses import replace
from typing import Any

import polars as pl

from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.experiments import FOLDS, LEARNED, check_budgets, seen_with
from ckd_dist.studies.disease.folds import folds_of
from ckd_dist.studies.disease.from_run import other_run
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import hide, seen_by
from ckd_dist.studies.disease.shared_patients import reads_the_same
from ckd_dist.studies.disease.soft_sources import is_law_known, permuted_rows
from ckd_dist.studies.disease.variants import Need, check_variants


def check_experiments(recipe: Any, run: DiseaseRun) -> None:
    """Raise ValueError where an experiment that is asked for cannot be done.  Samples are selected by then."""
    asked = recipe.experiments
    if not asked.variants:
        return
    check_variants(asked.variants, what_is_there(recipe))
    if "elsewhere" in asked.variants and reads_the_same(run, other_run(recipe).run):
        check_variants(["elsewhere"], [])
    check_budgets(asked.budgets, labelled_subjects(run)["train"])
    samples = {split: pl.read_parquet(run.samples(split), columns=["subject_id", "labels"]) for split in SPLITS}
    if not samples["held_out"]["labels"].is_not_null().any():
        raise ValueError("experiments: held_out has no labelled visit to score them on: bring more subjects")
    if "permuted" in asked.variants:
        for split in LEARNED:
            permuted_rows(samples[split], seed=0)
    if "own_crossfit" in asked.variants:
        check_crossfitting(recipe, samples["train"])


def what_is_there(recipe: Any) -> list[Need]:
    """Return what variants may need and a run of this recipe has."""
    there: dict[Need, bool] = {
        "teacher": recipe.label.import_from is None,
        "other run": recipe.label.from_run is not None,
        "law": is_law_known(recipe.extract.source, recipe.select.labels, recipe.select.history_visits),
    }
    return [need for need, has in there.items() if has]


def check_crossfitting(recipe: Any, train: pl.DataFrame) -> None:
    """Raise ValueError where all labels that a seed sees are of one fold, whose teacher then learns from nobody."""
    asked, own = recipe.experiments, replace(seen_by("student", recipe.student), noise=0.0)
    budgets = asked.budgets or (None,)
    for budget in budgets if asked.controls == "all" else budgets[:1]:
        for seed in range(asked.seeds):
            seen = hide(train, "train", seen_with(own, budget, seed, 0)).drop_nulls("labels")["subject_id"].to_numpy()
            if not all(fold.learns_from(seen).any() for fold in folds_of(FOLDS)):
                raise ValueError(
                    f"experiments: own_crossfit has a fold without a label to learn from at {len(set(seen))} labelled "
                    "patients: ask for more (experiments.budgets), or leave it out"
                )


def labelled_subjects(run: DiseaseRun) -> dict[str, int]:
    """Count the subjects that have a labelled visit, of train and tuning."""
    found = {}
    for split in LEARNED:
        samples = pl.scan_parquet(run.samples(split)).filter(pl.col("labels").is_not_null())
        found[split] = samples.select(pl.col("subject_id").n_unique()).collect().item()
    return found
