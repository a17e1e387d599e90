"""What the report is made from: every model's probabilities on the labelled visits of held_out, floors beside them.

Temperatures and thresholds come from tuning; held_out is read here and nowhere else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from ckd_dist.config import Label
from ckd_dist.hospital import law
from ckd_dist.models.predict import load_merged_teacher, predict_logits
from ckd_dist.models.wrapper import Head
from ckd_dist.report.calibrate import Calibration, fit_thresholds
from ckd_dist.report.timing import Timing, measure
from ckd_dist.schema import SPLITS, Run
from ckd_dist.studies.disease import label
from ckd_dist.studies.disease.distill import CALIBRATION, fit_calibration
from ckd_dist.studies.disease.report import baselines as floors
from ckd_dist.studies.disease.report.results import Model
from ckd_dist.studies.disease.rows import read_hard, read_table

MICRO_TOKENS = 8192


@dataclass(frozen=True)
class Scored:
    """One split's labelled rows: where they stand in its tables, and their labels."""

    rows: np.ndarray
    hard_NK: np.ndarray


def labelled(run: Run, split: str) -> Scored:
    """The rows of `split` that have labels."""
    hard_NK, known_N = read_hard(run, split)
    rows = np.flatnonzero(known_N)
    return Scored(rows, hard_NK[rows])


def models(run: Run, names: list[str], settings: Label, plans: Mapping[str, str], synthetic: bool) -> list[Model]:
    """Floors, student and twin, teacher, oracle: calibrated on tuning, scored on held_out."""
    samples = {split: pl.read_parquet(run.samples(split)) for split in SPLITS}
    tuning, held_out = labelled(run, "tuning"), labelled(run, "held_out")
    rows = samples["held_out"][held_out.rows]
    found = [
        Model(name, "floor", floor.probabilities_NK, floor.bits_NK)
        for name, floor in floors.all_floors(samples["train"], samples["tuning"], rows).items()
    ]
    for name, folder in (("student_hard", run.hard_student), ("student", run.student)):
        if (folder / CALIBRATION).is_file():
            calibration = Calibration.load(folder / CALIBRATION, names)
            found.append(_model(name, "student", calibration, predictor(run, folder, "student")(held_out.rows)))
    if "held_out" in plans:
        on = {split: _teacher_logits(run, settings, plan, names) for split, plan in plans.items() if split != "train"}
        known = on["tuning"][tuning.rows] if "tuning" in on else np.zeros((0, len(names)))
        calibration = fit_calibration(known, tuning.hard_NK, names)
        found.append(_model("teacher", "teacher", calibration, on["held_out"][held_out.rows]))
    if synthetic and law.COLUMN.keys() >= set(names):  # the law knows nothing of a user's own labels
        found.append(_oracle(samples["tuning"][tuning.rows], tuning.hard_NK, rows, names))
    return found


def timings(run: Run, num_samples: int, batch: int, seed: int) -> list[Timing]:
    """Teacher (where there is one) and student on the same visits of held_out, turn by turn: ids to logits."""
    candidates = labelled(run, "held_out").rows
    chosen = np.random.default_rng(seed).permutation(candidates)[:num_samples]
    folders = {"teacher": run.teacher, "student": run.student}
    present = {name: folder for name, folder in folders.items() if (folder / "README.md").is_file()}
    predicts = {name: predictor(run, folder, name) for name, folder in present.items()}
    lengths = {name: read_table(run, "held_out", name).lengths[chosen] for name in present}
    return measure(predicts, chosen, batch=batch, dtypes=dict.fromkeys(present, "float32"), lengths=lengths)


def predictor(run: Run, folder, reader: str, split: str = "held_out") -> Callable[[np.ndarray], np.ndarray]:
    """From rows of a split to raw logits, by the exported model in `folder`."""
    head: Head = load_merged_teacher(folder)
    table, pad_id = read_table(run, split, reader), load_tokenizer_of(folder)
    return lambda rows: predict_logits(head, table, rows, micro_tokens=MICRO_TOKENS, pad_id=pad_id)


def load_tokenizer_of(folder) -> int:
    """The pad token of an exported model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True).pad_token_id


def _model(name: str, role: str, calibration: Calibration, logits_NK: np.ndarray) -> Model:
    probabilities_NK = calibration.probabilities(logits_NK)
    return Model(name, role, probabilities_NK, calibration.bits(probabilities_NK))


def _teacher_logits(run: Run, settings: Label, plan_hash: str, names: list[str]) -> np.ndarray:
    """In the order of the split's tables."""
    sample_id_N, logits_NK = label.read(run, settings, plan_hash, names)
    return logits_NK[np.argsort(sample_id_N)]


def _oracle(tuning: pl.DataFrame, tuning_NK: np.ndarray, rows: pl.DataFrame, names: list[str]) -> Model:
    """The law itself, thresholds fitted on tuning as for any model."""
    probabilities_NK = law.probabilities(rows, names)
    threshold_K = fit_thresholds(law.probabilities(tuning, names), tuning_NK)
    return Model("oracle", "oracle", probabilities_NK, (probabilities_NK >= threshold_K).astype(np.int8))
