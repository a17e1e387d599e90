"""How large the stages of the second study will be: plan.py's arithmetic on notes and windows."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from ckd_dist.schema import SPLITS, Run
from ckd_dist.studies.ner.config import NerRecipe
from ckd_dist.studies.ner.windows import Windows
from launch.plan import Size, gigabytes, num_steps, of_parameters, parameters, seconds_of


def _read(recipe: NerRecipe, run: Run) -> Size:
    kind, _, where = recipe.notes.source.partition(":")
    if kind == "synthetic":
        return f"notes of {where} made-up patients", None
    path = Path(where)
    files = [path] if path.is_file() else path.rglob("*")
    return f"{gigabytes(sum(file.stat().st_size for file in files if file.is_file()))} of files", None


def _window(recipe: NerRecipe, run: Run) -> Size:
    notes = _num_notes(run)
    return (f"{sum(notes.values()):,} notes" if notes else ""), None


def _teacher(recipe: NerRecipe, run: Run) -> Size:
    """The annotated part of train, of which the recipe may take less."""
    teacher, model = recipe.teacher, parameters(recipe, run, "teacher")
    windows = _windows(run, "teacher", ("train",))
    if not windows or model is None:
        return of_parameters(model), None
    annotated = pl.scan_parquet(run.notes("train")).select(pl.col("mentions").is_not_null().sum()).collect().item()
    share = min(annotated, recipe.notes.gold_documents or annotated) / max(1, _num_notes(run)["train"])
    num, tokens = round(share * len(windows[0])), teacher.optim.epochs * share * int(windows[0].lengths.sum())
    steps = num_steps(teacher.optim, num)
    a_token = (4 if teacher.tuning == "lora" else 6) + (2 if teacher.gradient_checkpointing else 0)
    size = f"about {num:,} windows, {steps:,} steps, {tokens:,.0f} tokens, {of_parameters(model)}"
    return size, seconds_of(a_token * model.matmul * tokens, teacher.workers, steps)


def _label(recipe: NerRecipe, run: Run) -> Size:
    label, notes = recipe.label, _num_notes(run)
    labelers = len(label.ontologies) + len(label.endpoints) + label.teacher
    return (f"{labelers} labelers, {sum(notes.values()):,} notes each" if notes else f"{labelers} labelers"), None


def _combine(recipe: NerRecipe, run: Run) -> Size:
    labelers = len(recipe.label.ontologies) + len(recipe.label.endpoints) + recipe.label.teacher
    return (f"{2**labelers - 1} subsets of {labelers} labelers" if recipe.combine.by == "search" else ""), None


def _student(recipe: NerRecipe, run: Run) -> Size:
    student, model, windows = recipe.student, parameters(recipe, run, "student"), _windows(run, "student", ("train",))
    if not windows or model is None:
        return of_parameters(model), None
    tokens = student.optim.epochs * int(windows[0].lengths.sum())
    steps = num_steps(student.optim, len(windows[0]))
    ways = 1 + student.hard_twin + sum(2 if size else 1 for size in student.gold_sizes)
    size = f"{len(windows[0]):,} windows, {steps:,} steps, {tokens:,.0f} tokens, {of_parameters(model)}"
    size += f", {ways} students" if ways > 1 else ""
    return size, seconds_of(6 * model.matmul * tokens * ways, student.workers, steps * ways)


def _evaluate(recipe: NerRecipe, run: Run) -> Size:
    notes = _num_notes(run)
    return (f"{notes['held_out']:,} notes" if notes else ""), None


NER: dict[str, Callable[[NerRecipe, Run], Size]] = {
    "read": _read,
    "window": _window,
    "train_teacher": _teacher,
    "label": _label,
    "combine": _combine,
    "distill": _student,
    "evaluate": _evaluate,
}


def _num_notes(run: Run) -> dict[str, int]:
    """Notes of every split; empty before the read stage is done."""
    if not all(run.notes(split).is_file() for split in SPLITS):
        return {}
    return {split: pl.scan_parquet(run.notes(split)).select(pl.len()).collect().item() for split in SPLITS}


def _windows(run: Run, reader: str, splits: tuple[str, ...]) -> list[Windows]:
    files = [run.windows(split, reader) for split in splits]
    return [Windows.open(file) for file in files] if all(file.is_file() for file in files) else []
