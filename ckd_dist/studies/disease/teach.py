"""Train the teacher under ZeRO on every rank: supervised fine-tuning on the answer text, then classification.

Each phase keeps its checkpoints in its own folder and ends with an export that plain transformers or PEFT load.  A
phase returns None where it was asked to stop; the next start goes on from its newest checkpoint.
"""

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ckd_dist.engine.export import Trained, is_exported, publish, with_scores
from ckd_dist.engine.loop import Fitted, Phase
from ckd_dist.engine.teacher import TeacherTraining, teacher_form, teacher_under_zero
from ckd_dist.engine.train import mean_loss, train
from ckd_dist.models.adapter import adopt_adapter
from ckd_dist.models.base import Start, load_tokenizer
from ckd_dist.models.card import Card
from ckd_dist.models.predict import load_answerer, load_classifier
from ckd_dist.models.teacher import TeacherOptions, build_answerer, build_classifier
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.softlabels.stream import eval_slots, steps_of
from ckd_dist.studies.disease.fit import fit_labels
from ckd_dist.studies.disease.rows import Chosen, disease_task, read_table
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import Seen, read_samples
from ckd_dist.studies.disease.sft import AnswerTask, encode_answers
from ckd_dist.world import World


def train_on_answers(
    run: DiseaseRun, training: TeacherTraining, start: Start, phase: Phase, world: World, card: Card, seen: Seen
) -> Path | None:
    """Fine-tune the causal LM on the answers whose labels are seen.  Return its folder, or that of its adapter."""
    if world.from_leader(is_exported(phase.folder, phase.digest)):  # other nodes may see an older disk
        return phase.folder
    tokenizer = load_tokenizer(start.base, start.revision)
    build = partial(build_answerer, start.base)
    model, engine = teacher_under_zero(build, training, phase.optim, world, start.revision)
    task, tuning = (_answer_task(run, split, tokenizer, seen) for split in ("train", "tuning"))

    def evaluate() -> dict[str, float]:
        if not len(tuning.lengths):
            return {}
        slots = eval_slots(tuning.lengths, phase.optim.micro_tokens, world)
        return {"answer_log_likelihood": -mean_loss(engine, tuning, slots)}

    fitted = train(engine, task, steps_of(phase.optim, world, task.lengths, task.weights), phase, evaluate)
    if not fitted.complete:
        return None
    publish(engine, Trained(model, tokenizer, card, (tuning, task)), phase, teacher_form(load_answerer, training.dtype))
    engine.close()
    return phase.folder


def train_classifier(
    run: DiseaseRun, training: TeacherTraining, start: Start, phase: Phase, world: World, card: Card, seen: Seen
) -> Fitted | None:
    """Train the classification on the labels that are seen, from the supervised fine-tuning's weights, if any."""
    tokenizer = load_tokenizer(start.base, start.revision)

    def build(options: TeacherOptions) -> Wrapper:
        model = build_classifier(start.base, run.label_names(), options, start.max_tokens)
        if start.adapter:
            adopt_adapter(model, start.adapter)
        return model

    model, engine = teacher_under_zero(build, training, phase.optim, world, start.revision)
    task, tuning = (disease_task(run, split, "teacher", tokenizer.pad_token_id, seen) for split in ("train", "tuning"))
    fitted = fit_labels(engine, task, tuning, phase)
    if not fitted.complete:
        return None
    trained = Trained(model, tokenizer, with_scores(card, len(task.lengths), fitted), (tuning, task))
    publish(engine, trained, phase, teacher_form(load_classifier, training.dtype))
    engine.close()
    return fitted


def _answer_task(run: DiseaseRun, split: str, tokenizer: Any, seen: Seen) -> AnswerTask:
    """Read the rows of a split whose labels are seen: those that have an answer."""
    written = pl.read_parquet(run.prompts(split, "teacher"), columns=["answer"])["answer"]
    rows = read_samples(run, split, seen, columns=["labels"])["labels"].is_not_null().arg_true().to_numpy()
    table = Chosen(read_table(run, split, "teacher"), rows)
    return AnswerTask(table, encode_answers(tokenizer, written[rows]), tokenizer.pad_token_id)
