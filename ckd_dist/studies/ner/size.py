"""Estimate how large the stages of the second study will be: counts from existing files, the rest by arithmetic."""

from pathlib import Path

import polars as pl

from ckd_dist.engine.cost import (
    Size,
    gigabytes,
    of_parameters,
    operations_per_token,
    parameters,
    seconds_of,
    steps_of_phases,
)
from ckd_dist.schema import SPLITS
from ckd_dist.source import find_source
from ckd_dist.studies.ner.config import Labelers, NerRecipe
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.studies.ner.sources import SOURCES
from ckd_dist.studies.ner.windows import Windows


def of_read(recipe: NerRecipe, run: NerRun) -> Size:
    """Return how many patients or bytes of notes will be read."""
    found, where = find_source(recipe.notes.source, SOURCES)
    if found.make:
        return Size(f"notes of {int(where):,} synthetic patients")
    path = Path(where).expanduser()
    files = [path] if path.is_file() else path.rglob("*")
    return Size(f"{gigabytes(sum(file.stat().st_size for file in files if file.is_file()))} of files")


def of_windows(recipe: NerRecipe, run: NerRun) -> Size:
    """Return how many notes are cut into windows."""
    notes = num_notes(run)
    return Size(f"{sum(notes.values()):,} notes" if notes else "")


def of_teacher(recipe: NerRecipe, run: NerRun) -> Size:
    """Return how large the training of the teacher is: on the annotated part of train, or less of it."""
    teacher, model = recipe.teacher, parameters(recipe.teacher, run, "teacher")
    windows = training_windows(run, "teacher")
    if windows is None or model is None:
        return Size(of_parameters(model))
    annotated = pl.scan_parquet(run.notes("train")).select(pl.col("mentions").is_not_null().sum()).collect().item()
    share = min(annotated, recipe.notes.gold_documents or annotated) / max(1, num_notes(run)["train"])
    num, tokens = round(share * len(windows)), teacher.optim.epochs * share * int(windows.lengths.sum())
    steps = steps_of_phases([teacher.optim], num)
    text = f"about {num:,} windows, {steps:,} steps, {tokens:,.0f} tokens, {of_parameters(model)}"
    return Size(text, seconds_of(operations_per_token(teacher, model.matmul) * tokens, teacher.workers, steps))


def of_labels(recipe: NerRecipe, run: NerRun) -> Size:
    """Return how many notes how many labelers label."""
    labelers, notes = num_labelers(recipe.label), num_notes(run)
    return Size(f"{labelers} labelers, {sum(notes.values()):,} notes each" if notes else f"{labelers} labelers")


def of_combination(recipe: NerRecipe, run: NerRun) -> Size:
    """Return how many subsets of labelers a search tries."""
    labelers = num_labelers(recipe.label)
    return Size(f"{2**labelers - 1} subsets of {labelers} labelers" if recipe.combine.by == "search" else "")


def of_student(recipe: NerRecipe, run: NerRun) -> Size:
    """Return how large the training of all students is."""
    student, model = recipe.student, parameters(recipe.student, run, "student")
    windows = training_windows(run, "student")
    if windows is None or model is None:
        return Size(of_parameters(model))
    tokens = student.optim.epochs * int(windows.lengths.sum())
    steps = steps_of_phases([student.optim], len(windows))
    arms = 1 + student.hard_baseline + sum(2 if size else 1 for size in student.gold_sizes)
    text = f"{len(windows):,} windows, {steps:,} steps, {tokens:,.0f} tokens, {of_parameters(model)}"
    text += f", {arms} students of about as many steps each" if arms > 1 else ""
    return Size(text, seconds_of(6 * model.matmul * tokens * arms, student.workers, steps * arms))


def of_evaluate(recipe: NerRecipe, run: NerRun) -> Size:
    """Return how many notes the report is about."""
    notes = num_notes(run)
    return Size(f"{notes['held_out']:,} notes" if notes else "")


# --- counts ----------------------------------------------------------------------------------------------------------


def num_labelers(settings: Labelers) -> int:
    """Count the labelers that a recipe asks for."""
    return len(settings.ontologies) + len(settings.endpoints) + settings.teacher


def num_notes(run: NerRun) -> dict[str, int]:
    """Count the notes of every split; empty before stage read is done."""
    if not all(run.notes(split).is_file() for split in SPLITS):
        return {}
    return {split: pl.scan_parquet(run.notes(split)).select(pl.len()).collect().item() for split in SPLITS}


def training_windows(run: NerRun, role: str) -> Windows | None:
    """Open the windows of train as `role` reads them; None before they are there."""
    file = run.windows("train", role)
    return Windows.open(file) if file.is_file() else None
