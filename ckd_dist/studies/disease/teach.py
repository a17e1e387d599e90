"""The teacher's two phases: it learns to write the answer, then to score the labels.  Both under ZeRO, on every rank.

Each phase keeps its checkpoints in its own folder and ends with an export that plain transformers or PEFT load.  A
phase returns None where it was told to stop; the next start goes on from its newest checkpoint.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch

from ckd_dist.config import Optim, Teacher
from ckd_dist.engine.loop import Engine, Fitted
from ckd_dist.engine.train import Watch, mean_loss, predict, train
from ckd_dist.engine.zero import ZeroEngine, read_sharding, sharded_loading
from ckd_dist.models.card import Card
from ckd_dist.models.export import export_teacher
from ckd_dist.models.teacher import adopt_adapter, build_answerer, build_classifier, load_tokenizer
from ckd_dist.models.wrapper import Head
from ckd_dist.schema import Run
from ckd_dist.studies.disease.prompts.tokens import TokenTable
from ckd_dist.studies.disease.rows import Chosen, disease_task
from ckd_dist.studies.disease.sft import AnswerTask, encode_answers
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.world import World

EXPORTED = "exported.json"  # written last, with the digest of what the export came from


def answers(run: Run, settings: Teacher, base: str, world: World, watch: Watch, digest: str, card: Card) -> Path | None:
    """The supervised phase on the answer text.  Returns the folder of the causal LM, or of its adapter."""
    folder = run.teacher / "answers"
    if is_exported(folder, digest):
        return folder
    tokenizer = load_tokenizer(base, settings.revision)
    head, engine = _under_zero(build_answerer, base, settings, settings.answers, settings.answers_tuning, world)
    tasks = {split: _answer_task(run, split, tokenizer) for split in ("train", "tuning")}

    def evaluate() -> dict[str, float]:
        tuning = tasks["tuning"]
        if not len(tuning.lengths):
            return {}
        loss = mean_loss(engine, tuning, tuning.lengths, tuning.weights, settings.answers.micro_tokens)
        return {"answer_log_likelihood": -loss}

    task, better = tasks["train"], "answer_log_likelihood"
    fitted = train(engine, task, task.lengths, task.weights, settings.answers, evaluate, better, folder, digest, watch)
    if not fitted.complete:
        return None
    publish(engine, head, tokenizer, folder, digest, card)
    return folder


def labels(
    run: Run,
    settings: Teacher,
    base: str,
    answerer: Path | None,
    names: list[str],
    max_tokens: int,
    world: World,
    watch: Watch,
    digest: str,
    card: Card,
) -> Fitted | None:
    """The classification phase, from the supervised phase's weights where there was one."""
    tokenizer, revision = load_tokenizer(base, settings.revision), settings.revision
    if answerer and settings.answers_tuning == "full":
        base, revision = str(answerer), None
    head, engine = _under_zero(
        build_classifier,
        base,
        settings,
        settings.labels,
        settings.tuning,
        world,
        revision=revision,
        adapter=answerer if settings.answers_tuning == "lora" else None,
        label_names=names,
        max_tokens=max_tokens,
    )
    tasks = {split: disease_task(run, split, "teacher", tokenizer.pad_token_id) for split in ("train", "tuning")}
    fitted = fit_labels(engine, tasks, settings.labels, run.teacher, digest, watch)
    if not fitted.complete:
        return None
    publish(engine, head, tokenizer, run.teacher, digest, with_scores(card, len(tasks["train"].tokens.lengths), fitted))
    return fitted


def fit_labels(
    engine: Engine, tasks: dict[str, DiseaseTask], optim: Optim, folder: Path, digest: str, watch: Watch
) -> Fitted:
    """Train a classifier on tasks["train"], choosing the checkpoint by macro-AUROC on tasks["tuning"]."""
    task, tuning = tasks["train"], tasks["tuning"]

    def evaluate() -> dict[str, float]:
        if not len(tuning.tokens.lengths):
            return {}
        logits = predict(engine, tuning, tuning.tokens.lengths, optim.micro_tokens, tuning.hard_NK.shape[1])
        return tuning.metrics(torch.arange(len(logits)).numpy(), logits)

    return train(engine, task, task.tokens.lengths, task.weights, optim, evaluate, "macro_auroc", folder, digest, watch)


def with_scores(card: Card, num_samples: int, fitted: Fitted) -> Card:
    """The card of this training: how many rows it read, and what tuning says of it (the leader knows)."""
    scores = {name: value for name, value in (fitted.best.numbers if fitted.best else {}).items() if value is not None}
    return dataclasses.replace(card, num_samples=num_samples, scores=scores)


def is_exported(folder: Path, digest: str) -> bool:
    """True where `publish` of the same phase ended here."""
    mark = folder / EXPORTED
    return mark.is_file() and mark.read_text() == digest


def publish(
    engine: Engine,
    head: Head,
    tokenizer: Any,
    folder: Path,
    digest: str,
    card: Card,
    export: Callable[..., str] = export_teacher,
) -> None:
    """Export the trained weights into `folder`, and mark it.  A collective."""
    weights = engine.full_weights()
    if engine.world.is_leader:
        (folder / EXPORTED).unlink(missing_ok=True)
        export(head, tokenizer, folder, weights, card)
        (folder / EXPORTED).write_text(digest)
    engine.world.barrier()


def _under_zero(
    build: Any,
    base: str,
    settings: Teacher,
    optim: Optim,
    tuning: str,
    world: World,
    adapter: Path | None = None,
    **more: Any,
) -> tuple[Head, ZeroEngine]:
    """A model that is sliced over the ranks while it loads, and its engine."""
    sharding = read_sharding(settings.sharding)
    more.setdefault("revision", settings.revision)
    names = [more.pop("label_names")] if "label_names" in more else []
    head = build(
        base,
        *names,
        tuning=tuning,
        lora=settings.lora,
        dtype=getattr(torch, settings.dtype),
        gradient_checkpointing=settings.gradient_checkpointing,
        loading=sharded_loading(sharding, world, dtype=settings.dtype),
        seed=optim.seed,
        **more,
    )
    if adapter:
        adopt_adapter(head, adapter)
    return head, ZeroEngine(head, optim, world, sharding=sharding, dtype=settings.dtype)


def _answer_task(run: Run, split: str, tokenizer: Any) -> AnswerTask:
    """The labelled rows of a split, with their answers."""
    written = pl.read_parquet(run.prompts(split), columns=["answer"])["answer"]
    table = Chosen(TokenTable.open(run.tokens(split, "teacher")), written.is_not_null().arg_true().to_numpy())
    return AnswerTask(table, encode_answers(tokenizer, written.drop_nulls()), tokenizer.pad_token_id)
