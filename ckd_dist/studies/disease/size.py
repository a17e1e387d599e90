"""Estimate how large the stages of the first study will be: counts from the files that exist, the rest by arithmetic.

tokens = samples x their lengths (before the prompt stages: at most the budget)
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.config import values_of
from ckd_dist.ehr.sources import SOURCES
from ckd_dist.engine.cost import (
    Size,
    at_once,
    gigabytes,
    of_parameters,
    operations_per_token,
    parameters,
    seconds_of,
    steps_of_phases,
)
from ckd_dist.schedule import epochs_as_long
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.plan import num_shards
from ckd_dist.source import find_source
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.experiment_stage import student_options
from ckd_dist.studies.disease.experiments import ExperimentOptions, list_experiments
from ckd_dist.studies.disease.folds import folds_of
from ckd_dist.studies.disease.from_run import teacher_run
from ckd_dist.studies.disease.prompts.tokens import TokenTable
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import Seen, read_samples, seen_by
from ckd_dist.studies.disease.variants import VARIANTS


def of_extract(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how many subjects or bytes of tables will be read."""
    found, where = find_source(recipe.extract.source, SOURCES)
    if found.make:
        return Size(f"{int(where):,} synthetic subjects")
    files = [file for file in Path(where).expanduser().rglob("*") if file.suffix in (".csv", ".gz", ".parquet")]
    num_bytes = sum(file.stat().st_size for file in files)
    return Size(f"{gigabytes(num_bytes)} of tables")


def of_select(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how many samples there are."""
    samples = num_samples(run)
    return Size(f"{sum(samples.values()):,} samples" if samples else "")


def of_teacher_prompts(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how many tokens the teacher reads."""
    return _tokens(lengths_of(run, "teacher"), teacher_run(recipe, run).recipe.prompt.teacher_tokens)


def of_student_prompts(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how many tokens the student reads."""
    return _tokens(lengths_of(run, "student"), recipe.prompt.student_tokens)


def _tokens(lengths: np.ndarray | None, budget: int) -> Size:
    """Return how many tokens a role reads; the budget where the prompts are not written yet."""
    return Size(f"at most {budget:,} tokens a sample" if lengths is None else f"{lengths.sum():,} tokens")


def of_teacher(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how large both phases of the teacher are."""
    teacher, model = recipe.teacher, parameters(recipe.teacher, run, "teacher")
    seen = seen_by("teacher", teacher)
    lengths, num_train = lengths_of(run, "teacher", labelled=True), _num_labelled(run, seen)
    if num_train is None:
        return Size(of_parameters(model))
    epochs = (teacher.sft.epochs + teacher.labels.epochs) * max(1, teacher.folds - 1)  # all but one fold read a row
    tokens = epochs * (lengths.sum() if lengths is not None else num_train * recipe.prompt.teacher_tokens)
    num_learnt = [_num_labelled(run, replace(seen, fold=fold)) for fold in folds_of(teacher.folds)]
    steps = sum(steps_of_phases([teacher.sft, teacher.labels], num) for num in num_learnt)
    text = f"{num_train:,} labelled samples, {steps:,} steps, {tokens:,.0f} tokens, {of_parameters(model)}"
    text += f" of each of {len(num_learnt)} teachers" if len(num_learnt) > 1 else ""
    if model is None:
        return Size(text)
    return Size(text, seconds_of(operations_per_token(teacher, model.matmul) * tokens, teacher.workers, steps))


def of_validation(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how many labelled tuning samples the teacher predicts before it labels."""
    if not num_samples(run):
        return Size()
    known = read_samples(run, "tuning", seen_by("student", recipe.student), ["labels"])["labels"].is_not_null()
    return Size(f"{known.sum():,} labelled samples of tuning")


def of_labels(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how many samples the teacher labels, in how many shards."""
    if recipe.label.import_from:
        return Size(f"read from {recipe.label.import_from}")
    trained, samples = teacher_run(recipe, run), num_samples(run)
    model, lengths = parameters(trained.recipe.teacher, trained.run, "teacher"), lengths_of(run, "teacher")
    if not samples:
        return Size()
    num = sum(samples.values())
    tokens = lengths.sum() if lengths is not None else num * trained.recipe.prompt.teacher_tokens
    rows = _rows_of_plans(run, trained.recipe.teacher.folds)
    shards = sum(num_shards(each, recipe.label.shard_rows) for each in rows)
    text = f"{num:,} samples in {shards:,} shards, {tokens:,.0f} tokens"
    return Size(text, seconds_of(2 * model.matmul * tokens, recipe.label.workers, shards) if model else None)


def of_student(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how large the training of the student is, and of its hard-label baseline."""
    student, model, samples = recipe.student, parameters(recipe.student, run, "student"), num_samples(run)
    if not samples:
        return Size(of_parameters(model))
    num, tokens = samples["train"], _tokens_of_student(recipe, run)
    steps = steps_of_phases([student.optim], num)
    text = f"{num:,} samples, {steps:,} steps, {tokens:,.0f} tokens, {of_parameters(model)}"
    arms, all_steps = 1, steps
    if student.hard_baseline:
        num_labelled = _num_labelled(run, seen_by("student", student))
        longer = replace(student.optim, epochs=epochs_as_long(student.optim.epochs, num, num_labelled))
        steps_of_baseline = steps_of_phases([longer], num_labelled)
        arms, all_steps = 2, steps + steps_of_baseline
        text += f", and a hard-label baseline of {steps_of_baseline:,} steps"
    return Size(text, seconds_of(6 * model.matmul * tokens * arms, student.workers, all_steps) if model else None)


def of_experiments(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how many experiments there are, each about as long as the student's training times its effort."""
    student = student_options(recipe, run)
    all_of_them = list_experiments(values_of(recipe.experiments, ExperimentOptions), student)
    trainings = sum(VARIANTS[each.variant].effort for each in all_of_them)
    text = f"{len(all_of_them):,} experiments of {len(recipe.experiments.variants)} variants"
    model, samples = parameters(recipe.student, run, "student"), num_samples(run)
    if model is None or not samples:
        return Size(text)
    tokens, steps = _tokens_of_student(recipe, run), steps_of_phases([recipe.student.optim], samples["train"])
    operations, workers = 6 * model.matmul * tokens * trainings, recipe.experiments.workers
    return Size(text, seconds_of(operations, workers, round(steps * trainings / at_once(workers))))


def of_evaluate(recipe: DiseaseRecipe, run: DiseaseRun) -> Size:
    """Return how many samples the report is about."""
    samples = num_samples(run)
    return Size(f"{samples['held_out']:,} samples" if samples else "")


# --- counts ----------------------------------------------------------------------------------------------------------


def num_samples(run: DiseaseRun) -> dict[str, int]:
    """Count the samples of every split; empty before the select stage is done."""
    if not all(run.samples(split).is_file() for split in SPLITS):
        return {}
    return {split: pl.scan_parquet(run.samples(split)).select(pl.len()).collect().item() for split in SPLITS}


def _rows_of_plans(run: DiseaseRun, num_folds: int) -> list[int]:
    """Count the rows of every plan of soft labels: there is one for each split and fold."""
    subjects = [
        pl.read_parquet(run.samples(split), columns=["subject_id"])["subject_id"].to_numpy() for split in SPLITS
    ]
    return [int(fold.labels(each).sum()) for each in subjects for fold in folds_of(num_folds)]


def _num_labelled(run: DiseaseRun, seen: Seen) -> int | None:
    """Count the training samples whose labels are seen; None before the select stage is done."""
    if not run.samples("train").is_file():
        return None
    labels = read_samples(run, "train", seen, columns=["labels"])["labels"]
    return len(labels) - labels.null_count()


def _tokens_of_student(recipe: DiseaseRecipe, run: DiseaseRun) -> float:
    """Count the tokens that a student reads in training; where there are no texts yet, at most as many."""
    lengths = lengths_of(run, "student", splits=("train",))
    a_pass = num_samples(run)["train"] * recipe.prompt.student_tokens if lengths is None else lengths.sum()
    return recipe.student.optim.epochs * a_pass


def lengths_of(
    run: DiseaseRun, role: str, splits: tuple[str, ...] = SPLITS, labelled: bool = False
) -> np.ndarray | None:
    """Read the tokens of every prompt; None before its stage is done.  labelled: of training samples with labels."""
    splits = ("train",) if labelled else splits
    if not all(run.tokens(split, role).is_file() for split in splits):
        return None
    lengths = np.concatenate([TokenTable.open(run.tokens(split, role)).lengths for split in splits])
    if labelled:
        answers = pl.read_parquet(run.prompts("train", role), columns=["answer"])["answer"].is_not_null().to_numpy()
        lengths = lengths[answers] if len(answers) == len(lengths) else lengths
    return lengths
