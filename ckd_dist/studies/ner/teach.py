"""The teacher learns to tag from the annotated notes, under ZeRO on every rank; then it is a labeler by its logits."""

import numpy as np

from ckd_dist.engine.export import Trained, publish, with_scores
from ckd_dist.engine.loop import Engine, Fitted, Phase
from ckd_dist.engine.teacher import TeacherTraining, teacher_form, teacher_under_zero
from ckd_dist.engine.train import predict, train
from ckd_dist.models.base import Start, load_tokenizer
from ckd_dist.models.card import Card
from ckd_dist.models.losses import HARD_ALONE
from ckd_dist.models.teacher import TeacherOptions
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.softlabels.stream import eval_slots, steps_of
from ckd_dist.studies.ner.rows import GoldSample, chosen_gold, gold_of, only, read_split, windows_of
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.studies.ner.tagger import build_tag_teacher, load_tagger
from ckd_dist.studies.ner.task import NerTask, Reading, Tags
from ckd_dist.studies.ner.windows import Windows
from ckd_dist.world import World


def train_tag_teacher(
    run: NerRun, training: TeacherTraining, start: Start, gold: GoldSample, phase: Phase, world: World, card: Card
) -> Fitted | None:
    """Train and export the teacher; None where it was asked to stop.  gold: the annotated notes that it learns from."""
    tokenizer = load_tokenizer(start.base, start.revision)

    def build(options: TeacherOptions) -> Wrapper:
        return build_tag_teacher(start.base, run.tag_columns(), options, start.max_tokens)

    model, engine = teacher_under_zero(build, training, phase.optim, world, start.revision)
    task = gold_task(run, "train", "teacher", tokenizer.pad_token_id, gold)
    tuning = gold_task(run, "tuning", "teacher", tokenizer.pad_token_id)
    fitted = fit_tags(engine, task, tuning, phase)
    if not fitted.complete:
        return None
    trained = Trained(model, tokenizer, with_scores(card, len(task.rows_N), fitted), (tuning, task))
    publish(engine, trained, phase, teacher_form(load_tagger, training.dtype))
    engine.close()
    return fitted


def gold_task(
    run: NerRun,
    split: str,
    role: str,
    pad_id: int,
    sample: GoldSample = GoldSample(),  # noqa: B008  (frozen)
    balance: float = 0.0,
    continuation: float = 0.0,
) -> NerTask:
    """Read the annotated windows of a split, to learn from or to score by human tags alone.

    Raises ValueError where there is none in train.
    """
    stored, types = read_split(run, split)
    gold, windows = gold_of(stored.notes, types), Windows.open(run.windows(split, role))
    chosen_N = chosen_gold(gold.annotated_N, sample.num_notes, sample.seed)
    if split == "train" and not chosen_N.any():
        raise ValueError(
            f"no note of train is annotated, so the {role} has nothing to learn from: give an annotated corpus, or "
            "leave it out (label.teacher=false, student.hard_baseline=false, notes.gold_documents=0)"
        )
    return NerTask(
        windows,
        windows_of(windows, chosen_N),
        Tags(only(gold.hard_U, stored.notes, chosen_N), len(run.tag_columns())),
        Reading(pad_id, "last" if role == "teacher" else "first", continuation),
        HARD_ALONE,
        balance,
    )


def fit_tags(engine: Engine, task: NerTask, tuning: NerTask, phase: Phase) -> Fitted:
    """Train a tagger on `task`, choosing the checkpoint by its strict F1 on `tuning`."""

    def evaluate() -> dict[str, float]:
        if not len(tuning.rows_N):
            return {}
        slots = eval_slots(tuning.lengths, phase.optim.micro_tokens, engine.world)
        logits_UK = predict(engine, tuning, slots, tuning.tags.num_columns, tuning.units_N)
        return tuning.metrics(np.arange(len(tuning.rows_N)), logits_UK)

    return train(engine, task, steps_of(phase.optim, engine.world, task.lengths, task.weights), phase, evaluate)
