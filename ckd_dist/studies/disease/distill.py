"""Train the student on the shards, data-parallel; and once more on hard labels alone, as a baseline of the report.

The hard-label baseline starts from the same weights and reads as many rows in about as many updates as the student, so
that what is left between them is the teacher.  The checkpoint is the one with the lowest loss on tuning, of whatever it
learns from: where labels are few, a ranking of the few labelled tuning rows is noise, and lets a hard-label student
through that is sure of itself and wrong.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ckd_dist.config import DataParallelism, Optim
from ckd_dist.engine.choose import data_parallel
from ckd_dist.engine.export import Form, Trained, publish, with_scores
from ckd_dist.engine.loop import Engine, Fitted, Phase
from ckd_dist.engine.train import predict
from ckd_dist.models.base import Start, load_tokenizer
from ckd_dist.models.card import Card
from ckd_dist.models.encoder import build_student
from ckd_dist.models.export import export_student
from ckd_dist.models.losses import Mixing
from ckd_dist.models.predict import load_classifier
from ckd_dist.report.calibrate import fit_calibration
from ckd_dist.schedule import epochs_as_long
from ckd_dist.softlabels.stream import eval_slots
from ckd_dist.studies.disease.fit import fit_labels
from ckd_dist.studies.disease.rows import disease_task, distilled_task, read_hard
from ckd_dist.studies.disease.runfolder import CALIBRATION, DiseaseRun
from ckd_dist.studies.disease.seen import Seen
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.world import World

SoftLabels = Mapping[str, tuple[np.ndarray, np.ndarray]]  # split -> sample_id_N in plan order, the teacher's logits_NK


@dataclass(frozen=True)
class StudentTraining:
    """How a student is trained beside its schedule."""

    engine: DataParallelism
    dtype: str  # of activations
    mixing: Mixing
    seen: Seen  # labels of its hospital
    unlabelled_weight: float  # of a visit whose label is not seen


def train_student(
    run: DiseaseRun,
    training: StudentTraining,
    start: Start,
    soft: SoftLabels,
    phase: Phase,
    world: World,
    card: Card,
) -> Fitted | None:
    """Train, calibrate and export one student; return None where it was asked to stop.

    soft: empty: it learns from hard labels alone.
    """
    base, revision = start.base, start.revision
    tokenizer, names = load_tokenizer(base, revision), run.label_names()
    model = build_student(base, names, revision=revision, max_tokens=start.max_tokens, seed=phase.optim.seed)
    engine = data_parallel(training.engine, model, phase.optim, world, training.dtype)
    mixing, seen, weight = training.mixing, training.seen, training.unlabelled_weight
    task, tuning = (
        distilled_task(run, split, tokenizer.pad_token_id, soft[split], mixing, seen, weight)
        if split in soft
        else disease_task(run, split, "student", tokenizer.pad_token_id, seen)
        for split in ("train", "tuning")
    )
    fitted = fit_labels(engine, task, tuning, phase)
    if not fitted.complete:
        return None
    trained = Trained(model, tokenizer, with_scores(card, len(task.lengths), fitted), (tuning, task))
    publish(engine, trained, phase, Form(export_student, load_classifier, training.dtype))
    _calibrate(engine, tuning, phase, names)
    return fitted


def as_many_updates(run: DiseaseRun, optim: Optim, num_rows: int, seen: Seen) -> Optim:
    """Return the schedule of the hard-label baseline: it reads its labelled rows more often.

    So it reads as many rows as the distilled one.  An epoch ends with a small batch, so where labels are few it makes
    more updates: 66 for 63 of a tiny run.
    """
    _, known_N = read_hard(run, "train", seen)
    return dataclasses.replace(optim, epochs=epochs_as_long(optim.epochs, num_rows, int(known_N.sum())))


def _calibrate(engine: Engine, tuning: DiseaseTask, phase: Phase, names: list[str]) -> None:
    """Fit temperatures and thresholds on the tuning subjects, and write them beside the weights."""
    slots = eval_slots(tuning.lengths, phase.optim.micro_tokens, engine.world)
    logits_NK = predict(engine, tuning, slots, len(names))
    if engine.world.is_leader:
        known_N = tuning.labelled_N > 0
        fit_calibration(logits_NK[known_N], tuning.hard_NK[known_N], names).save(phase.folder / CALIBRATION)
    engine.world.barrier()
