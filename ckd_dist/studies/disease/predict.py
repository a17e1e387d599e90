"""A student leaves home: what it must take along to read another hospital's tables, and the reading itself.

    student/  weights, tokenizer, calibration.json
              reading.json (select, prompt, labels)  label_set.yaml (a user's own)  knowledge.json

Nothing of a training record travels: knowledge.json holds statistics over at least `min_support` visits each.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from ckd_dist.config import Prompt, Select
from ckd_dist.ehr.codes import load_label_set
from ckd_dist.ehr.events import read_codes, read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.samples import build_samples
from ckd_dist.models.predict import load_merged_teacher, predict_logits
from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.report.calibrate import Calibration
from ckd_dist.report.predictions import write_predictions
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.prompts.encode import encode, student_reader, table_of
from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from ckd_dist.studies.disease.prompts.naming import naming
from ckd_dist.studies.disease.prompts.render import question
from ckd_dist.studies.disease.prompts.write import records, special_tokens

READING, LABEL_SET, KNOWLEDGE, CALIBRATION = "reading.json", "label_set.yaml", "knowledge.json", "calibration.json"
MICRO_TOKENS = 16384


def pack(folder: Path, select: Select, prompt: Prompt, names: list[str], knowledge: Path | None) -> None:
    """Put beside a student's weights all that it needs to read new patients."""
    told = {
        "labels": names,
        "select": TypeAdapter(Select).dump_python(select, mode="json"),
        "prompt": TypeAdapter(Prompt).dump_python(prompt, mode="json"),
    }
    if Path(select.labels).is_file():
        shutil.copyfile(select.labels, folder / LABEL_SET)
        told["select"]["labels"] = LABEL_SET
    if knowledge:
        shutil.copyfile(knowledge, folder / KNOWLEDGE)
    (folder / READING).write_text(json.dumps(told, indent=1))


def predict(model: Path, source: str, out: Path, device: str, track: Callable[..., None]) -> int:
    """Write calibrated probabilities for every subject's latest visit in `source`; return how many.

    Raises ValueError where `model` is not a student that this project exported, or nobody can be predicted for.
    """
    select, prompt, names = _unpack(model)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".events.", dir=out) as events:
        extract(source, Path(events), lambda ids: np.full(len(ids), "held_out"), memory_gb=4.0)
        labels = load_label_set(select.labels)
        everybody = pl.concat([read_events(Path(events), split) for split in SPLITS])  # a MEDS source has its own
        samples, _ = build_samples(everybody, labels, select, labels.columns_of)
        name_of = naming(read_codes(Path(events)), prompt.diagnosis_names)
    latest = samples.sort("prediction_time", "sample_id").unique("subject_id", keep="last", maintain_order=True)
    if not len(latest):
        raise ValueError(f"{source}: nobody was discharged alive with a diagnosis, so there is nobody to predict for")
    tokenizer = load_tokenizer(model)
    reader = student_reader(tokenizer, prompt.student_tokens, question(names) if prompt.student_instruction else None)
    knowledge = Knowledge.load(model / KNOWLEDGE) if (model / KNOWLEDGE).is_file() else None
    head = load_merged_teacher(model, device=device)
    calibration = Calibration.load(model / CALIBRATION, names)
    logits, done = [], 0
    for chunk in records(latest, names, name_of, prompt, knowledge, special_tokens(tokenizer)):
        table = table_of([each.sample_id for each in chunk], encode(reader, [each.record for each in chunk]))
        rows = np.arange(len(table))
        logits.append(
            predict_logits(head, table, rows, micro_tokens=MICRO_TOKENS, pad_id=tokenizer.pad_token_id, device=device)
        )
        done += len(chunk)
        track(done, len(latest))
    probabilities_NK = calibration.probabilities(np.concatenate(logits))
    write_predictions(out, latest, probabilities_NK, names, calibration.bits(probabilities_NK))
    return len(latest)


def _unpack(model: Path) -> tuple[Select, Prompt, list[str]]:
    """How the student reads; its label set's path made whole."""
    if not (model / READING).is_file() or not (model / CALIBRATION).is_file():
        raise ValueError(
            f"{model} is no student of this project: {READING} or {CALIBRATION} is missing; give RUN/student"
        )
    told = json.loads((model / READING).read_text())
    if told["select"]["labels"] == LABEL_SET:
        told["select"]["labels"] = str(model / LABEL_SET)
    select = TypeAdapter(Select).validate_python(told["select"] | {"unlabelled": True, "max_gap_days": None})
    return select, TypeAdapter(Prompt).validate_python(told["prompt"]), told["labels"]
