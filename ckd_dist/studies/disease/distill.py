"""The student learns from the shards, data-parallel; and its twin, on hard labels alone, as a floor for the report.

The twin starts from the same weights and makes as many updates of the same size as the student, so that what is left
between them is the teacher.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ckd_dist.config import Optim, Student
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Engine, Fitted
from ckd_dist.engine.train import Watch, predict
from ckd_dist.engine.zero import ZeroEngine, read_sharding
from ckd_dist.models.card import Card
from ckd_dist.models.encoder import build_student
from ckd_dist.models.export import export_student
from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.report import calibrate
from ckd_dist.schema import Run
from ckd_dist.studies.disease.rows import disease_task, distilled_task, read_hard
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.studies.disease.teach import fit_labels, publish, with_scores
from ckd_dist.world import World

CALIBRATION = "calibration.json"


def student(
    run: Run,
    settings: Student,
    base: str,
    names: list[str],
    max_tokens: int,
    labels: tuple[np.ndarray, np.ndarray] | None,
    world: World,
    watch: Watch,
    digest: str,
    card: Card,
) -> Fitted | None:
    """Train, calibrate and export one student; None where it was told to stop.

    labels: sample_id_N in plan order and logits_NK of the teacher; none: the twin, on hard labels.
    """
    folder = run.hard_student if labels is None else run.student
    tokenizer = load_tokenizer(base, settings.revision)
    head = build_student(base, names, revision=settings.revision, max_tokens=max_tokens, seed=settings.optim.seed)
    engine = _engine(settings, head, world)
    tasks = {"tuning": disease_task(run, "tuning", "student", tokenizer.pad_token_id)}
    if labels is None:
        tasks["train"] = disease_task(run, "train", "student", tokenizer.pad_token_id)
    else:
        tasks["train"] = distilled_task(run, "student", tokenizer.pad_token_id, *labels, settings.loss)
    fitted = fit_labels(engine, tasks, settings.optim, folder, digest, watch)
    if not fitted.complete:
        return None
    publish(
        engine,
        head,
        tokenizer,
        folder,
        digest,
        with_scores(card, len(tasks["train"].tokens.lengths), fitted),
        export_student,
    )
    _calibrate(engine, tasks["tuning"], settings.optim, names, folder)
    return fitted


def twin(run: Run, settings: Student, num_rows: int) -> Student:
    """The twin's schedule: it has labelled rows only, so it reads them more often, to make as many updates."""
    _, known_N = read_hard(run, "train")
    epochs = settings.optim.epochs * num_rows / max(1, int(known_N.sum()))
    return dataclasses.replace(settings, optim=dataclasses.replace(settings.optim, epochs=epochs))


def _engine(settings: Student, head: Any, world: World) -> Engine:
    if settings.engine == "zero1":
        return ZeroEngine(head, settings.optim, world, sharding=read_sharding("zero1"), dtype=settings.dtype)
    return DdpEngine(head, settings.optim, world, dtype=settings.dtype)


def _calibrate(engine: Engine, tuning: DiseaseTask, optim: Optim, names: list[str], folder: Path) -> None:
    """Temperatures and thresholds from the tuning subjects, beside the weights."""
    logits_NK = predict(engine, tuning, tuning.tokens.lengths, optim.micro_tokens, len(names))
    if engine.world.is_leader:
        fit_calibration(logits_NK, tuning.hard_NK, names).save(folder / CALIBRATION)
    engine.world.barrier()


def fit_calibration(logits_NK: np.ndarray, hard_NK: np.ndarray, names: list[str]) -> calibrate.Calibration:
    """Fitted where there is anything to fit; else temperature 1, threshold 0.5."""
    if len(logits_NK):
        return calibrate.fit(logits_NK, hard_NK, names)
    ones = np.ones(len(names))
    return calibrate.Calibration(tuple(names), ones, 0 * ones, ones / 2)
