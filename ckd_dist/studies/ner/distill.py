"""Students, data-parallel: from combined and human tags; from human ones alone, as a baseline; and a learning curve."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ckd_dist.config import DataParallelism, Optim
from ckd_dist.engine.choose import data_parallel
from ckd_dist.engine.export import Form, Trained, publish, with_scores
from ckd_dist.engine.loop import Fitted, Phase
from ckd_dist.models.base import Start, load_tokenizer
from ckd_dist.models.card import Card
from ckd_dist.models.export import export_student
from ckd_dist.models.losses import Mixing
from ckd_dist.schedule import epochs_as_long, steps_per_epoch
from ckd_dist.studies.ner.rows import (
    CombinedTags,
    GoldSample,
    chosen_gold,
    gold_of,
    lengths_of,
    only,
    read_split,
    soft_tags,
)
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.studies.ner.tagger import build_tagger, load_tagger
from ckd_dist.studies.ner.task import CONTINUATION, NerTask, Reading, Tags, stood_in
from ckd_dist.studies.ner.teach import fit_tags, gold_task
from ckd_dist.studies.ner.windows import Windows
from ckd_dist.world import World

FULL = ("student", "human")  # arms with all the gold that the recipe allows; the others are points of the curve


@dataclass(frozen=True)
class Arm:
    """One student: what it learns from, and where it is written."""

    title: str
    folder: Path
    gold: GoldSample  # annotated notes whose human tags it learns from
    combined: CombinedTags | None  # soft tags of all notes beside them; none: human tags alone


def arms(
    run: NerRun, gold: GoldSample, combined: CombinedTags, hard_baseline: bool, gold_sizes: Sequence[int]
) -> dict[str, Arm]:
    """Return every student that is trained, by name; the first is the one that is for use.

    hard_baseline: whether one learns from human labels alone.  gold_sizes: annotated notes of the curve's.
    """
    made = {"student": Arm("Distilled student", run.student, gold, combined)}
    if hard_baseline:
        made["human"] = Arm("Student on human labels", run.hard_student, gold, None)
    for num in gold_sizes:
        few = GoldSample(num, gold.seed)
        made[f"soft_{num}"] = Arm(f"Distilled, {num} annotated notes", run.curve("soft", num), few, combined)
        if num:
            made[f"human_{num}"] = Arm(f"Human labels, {num} annotated notes", run.curve("human", num), few, None)
    return made


@dataclass(frozen=True)
class TaggerTraining:
    """How a tagger is built and trained, beside its schedule."""

    engine: DataParallelism
    dtype: str  # of activations
    crf: bool  # whether a chain over the words is the last layer
    mixing: Mixing
    balance: float  # exponent by which rare tags weigh more

    @property
    def continuation(self) -> float:
        """The weight of a word's further sub-words: 0 under a CRF, whose chain runs over words."""
        return 0.0 if self.crf else CONTINUATION


def train_student(
    run: NerRun, training: TaggerTraining, start: Start, arm: Arm, phase: Phase, world: World, card: Card
) -> Fitted | None:
    """Train and export one student; None where it was asked to stop."""
    tokenizer = load_tokenizer(start.base, start.revision)
    model = build_tagger(
        start.base,
        run.tag_columns(),
        crf=training.crf,
        revision=start.revision,
        max_tokens=start.max_tokens,
        seed=phase.optim.seed,
    )
    engine = data_parallel(training.engine, model, phase.optim, world, training.dtype)
    pad_id, tuning = tokenizer.pad_token_id, gold_task(run, "tuning", "student", tokenizer.pad_token_id)
    if arm.combined:
        task = distilled_task(run, training, pad_id, arm.gold, arm.combined)
    else:
        task = gold_task(run, "train", "student", pad_id, arm.gold, training.balance, training.continuation)
        phase = dataclasses.replace(phase, optim=as_many_updates(phase.optim, task))
    fitted = fit_tags(engine, task, tuning, phase)
    if not fitted.complete:
        return None
    trained = Trained(model, tokenizer, with_scores(card, len(task.rows_N), fitted), (tuning, task))
    publish(engine, trained, phase, Form(export_student, load_tagger, training.dtype))
    return fitted


def as_many_updates(optim: Optim, gold: NerTask) -> Optim:
    """Return the schedule of a student that has annotated windows only: it reads them more often.

    So it reads as many windows as the distilled one, in somewhat more updates, because each of its short epochs ends
    with a small batch; and it is evaluated as often, not after each of them.
    """
    return dataclasses.replace(
        optim,
        epochs=epochs_as_long(optim.epochs, len(gold.windows), len(gold.rows_N)),
        evaluate_every=optim.evaluate_every or steps_per_epoch(len(gold.windows), optim.batch_samples),
    )


def distilled_task(
    run: NerRun, training: TaggerTraining, pad_id: int, sample: GoldSample, combined: CombinedTags
) -> NerTask:
    """Read all windows of train with combined tags, and with human ones where those may be used."""
    stored, types = read_split(run, "train")
    gold, windows = gold_of(stored.notes, types), Windows.open(run.windows("train", "student"))
    chosen_N = chosen_gold(gold.annotated_N, sample.num_notes, sample.seed)
    soft_UK = soft_tags(run, combined.plan, stored.sample_id_N, lengths_of(stored.notes), combined.made_by)
    hard_U = only(gold.hard_U, stored.notes, chosen_N)
    soft_UK = stood_in(soft_UK, hard_U) if training.mixing.soft_weight < 1 else soft_UK  # 1: no human tag is learned
    tags = Tags(hard_U, len(run.tag_columns()), soft_UK)
    reading = Reading(pad_id, continuation=training.continuation)
    return NerTask(windows, np.arange(len(windows)), tags, reading, training.mixing, training.balance)
