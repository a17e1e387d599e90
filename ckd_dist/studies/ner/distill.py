"""Students: from combined soft tags and human ones; from human ones alone, for comparison; and a learning curve."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Engine, Fitted
from ckd_dist.engine.train import Watch
from ckd_dist.engine.zero import ZeroEngine, read_sharding
from ckd_dist.models.card import Card
from ckd_dist.models.export import export_student
from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.schema import Run
from ckd_dist.studies.disease.teach import publish, with_scores
from ckd_dist.studies.ner.config import Tagger
from ckd_dist.studies.ner.rows import chosen_gold, gold_of, lengths_of, only, read_split, soft_tags, tag_columns
from ckd_dist.studies.ner.tagger import build_tagger
from ckd_dist.studies.ner.task import CONTINUATION, NerTask
from ckd_dist.studies.ner.teach import fit_tags, gold_task
from ckd_dist.studies.ner.windows import Windows
from ckd_dist.world import World


@dataclass(frozen=True)
class Way:
    """One student: what it learns from, and where it lies."""

    folder: Path
    soft: bool  # combined tags of all notes, beside the human ones
    num_gold: int | None  # annotated notes it learns from; none: all
    title: str


def ways(run: Run, settings: Tagger, num_gold: int | None) -> dict[str, Way]:
    """Every student that is trained, by name; the first is the one that leaves home."""
    made = {"student": Way(run.student, True, num_gold, "Distilled student")}
    if settings.hard_twin:
        made["human"] = Way(run.hard_student, False, num_gold, "Student on human labels")
    for num in settings.gold_sizes:
        made[f"soft_{num}"] = Way(run.curve("soft", num), True, num, f"Distilled, {num} annotated notes")
        if num:
            made[f"human_{num}"] = Way(run.curve("human", num), False, num, f"Human labels, {num} annotated notes")
    return made


def student(
    run: Run,
    settings: Tagger,
    way: Way,
    base: str,
    combined: Mapping[str, str],
    made_by: str,
    gold_seed: int,
    world: World,
    watch: Watch,
    digest: str,
    card: Card,
) -> Fitted | None:
    """Train and export one student; None where it was told to stop."""
    tokenizer = load_tokenizer(base, settings.revision)
    pad_id = tokenizer.pad_token_id
    head = build_tagger(
        base,
        tag_columns(run),
        crf=settings.crf,
        revision=settings.revision,
        max_tokens=settings.max_tokens,
        seed=settings.optim.seed,
    )
    tasks = {"tuning": gold_task(run, "tuning", "student", pad_id)}
    if way.soft:
        tasks["train"] = mixed_task(run, settings, pad_id, combined["train"], made_by, way.num_gold, gold_seed)
    else:
        tasks["train"] = gold_task(
            run, "train", "student", pad_id, way.num_gold, gold_seed, continuation=further(settings), loss=settings.loss
        )
    optim = settings.optim if way.soft else as_many_updates(settings.optim, tasks["train"])
    engine = _engine(settings, head, world)
    fitted = fit_tags(engine, tasks, optim, way.folder, digest, watch)
    if not fitted.complete:
        return None
    scored = with_scores(card, len(tasks["train"].rows_N), fitted)
    publish(engine, head, tokenizer, way.folder, digest, scored, export_student)
    return fitted


def further(settings: Tagger) -> float:
    """Weight of a word's further sub-words: none under a CRF, whose chain runs over words."""
    return 0.0 if settings.crf else CONTINUATION


def as_many_updates(optim: Optim, gold: NerTask) -> Optim:
    """The schedule of a student that has annotated windows only: it reads them more often, to make as many updates.

    It is looked at as often as the distilled one too, not after each of its own short epochs.
    """
    return dataclasses.replace(
        optim,
        epochs=optim.epochs * len(gold.windows) / max(1, len(gold.rows_N)),
        evaluate_every=optim.evaluate_every or -(-len(gold.windows) // optim.batch_samples),
    )


def mixed_task(
    run: Run, settings: Tagger, pad_id: int, plan_hash: str, made_by: str, num_gold: int | None, seed: int
) -> NerTask:
    """All windows of train with combined tags, and with human ones where those may be used."""
    stored, types = read_split(run, "train")
    gold, windows = gold_of(stored.notes, types), Windows.open(run.windows("train", "student"))
    chosen_N = chosen_gold(gold.annotated_N, num_gold, seed)
    return NerTask(
        windows,
        np.arange(len(windows)),
        pad_id,
        only(gold.hard_U, stored.notes, chosen_N),
        soft_tags(run, plan_hash, stored.sample_id_N, lengths_of(stored.notes), made_by),
        settings.loss,
        len(tag_columns(run)),
        continuation=further(settings),
    )


def _engine(settings: Tagger, head, world: World) -> Engine:
    if settings.engine == "zero1":
        return ZeroEngine(head, settings.optim, world, sharding=read_sharding("zero1"), dtype=settings.dtype)
    return DdpEngine(head, settings.optim, world, dtype=settings.dtype)
