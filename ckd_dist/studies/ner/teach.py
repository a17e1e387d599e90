"""The teacher learns to tag from the annotated notes, under ZeRO on every rank; then it is a labeler by its logits."""

from pathlib import Path

import numpy as np
import torch

from ckd_dist.config import Optim
from ckd_dist.engine.loop import Engine, Fitted
from ckd_dist.engine.train import Watch, predict, train
from ckd_dist.engine.zero import ZeroEngine, read_sharding, sharded_loading
from ckd_dist.models.card import Card
from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.schema import Run
from ckd_dist.studies.disease.teach import publish, with_scores
from ckd_dist.studies.ner.config import TagLoss, TagTeacher
from ckd_dist.studies.ner.rows import chosen_gold, gold_of, only, read_split, tag_columns, windows_of
from ckd_dist.studies.ner.tagger import build_tag_teacher
from ckd_dist.studies.ner.task import NerTask
from ckd_dist.studies.ner.windows import Windows
from ckd_dist.world import World


def teacher(
    run: Run,
    settings: TagTeacher,
    base: str,
    num_gold: int | None,
    gold_seed: int,
    world: World,
    watch: Watch,
    digest: str,
    card: Card,
) -> Fitted | None:
    """Train and export the teacher; None where it was told to stop.  num_gold: annotated notes it may learn from."""
    tokenizer, names = load_tokenizer(base, settings.revision), tag_columns(run)
    sharding = read_sharding(settings.sharding)
    head = build_tag_teacher(
        base,
        names,
        tuning=settings.tuning,
        lora=settings.lora,
        dtype=getattr(torch, settings.dtype),
        gradient_checkpointing=settings.gradient_checkpointing,
        revision=settings.revision,
        loading=sharded_loading(sharding, world, dtype=settings.dtype),
        max_tokens=settings.max_tokens,
        seed=settings.optim.seed,
    )
    engine = ZeroEngine(head, settings.optim, world, sharding=sharding, dtype=settings.dtype)
    tasks = {
        "train": gold_task(run, "train", "teacher", tokenizer.pad_token_id, num_gold, gold_seed),
        "tuning": gold_task(run, "tuning", "teacher", tokenizer.pad_token_id),
    }
    fitted = fit_tags(engine, tasks, settings.optim, run.teacher, digest, watch)
    if not fitted.complete:
        return None
    publish(engine, head, tokenizer, run.teacher, digest, with_scores(card, len(tasks["train"].rows_N), fitted))
    return fitted


def gold_task(
    run: Run,
    split: str,
    reader: str,
    pad_id: int,
    num_gold: int | None = None,
    seed: int = 0,
    *,
    loss: TagLoss = TagLoss(balance=0.0),  # noqa: B008  (frozen)
    continuation: float = 0.0,
) -> NerTask:
    """The annotated windows of a split (of `num_gold` notes at most), to learn from or to score by human tags alone.

    Raises ValueError where there is none in train.
    """
    stored, types = read_split(run, split)
    gold, windows = gold_of(stored.notes, types), Windows.open(run.windows(split, reader))
    chosen_N = chosen_gold(gold.annotated_N, num_gold, seed)
    if split == "train" and not chosen_N.any():
        raise ValueError(
            f"no note of train is annotated, so the {reader} has nothing to learn from: give an annotated corpus, or "
            "leave it out (label.teacher=false, student.hard_twin=false, notes.gold_documents=0)"
        )
    return NerTask(
        windows,
        windows_of(windows, chosen_N),
        pad_id,
        only(gold.hard_U, stored.notes, chosen_N),
        None,
        loss,
        len(tag_columns(run)),
        at="last" if reader == "teacher" else "first",
        continuation=continuation,
    )


def fit_tags(
    engine: Engine, tasks: dict[str, NerTask], optim: Optim, folder: Path, digest: str, watch: Watch
) -> Fitted:
    """Train a tagger on tasks["train"], choosing the checkpoint by strict F1 on tasks["tuning"]."""
    task, tuning = tasks["train"], tasks["tuning"]

    def evaluate() -> dict[str, float]:
        if not len(tuning.rows_N):
            return {}
        logits_UK = predict(
            engine, tuning, tuning.lengths, optim.micro_tokens, tuning.num_columns, units_N=tuning.units_N
        )
        return tuning.metrics(np.arange(len(tuning.rows_N)), logits_UK)

    return train(engine, task, task.lengths, task.weights, optim, evaluate, "entity_f1", folder, digest, watch)
