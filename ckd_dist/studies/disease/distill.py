"""Train the student on the shards, data-parallel; and once more on hard labels alone, as a baseline of the report.

The hard-label baseline starts from the same weights and reads as many rows in about as many updates as the student, so
that what is left between them is the teacher.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from ckd_dist.config import DataParallelism, Optim
from ckd_dist.engine.choose import data_parallel
from ckd_dist.engine.export import Trained, publish, with_scores
from ckd_dist.engine.loop import Engine, Fitted, Phase
from ckd_dist.engine.train import predict
from ckd_dist.models.base import Start, load_tokenizer
from ckd_dist.models.card import Card
from ckd_dist.models.encoder import build_student
from ckd_dist.models.export import export_student
from ckd_dist.models.losses import Mixing
from ckd_dist.report.calibrate import fit_calibration
from ckd_dist.schedule import epochs_as_long
from ckd_dist.softlabels.stream import eval_slots
from ckd_dist.studies.disease.rows import disease_task, distilled_task, read_hard
from ckd_dist.studies.disease.runfolder import CALIBRATION, DiseaseRun
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.studies.disease.teach import fit_labels
from ckd_dist.world import World

SoftLabels = tuple[np.ndarray, np.ndarray]  # sample_id_N in plan order, logits_NK of the teacher


@dataclass(frozen=True)
class StudentTraining:
    """How a student is trained beside its schedule."""

    engine: DataParallelism
    dtype: str  # of activations
    mixing: Mixing


def train_student(
    run: DiseaseRun,
    training: StudentTraining,
    start: Start,
    soft: SoftLabels | None,
    phase: Phase,
    world: World,
    card: Card,
) -> Fitted | None:
    """Train, calibrate and export one student; return None where it was asked to stop.

    soft: none: it learns from hard labels alone.
    """
    base, revision = start.base, start.revision
    tokenizer, names = load_tokenizer(base, revision), run.label_names()
    model = build_student(base, names, revision=revision, max_tokens=start.max_tokens, seed=phase.optim.seed)
    engine = data_parallel(training.engine, model, phase.optim, world, training.dtype)
    tuning = disease_task(run, "tuning", "student", tokenizer.pad_token_id)
    if soft is None:
        task = disease_task(run, "train", "student", tokenizer.pad_token_id)
    else:
        task = distilled_task(run, "student", tokenizer.pad_token_id, soft, training.mixing)
    fitted = fit_labels(engine, task, tuning, phase)
    if not fitted.complete:
        return None
    trained = Trained(model, tokenizer, with_scores(card, len(task.lengths), fitted))
    publish(engine, trained, phase.folder, phase.digest, export_student)
    _calibrate(engine, tuning, phase, names)
    return fitted


def as_many_updates(run: DiseaseRun, optim: Optim, num_rows: int) -> Optim:
    """Return the schedule of the hard-label baseline: it reads its labelled rows more often.

    So it reads as many rows as the distilled one.  An epoch ends with a small batch, so where labels are few it makes
    more updates: 66 for 63 of a tiny run.
    """
    _, known_N = read_hard(run, "train")
    return dataclasses.replace(optim, epochs=epochs_as_long(optim.epochs, num_rows, int(known_N.sum())))


def _calibrate(engine: Engine, tuning: DiseaseTask, phase: Phase, names: list[str]) -> None:
    """Fit temperatures and thresholds on the tuning subjects, and write them beside the weights."""
    slots = eval_slots(tuning.lengths, phase.optim.micro_tokens, engine.world)
    logits_NK = predict(engine, tuning, slots, len(names))
    if engine.world.is_leader:
        fit_calibration(logits_NK, tuning.hard_NK, names).save(phase.folder / CALIBRATION)
    engine.world.barrier()
