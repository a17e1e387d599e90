"""Collect what the report is made from: each model's probabilities on the labelled visits of held_out, and baselines.

Temperatures and thresholds come from tuning; held_out is read here and nowhere else.

    N rows, K labels
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.files import replacing_folder
from ckd_dist.hospital import law
from ckd_dist.models.base import open_tokenizer
from ckd_dist.models.predict import load_classifier, predict_logits
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.report.calibrate import Calibration, fit_calibration, fit_thresholds
from ckd_dist.report.predictions import write_meds
from ckd_dist.report.timing import Timing, measure
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.held_out import read_labelled
from ckd_dist.studies.disease.report.baselines import predict_by_baselines
from ckd_dist.studies.disease.report.results import Model
from ckd_dist.studies.disease.rows import read_table
from ckd_dist.studies.disease.runfolder import CALIBRATION, DiseaseRun
from ckd_dist.studies.disease.seen import Seen, read_samples
from ckd_dist.studies.disease.soft_labels import open_plans, read_in_order
from ckd_dist.studies.disease.teacher import Teachers

MICRO_TOKENS = 8192


def score_models(
    run: DiseaseRun,
    students: Mapping[str, Path],
    teachers: Teachers,
    plans: Mapping[str, str],
    law_known: bool,
    seen: Seen,
) -> list[Model]:
    """Score baselines, students, teacher and oracle on held_out, calibrated on tuning.

    students: name -> folder.  plans: name -> plan hash of soft labels.  law_known: whether the oracle is.  seen:
    labels of the student's hospital, by which baselines and calibrations are fitted.
    """
    names = run.label_names()
    samples = {split: read_samples(run, split, seen) for split in SPLITS}
    tuning, held_out = read_labelled(run, "tuning", seen), read_labelled(run, "held_out")
    rows = samples["held_out"][held_out.rows]
    models = [
        Model(name, "baseline", baseline.probabilities_NK, baseline.bits_NK)
        for name, baseline in predict_by_baselines(samples["train"], samples["tuning"], rows).items()
    ]
    for name, folder in students.items():
        calibration = Calibration.load(folder / CALIBRATION, names)
        models.append(_model(name, "student", calibration, predictor(run, folder, "student")(held_out.rows)))
    if by_teacher := open_plans(run, teachers, plans, "held_out"):
        tuning_NK = read_in_order(run, open_plans(run, teachers, plans, "tuning"))[tuning.rows]
        calibration = fit_calibration(tuning_NK, tuning.hard_NK, names)
        models.append(_model("teacher", "teacher", calibration, read_in_order(run, by_teacher)[held_out.rows]))
    if law_known:
        models.append(_oracle(samples["tuning"][tuning.rows], tuning.hard_NK, rows, names))
    return models


def write_held_out(run: DiseaseRun, models: Iterable[Model]) -> None:
    """Leave what teacher and students predict on held_out, with the truth, where meds-evaluation reads it.

    These are records: they stay beside the report, not in it.
    """
    labelled = read_labelled(run, "held_out")
    who = pl.read_parquet(run.samples("held_out"))[labelled.rows]
    with replacing_folder(run.predictions) as folder:
        for model in (model for model in models if model.role in ("student", "teacher")):
            where = folder / model.name
            write_meds(where, who, model.probabilities_NK, run.label_names(), model.bits_NK, labelled.hard_NK)


def time_models(run: DiseaseRun, models: Mapping[str, Path], num_samples: int, batch: int, seed: int) -> list[Timing]:
    """Time models (role -> folder) on the same visits of held_out, in turns: ids to logits."""
    candidates = read_labelled(run, "held_out").rows
    chosen = np.random.default_rng(seed).permutation(candidates)[:num_samples]
    predicts = {role: predictor(run, folder, role) for role, folder in models.items()}
    lengths = {role: read_table(run, "held_out", role).lengths[chosen] for role in models}
    return measure(predicts, chosen, batch=batch, dtypes=dict.fromkeys(models, "float32"), lengths=lengths)


def predictor(run: DiseaseRun, folder: Path, role: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from rows of held_out to raw logits, by the exported model in `folder`."""
    model: Wrapper = load_classifier(folder)
    table, pad_id = read_table(run, "held_out", role), pad_id_of(folder)
    return lambda rows: predict_logits(model, table, rows, micro_tokens=MICRO_TOKENS, pad_id=pad_id)


def pad_id_of(folder: Path) -> int:
    """Return the pad token of an exported model's tokenizer."""
    return open_tokenizer(folder, folder.name).pad_token_id


def _model(name: str, role: str, calibration: Calibration, logits_NK: np.ndarray) -> Model:
    """Return a model's calibrated predictions."""
    probabilities_NK = calibration.probabilities(logits_NK)
    return Model(name, role, probabilities_NK, calibration.bits(probabilities_NK))


def _oracle(tuning: pl.DataFrame, tuning_NK: np.ndarray, rows: pl.DataFrame, names: list[str]) -> Model:
    """Predict by the law itself, with thresholds fitted on tuning as for any model."""
    probabilities_NK = law.probabilities(rows, names)
    threshold_K = fit_thresholds(law.probabilities(tuning, names), tuning_NK)
    return Model("oracle", "oracle", probabilities_NK, (probabilities_NK >= threshold_K).astype(np.int8))
