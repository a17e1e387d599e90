"""The stage of experiments: which are missing, who does them, what is left of them.  An experiment is a job."""

from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ckd_dist.config import values_of
from ckd_dist.engine.experiments import costs_of, missing, path_of
from ckd_dist.files import digest_of
from ckd_dist.models.base import base_model
from ckd_dist.models.losses import Mixing
from ckd_dist.record import read
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.experiment import ExperimentWorker, Material
from ckd_dist.studies.disease.experiment_checks import check_experiments, labelled_subjects
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import (
    LEARNED,
    ExperimentOptions,
    ExperimentPlan,
    StudentOptions,
    plan_experiments,
)
from ckd_dist.studies.disease.from_run import other_run, teacher_run, teachers_of
from ckd_dist.studies.disease.from_run_identity import labels_of
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import read_samples, seen_by
from ckd_dist.studies.disease.shared_patients import reads_the_same
from ckd_dist.studies.disease.soft_labels import open_plans, read_in_order
from ckd_dist.studies.disease.variants import VARIANTS
from ckd_dist.study import Context, Jobs, Outcome


def student_options(recipe: Any, run: DiseaseRun) -> StudentOptions:
    """Return how every student is made and trained."""
    settings = recipe.student
    return StudentOptions(
        base_model(run, "student", settings.base),
        settings.revision,
        recipe.prompt.student_tokens,
        settings.dtype,
        settings.optim,
        values_of(settings.loss, Mixing),
        settings.loss.unlabelled_weight,
        recipe.label.temperature,
    )


def planned(context: Context) -> list[ExperimentPlan]:
    """Return the experiments in running order."""
    recipe, run, inputs = context.recipe, context.run, context.inputs
    options = values_of(recipe.experiments, ExperimentOptions)
    base = {name: context.fields[name] for name in ("student.base", "student.base_files")}
    read_of = {"student": digest_of([inputs["select"], inputs["prompt_student"], base]), "teacher": inputs["label"]}
    if any(VARIANTS[name].needs == "other run" for name in options.variants):
        read_of["other run"] = digest_of(labels_of(teacher_run(recipe, run)))
    student, seen = student_options(recipe, run), seen_by("student", recipe.student)
    return plan_experiments(options, student, seen, labelled_subjects(run), read_of)


def missing_experiments(context: Context) -> list[int]:
    """Return the experiments that are not done yet.  Raise ValueError where one cannot be done.

    The texts, before which experiments are checked, may have been written for a recipe that asked for others.
    """
    check_experiments(context.recipe, context.run)
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
    numbers = {"experiments": len(results), "updates": updates, "teacher_learned_here": learned_here(context)}
    return Outcome(files, numbers, costs_of(results))


def learned_here(context: Context) -> bool:
    """Say whether the teacher learned from patients of this run: its own did, and one of the same patients."""
    recipe, run = context.recipe, context.run
    if recipe.label.from_run is None:
        return recipe.label.import_from is None
    return reads_the_same(run, other_run(recipe).run)


EXPERIMENT = Jobs(missing_experiments, experiment_worker, finish_experiments)


def samples_elsewhere(recipe: Any, run: DiseaseRun) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read train and tuning of the other run, with the labels that its teacher saw."""
    other = teacher_run(recipe, run)
    seen = seen_by("teacher", other.recipe.teacher)
    train, tuning = (read_samples(other.run, split, seen) for split in LEARNED)
    return train, tuning


def teacher_logits(recipe: Any, run: DiseaseRun) -> dict[str, np.ndarray]:
    """Read the teachers' raw logits of every split, in the order of the tables."""
    plans, teachers = read(run, "label").numbers, teachers_of(recipe, run)
    return {split: read_in_order(run, open_plans(run, teachers, plans, split)) for split in SPLITS}
