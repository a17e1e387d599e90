"""Predict for new patients, by a student's folder, which holds all that it needs to read other tables.

    student/  weights, tokenizer, calibration.json
              reading.json (labels, select, prompt, synthetic_codes)  knowledge.json
              label_set.yaml, code_map.* (a user's own)

Nothing of a training record travels: knowledge.json names the treatments that the student's texts may list, each of at
least FEWEST_SUBJECTS subjects, without how many.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from ckd_dist.account import Account
from ckd_dist.ehr.codemap import load_code_map
from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.events import read_codes, read_events, read_unread_visits
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.kept import account_of
from ckd_dist.ehr.labelcheck import diagnosis_codes, strange_codes, strange_remarks
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.ehr.samples import build_samples
from ckd_dist.ehr.sources import with_tables
from ckd_dist.files import sweep, write
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.predict import load_classifier, predict_logits
from ckd_dist.report.calibrate import Calibration
from ckd_dist.report.predictions import write_predictions
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.latest import latest_visits, sentences
from ckd_dist.studies.disease.prompts.encode import encode, table_of
from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from ckd_dist.studies.disease.prompts.naming import naming
from ckd_dist.studies.disease.prompts.write import PromptOptions, Rendering, render_samples, special_tokens
from ckd_dist.studies.disease.runfolder import CALIBRATION, KNOWLEDGE, READING

LABEL_SET = "label_set.yaml"
CODE_MAP = "code_map.*"  # with the ending of the user's file, which says its form
MICRO_TOKENS = 16384


@dataclass(frozen=True)
class Reading:
    """How a student reads new patients."""

    label_set: str  # name or path
    names: list[str]  # of the labels, in the model's order
    criteria: Criteria
    diagnosis_names: str
    options: PromptOptions
    code_map: str | None  # file of the site's own codes
    synthetic_codes: str  # what the hospital of synthetic:N writes, as the one that the student learned from


def pack(folder: Path, reading: Mapping[str, Any], knowledge: Knowledge | None, code_map: str | None = None) -> None:
    """Write beside a student's weights all that it needs to read new patients, and take away what it does not.

    reading: labels, in the model's order; synthetic_codes; and the parts select and prompt of the recipe, as JSON has
    them.  knowledge: what its texts list, as it may leave.  code_map: the file of the site's own codes.
    """
    for earlier in (folder / LABEL_SET, folder / KNOWLEDGE, *folder.glob(CODE_MAP)):  # of another recipe
        earlier.unlink(missing_ok=True)
    label_set = reading["select"]["labels"]
    if Path(label_set).is_file():
        write(folder / LABEL_SET, Path(label_set).read_bytes())
        reading = {**reading, "select": reading["select"] | {"labels": LABEL_SET}}
    if code_map:
        write(folder / f"code_map{Path(code_map).suffix}", Path(code_map).read_bytes())
    if knowledge:
        knowledge.save(folder / KNOWLEDGE)
    write(folder / READING, json.dumps(reading, indent=1))


def predict(model: str, source: str, out: str, track: Callable[..., None]) -> str:
    """Write calibrated probabilities at the latest visit of everybody who lives in `source`; return what was done.

    The line says for how many, who was left out and why (latest.py), and what reading the source kept and lost.

    Raises ValueError where `model` is not a student that this project exported, or nobody can be predicted for.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    student, folder = Path(model), Path(out)
    reading = _unpack(student)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    source = with_tables(source, folder / "tables", seed=1, codes=reading.synthetic_codes)
    latest, name_of, said = _latest_visits(source, folder, reading)
    knowledge = Knowledge.load(student / KNOWLEDGE) if (student / KNOWLEDGE).is_file() else None
    rendering = Rendering(reading.names, name_of, reading.options, knowledge, left_out=reading.options.teacher_only)
    logits_NK = _logits(student, latest, rendering, device, track)
    calibration = Calibration.load(student / CALIBRATION, reading.names)
    probabilities_NK = calibration.probabilities(logits_NK)
    write_predictions(folder, latest, probabilities_NK, reading.names, calibration.bits(probabilities_NK))
    return f"{said}; {folder}"


def _latest_visits(source: str, out: Path, reading: Reading) -> tuple[pl.DataFrame, Callable[[str], str], str]:
    """Read every subject's latest visit; return it, a function from its codes to their names, and what is to be said.

    Raises ValueError where nobody is left.
    """
    with tempfile.TemporaryDirectory(prefix=".events.", suffix=".tmp", dir=out) as events:
        report = extract(
            source,
            Path(events),
            lambda ids: np.full(len(ids), "held_out"),
            memory_gb=4.0,
            code_map=load_code_map(reading.code_map, required=False),
        )
        labels = load_label_set(reading.label_set)
        all_events = pl.concat([read_events(Path(events), split) for split in SPLITS])  # a MEDS source has its own
        samples, _ = build_samples(all_events, labels, reading.criteria, labels.columns_of)
        strange = strange_codes(labels, diagnosis_codes([all_events]))
        name_of = naming(read_codes(Path(events)), reading.diagnosis_names)
        latest, left_out = latest_visits(all_events, read_unread_visits(Path(events)), samples)
    why = list(sentences(left_out))
    if not len(latest):
        raise ValueError(f"{source}: nobody to predict for: {', '.join(why)}")
    account = Account(
        {"subjects": len(latest)}, remarks=[*why, *strange_remarks(strange), f"read: {account_of(report).sentence()}"]
    )
    return latest, name_of, account.sentence()


def _logits(
    student: Path, samples: pl.DataFrame, rendering: Rendering, device: str, track: Callable[..., None]
) -> np.ndarray:
    """Return the student's raw logits of `samples`, float32 [N, K]."""
    tokenizer, model = load_tokenizer(student), load_classifier(student, device=device)
    role, pad_id = rendering.role("student", tokenizer), tokenizer.pad_token_id
    logits, done = [], 0
    for chunk in render_samples(samples, rendering, special_tokens(tokenizer)):
        table = table_of([sample.sample_id for sample in chunk], encode(role, [sample.record for sample in chunk]))
        rows = np.arange(len(table))
        logits.append(predict_logits(model, table, rows, micro_tokens=MICRO_TOKENS, pad_id=pad_id, device=device))
        done += len(chunk)
        track(done, len(samples))
    return np.concatenate(logits)


def _unpack(model: Path) -> Reading:
    """Read what `pack` wrote, with the whole path of the label set."""
    if not (model / READING).is_file() or not (model / CALIBRATION).is_file():
        raise ValueError(
            f"{model} is no student of this project: {READING} or {CALIBRATION} is missing; give RUN/student"
        )
    try:
        packed = json.loads((model / READING).read_text())
        select, prompt = packed["select"], packed["prompt"]
        return Reading(
            label_set=str(model / LABEL_SET) if select["labels"] == LABEL_SET else select["labels"],
            names=packed["labels"],
            criteria=Criteria(select["history_visits"], select["min_age"]),  # whoever comes next is not asked
            diagnosis_names=prompt["diagnosis_names"],
            synthetic_codes=packed["synthetic_codes"],
            code_map=next((str(file) for file in sorted(model.glob(CODE_MAP))), None),
            options=PromptOptions(
                **{
                    each.name: prompt[each.name]
                    for each in fields(PromptOptions)
                    if each.default is MISSING or each.name in prompt
                }
            ),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{model / READING} does not say how this student reads ({error}): export it again") from None
