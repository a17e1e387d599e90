"""The stage of experiments: which are missing, who does them, what is left of them.  An experiment is a job."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ckd_dist.config import values_of
from ckd_dist.engine.experiments import costs_of, missing, path_of
from ckd_dist.files import digest_of
from ckd_dist.hospital import law
from ckd_dist.models.base import base_model
from ckd_dist.models.losses import Mixing
from ckd_dist.record import read
from ckd_dist.schema import SPLITS
from ckd_dist.source import is_synthetic
from ckd_dist.studies.disease.experiment import FOLDS, LEARNED, ExperimentWorker, Material
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import (
    ExperimentOptions,
    ExperimentPlan,
    StudentOptions,
    check_budgets,
    plan_experiments,
    seen_with,
)
from ckd_dist.studies.disease.folds import folds_of
from ckd_dist.studies.disease.from_run import labels_of, teacher_run, teachers_of
from ckd_dist.studies.disease.label import read_soft_labels
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import hide, read_samples, seen_by
from ckd_dist.studies.disease.soft_sources import of_others
from ckd_dist.studies.disease.variants import VARIANTS, Need, check_variants
from ckd_dist.study import Context, Jobs, Outcome


def what_is_there(context: Context) -> list[Need]:
    """Return what variants may need and this run has."""
    recipe, names = context.recipe, context.run.label_names()
    there: dict[Need, bool] = {
        "teacher": recipe.label.import_from is None,
        "other run": recipe.label.from_run is not None,
        "law": is_synthetic(recipe.extract.source) and law.COLUMN.keys() >= set(names),
    }
    return [need for need, has in there.items() if has]


def check_experiments(context: Context) -> None:
    """Raise ValueError where an experiment that is asked for cannot be done.  Samples are selected by then."""
    asked = context.recipe.experiments
    check_variants(asked.variants, what_is_there(context))
    if not asked.variants:
        return
    check_texts(context.recipe)
    check_budgets(asked.budgets, labelled_subjects(context.run)["train"])
    samples = {split: pl.read_parquet(context.run.samples(split), columns=["subject_id", "labels"]) for split in SPLITS}
    if not samples["held_out"]["labels"].is_not_null().any():
        raise ValueError("experiments: held_out has no labelled visit to score them on: bring more subjects")
    if "permuted" in asked.variants:
        for split in LEARNED:
            of_others(samples[split]["subject_id"], 0)
    if "own_crossfit" in asked.variants:
        check_crossfitting(context, samples["train"])


def check_crossfitting(context: Context, train: pl.DataFrame) -> None:
    """Raise ValueError where all labels that a seed sees are of one fold, whose teacher then learns from nobody."""
    asked, own = context.recipe.experiments, replace(seen_by("student", context.recipe.student), noise=0.0)
    budgets = asked.budgets or (None,)
    for budget in budgets if asked.controls == "all" else budgets[:1]:
        for seed in range(asked.seeds):
            seen = hide(train, "train", seen_with(own, budget, seed, 0)).drop_nulls("labels")["subject_id"].to_numpy()
            if not all(fold.learns_from(seen).any() for fold in folds_of(FOLDS)):
                raise ValueError(
                    f"experiments: own_crossfit has a fold without a label to learn from at {len(set(seen))} labelled "
                    "patients: ask for more (experiments.budgets), or leave it out"
                )


def check_texts(recipe: Any) -> None:
    """Raise ValueError where experiments hide labels from which the student's texts were made."""
    hides = seen_by("student", recipe.student).hides("train")
    varies = bool(recipe.experiments.budgets) or (hides and recipe.experiments.seeds > 1)
    if varies and recipe.prompt.efficacies and "efficacies" not in recipe.prompt.teacher_only:
        raise ValueError(
            "experiments: the student's texts name treatments that were fitted on labels which some budgets or seeds "
            "hide: give prompt.efficacies=0 or prompt.teacher_only=[efficacies]"
        )


def planned(context: Context) -> list[ExperimentPlan]:
    """Return the experiments in running order.  Raise ValueError where one cannot be done."""
    recipe, run, inputs = context.recipe, context.run, context.inputs
    options = values_of(recipe.experiments, ExperimentOptions)
    check_variants(options.variants, what_is_there(context))
    settings = recipe.student
    student = StudentOptions(
        base_model(run, "student", settings.base),
        settings.revision,
        recipe.prompt.student_tokens,
        settings.dtype,
        settings.optim,
        values_of(settings.loss, Mixing),
        settings.loss.unlabelled_weight,
        recipe.label.temperature,
    )
    base = {name: context.fields[name] for name in ("student.base", "student.base_files")}
    read_of = {"student": digest_of([inputs["select"], inputs["prompt_student"], base]), "teacher": inputs["label"]}
    if any(VARIANTS[name].needs == "other run" for name in options.variants):
        read_of["other run"] = digest_of(labels_of(teacher_run(recipe, run)))
    return plan_experiments(options, student, seen_by("student", settings), labelled_subjects(run), read_of)


def labelled_subjects(run: DiseaseRun) -> dict[str, int]:
    """Count the subjects that have a labelled visit, of train and tuning."""
    found = {}
    for split in LEARNED:
        samples = pl.scan_parquet(run.samples(split)).filter(pl.col("labels").is_not_null())
        found[split] = samples.select(pl.col("subject_id").n_unique()).collect().item()
    return found


def missing_experiments(context: Context) -> list[int]:
    """Return the experiments that are not done yet."""
    return missing(context.run.experiments, planned(context))


def experiment_worker(context: Context, device: str) -> ExperimentWorker:
    """samples, texts and soft labels -> results: return one worker that can do any experiment."""
    recipe, run = context.recipe, context.run
    needs = {VARIANTS[name].needs for name in recipe.experiments.variants}
    teacher = teacher_logits(recipe, run) if "teacher" in needs else {}
    elsewhere = partial(samples_elsewhere, recipe, run) if "other run" in needs else None
    return ExperimentWorker(run, planned(context), Material(teacher, elsewhere), device)


def finish_experiments(context: Context) -> Outcome:
    """Read every experiment's result, and how busy the workers were."""
    files = [path_of(context.run.experiments, plan.experiment) for plan in planned(context)]
    results = [Result.read(file) for file in files]
    updates = max((int(result.numbers.get("updates", 0)) for result in results), default=0)
    return Outcome(files, {"experiments": len(results), "updates": updates}, costs_of(results))


EXPERIMENT = Jobs(missing_experiments, experiment_worker, finish_experiments)


def samples_elsewhere(recipe: Any, run: DiseaseRun) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read train and tuning of the other run, with the labels that its teacher saw."""
    other = teacher_run(recipe, run)
    seen = seen_by("teacher", other.recipe.teacher)
    train, tuning = (read_samples(other.run, split, seen) for split in LEARNED)
    return train, tuning


def teacher_logits(recipe: Any, run: DiseaseRun) -> dict[str, np.ndarray]:
    """Read the teachers' raw logits of every split, in the order of the tables."""
    plans, teachers, logits = read(run, "label").numbers, teachers_of(recipe, run), {}
    for split in SPLITS:
        sample_id_N, logits_NK = read_soft_labels(run, teachers, plans, split)
        logits[split] = logits_NK[np.argsort(sample_id_N)]
    return logits
