"""What would be done, and how large will it be: counts from the files that stand, the rest by arithmetic.

    tokens = samples x their lengths (before the prompt stage: at most the budget)
    time   = operations / (this machine's own matmul speed x EFFICIENCY), and STEP_SECONDS a step at least

Operations a token, P parameters: 2P forward, 4P with frozen weights under LoRA, 6P with all weights; 2P more where
activations are computed twice (Kaplan et al. 2020, sec. 2.1).  An estimate to plan a night by, not a promise; once a
stage runs, its progress line knows better.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist import stages
from ckd_dist.config import Optim, Recipe, Workers
from ckd_dist.progress import seconds_in_words
from ckd_dist.schema import SPLITS, Run
from ckd_dist.stages import AnyRecipe
from ckd_dist.studies.disease.describe import num_subjects

EFFICIENCY = 0.4  # of the matmul speed, for a whole model
STEP_SECONDS = 0.05  # what a step costs beside arithmetic


@dataclass(frozen=True)
class Line:
    """One stage of the plan."""

    name: str
    state: str  # done, stale, missing
    why: str
    size: str  # in words; empty where nothing is known yet
    seconds: float | None = None


def plan(recipe: AnyRecipe, run: Run) -> list[Line]:
    """Every stage, its state, and how large what is left of it will be."""
    from launch.plan_concepts import CONCEPTS  # both need this module whole
    from launch.plan_ner import NER

    sizes = {"disease": DISEASE, "ner": NER, "concepts": CONCEPTS}[recipe.study]
    lines = []
    for state in stages.status(recipe, run):
        size, seconds = sizes[state.name](recipe, run)
        lines.append(Line(state.name, state.state, state.why, size, seconds))
    return lines


def words(line: Line) -> str:
    """One line of text for a stage that is about to run; empty where nothing is known."""
    time_left = f"about {seconds_in_words(line.seconds)} by arithmetic" if line.seconds else ""
    return ", ".join(part for part in (line.size, time_left) if part)


Size = tuple[str, float | None]


def _extract(recipe: Recipe, run: Run) -> Size:
    kind, _, where = recipe.extract.source.partition(":")
    if kind == "synthetic":
        return f"{num_subjects(recipe.extract.source):,} made-up subjects", None
    num_bytes = sum(file.stat().st_size for file in Path(where).rglob("*.csv*") if file.is_file())
    return f"{gigabytes(num_bytes)} of tables", None


def _select(recipe: Recipe, run: Run) -> Size:
    samples = num_samples(run)
    return (f"{sum(samples.values()):,} samples" if samples else ""), None


def _prompt(recipe: Recipe, run: Run) -> Size:
    teacher, student = _lengths(recipe, run, "teacher"), _lengths(recipe, run, "student")
    if teacher is None:
        return f"at most {recipe.prompt.teacher_tokens} and {recipe.prompt.student_tokens} tokens a sample", None
    return f"{teacher.sum():,} tokens for the teacher, {student.sum():,} for the student", None


def _teacher(recipe: Recipe, run: Run) -> Size:
    """Both phases of the teacher."""
    teacher, model = recipe.teacher, parameters(recipe, run, "teacher")
    lengths, num_train = _lengths(recipe, run, "teacher", labelled=True), _num_labelled(run)
    if num_train is None:
        return of_parameters(model), None
    epochs = teacher.answers.epochs + teacher.labels.epochs
    tokens = epochs * (lengths.sum() if lengths is not None else num_train * recipe.prompt.teacher_tokens)
    steps = sum(num_steps(optim, num_train) for optim in (teacher.answers, teacher.labels))
    size = f"{num_train:,} labelled samples, {steps:,} steps, {tokens:,.0f} tokens, {of_parameters(model)}"
    if model is None:
        return size, None
    a_token = (4 if teacher.tuning == "lora" else 6) + (2 if teacher.gradient_checkpointing else 0)
    return size, seconds_of(a_token * model.matmul * tokens, teacher.workers, steps)


def _label(recipe: Recipe, run: Run) -> Size:
    if recipe.label.import_from:
        return f"read from {recipe.label.import_from}", None
    model, lengths, samples = parameters(recipe, run, "teacher"), _lengths(recipe, run, "teacher"), num_samples(run)
    if not samples:
        return "", None
    num = sum(samples.values())
    tokens = lengths.sum() if lengths is not None else num * recipe.prompt.teacher_tokens
    shards = math.ceil(num / recipe.label.shard_rows)
    size = f"{num:,} samples in about {shards:,} shards, {tokens:,.0f} tokens"
    return size, seconds_of(2 * model.matmul * tokens, recipe.label.workers, shards) if model else None


def _student(recipe: Recipe, run: Run) -> Size:
    student, model, samples = recipe.student, parameters(recipe, run, "student"), num_samples(run)
    if not samples:
        return of_parameters(model), None
    twins = 2 if student.hard_twin else 1
    num, lengths = samples["train"], _lengths(recipe, run, "student", splits=("train",))
    tokens = student.optim.epochs * (lengths.sum() if lengths is not None else num * recipe.prompt.student_tokens)
    steps = num_steps(student.optim, num)
    size = f"{num:,} samples, {steps:,} steps, {tokens:,.0f} tokens, {of_parameters(model)}"
    size += ", and a twin on hard labels" if student.hard_twin else ""
    return size, seconds_of(6 * model.matmul * tokens * twins, student.workers, steps * twins) if model else None


def _evaluate(recipe: Recipe, run: Run) -> Size:
    samples = num_samples(run)
    return (f"{samples['held_out']:,} samples" if samples else ""), None


DISEASE: dict[str, Callable[[Recipe, Run], Size]] = {
    "extract": _extract,
    "select": _select,
    "prompt": _prompt,
    "train_teacher": _teacher,
    "label": _label,
    "distill": _student,
    "evaluate": _evaluate,
}


# --- counts ----------------------------------------------------------------------------------------------------------


def num_samples(run: Run) -> dict[str, int]:
    """Samples of every split; empty before the select stage is done."""
    if not all(run.samples(split).is_file() for split in SPLITS):
        return {}
    return {split: pl.scan_parquet(run.samples(split)).select(pl.len()).collect().item() for split in SPLITS}


def _num_labelled(run: Run) -> int | None:
    file = run.samples("train")
    if not file.is_file():
        return None
    return pl.scan_parquet(file).select(pl.col("labels").is_not_null().sum()).collect().item()


def _lengths(
    recipe: Recipe, run: Run, reader: str, splits: tuple[str, ...] = SPLITS, labelled: bool = False
) -> np.ndarray | None:
    """Tokens of every prompt; None before the prompt stage is done.  `labelled`: of training samples with labels."""
    from ckd_dist.studies.disease.prompts.tokens import TokenTable

    splits = ("train",) if labelled else splits
    if not all(run.tokens(split, reader).is_file() for split in splits):
        return None
    lengths = np.concatenate([TokenTable.open(run.tokens(split, reader)).lengths for split in splits])
    if labelled:
        answers = pl.read_parquet(run.prompts("train"), columns=["answer"])["answer"].is_not_null().to_numpy()
        lengths = lengths[answers] if len(answers) == len(lengths) else lengths
    return lengths


def num_steps(optim: Optim, num: int) -> int:
    return math.ceil(optim.epochs * num / optim.batch_samples)


# --- parameters and time ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    num: int  # parameters
    matmul: int  # of them, those that multiply: without the embedding table


def parameters(recipe: AnyRecipe, run: Run, reader: str) -> Model | None:
    """Counted on a model without memory, made from the base's config; None where this machine has no config yet."""
    import torch
    from transformers import AutoConfig, AutoModel

    settings = getattr(recipe, reader)
    base = str(run.base(reader)) if settings.base == "tiny" else settings.base
    try:
        config = AutoConfig.from_pretrained(
            base, revision=settings.revision, local_files_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            model = AutoModel.from_config(config)
    except (OSError, ValueError):
        return None
    num = sum(parameter.numel() for parameter in model.parameters())
    return Model(num, num - model.get_input_embeddings().weight.numel())


def of_parameters(model: Model | None) -> str:
    if model is None:
        return "parameters not known before its config is on this machine"
    return f"{model.num:,} parameters"


def seconds_of(operations: float, workers: Workers, steps: int) -> float:
    return max(operations / (workers.num * matmul_speed(workers) * EFFICIENCY), steps * STEP_SECONDS)


def matmul_speed(workers: Workers, seconds: float = 0.1) -> float:
    """Floating-point operations a second of one worker of this machine, measured for a moment."""
    import torch

    gpu = workers.gpus > 0 and torch.cuda.is_available()
    device, size = torch.device("cuda" if gpu else "cpu"), 4096 if gpu else 512
    a = torch.ones(size, size, device=device, dtype=torch.bfloat16 if gpu else torch.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(workers.cpus)))
    try:
        a @ a
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            (a @ a).sum().item()
            count += 1
        return count * 2 * size**3 / (time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)


def gigabytes(num_bytes: float) -> str:
    """
    >>> gigabytes(3.2e9), gigabytes(1.5e6)
    ('3.2 GB', '1.5 MB')
    """
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
