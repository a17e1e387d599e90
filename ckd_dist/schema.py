"""What two rooms or more name: event codes (MEDS), splits, samples; and the hash that ties labels to shards.

Every table is parquet with exactly its columns.  Columns that one study alone has stand in that study.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar

import polars as pl

SPLITS = ("train", "tuning", "held_out")  # MEDS names
FEWEST_SUBJECTS = 11  # the usual small-cell rule: what leaves with a model or a report rests on so many subjects

# --- events: MEDS 0.4 (subject_id, time, code, numeric_value) with the visit kept as an extra column -----------------

EVENTS = pl.Schema(
    {
        "subject_id": pl.Int64,
        "time": pl.Datetime("us"),  # null: static facts only (GENDER//, SITE//)
        "code": pl.String,
        "numeric_value": pl.Float32,
        "hadm_id": pl.Int64,  # the hospital visit, null outside one
    }
)

BIRTH = "MEDS_BIRTH"
DEATH = "MEDS_DEATH"
GENDER = "GENDER//"  # GENDER//F
SITE = "SITE//"  # SITE//carevue, SITE//region=South, SITE//hospital=73; of a visit, optional
ADMISSION = "HOSPITAL_ADMISSION//"  # HOSPITAL_ADMISSION//EMERGENCY, at ADMITTIME
DISCHARGE = "HOSPITAL_DISCHARGE//"  # HOSPITAL_DISCHARGE//HOME, at DISCHTIME; HOSPITAL_DISCHARGE//DIED ends in death
DIED = DISCHARGE + "DIED"
DIAGNOSIS = "DIAGNOSIS//ICD//"  # DIAGNOSIS//ICD//9//4280, at DISCHTIME: codes are assigned then
PROCEDURE = "PROCEDURE//ICD//"  # PROCEDURE//ICD//9//3961
ANY_DIAGNOSIS = (
    "DIAGNOSIS//"  # DIAGNOSIS//SNOMED//84114007: a vocabulary of the site's, in capitals, and its code as it is
)
ANY_PROCEDURE = "PROCEDURE//"  # PROCEDURE//CPT//33405
MEDICATION = "MEDICATION//"  # MEDICATION//aspirin, raw name in lower case, at its first start
ICU_ADMISSION = "ICU_ADMISSION//"  # ICU_ADMISSION//MICU; a visit may have several of the same
ICU_DISCHARGE = "ICU_DISCHARGE//"  # ICU_DISCHARGE//Floor
EICU_DIAGNOSIS = "DIAGNOSIS//EICU//"  # a path in lower case, at the time it was written: not at discharge
TREATMENT = "TREATMENT//"  # TREATMENT//EICU//pulmonary|medications|bronchodilator
HISTORY = "HISTORY//"  # HISTORY//EICU//pulmonary/asthma/asthma: what the subject had before

# --- samples: one visit, and the next one's labels -------------------------------------------------------------------

VISIT = pl.Struct(
    {
        "diagnoses": pl.List(pl.String),  # event codes in SEQ_NUM order
        "medications": pl.List(pl.String),  # raw names, lower case, once each, by first start
        "procedures": pl.List(pl.String),  # event codes in SEQ_NUM order
        "days_before": pl.Float32,  # discharge to the sample's prediction_time
    }
)

SAMPLES = pl.Schema(
    {
        "sample_id": pl.Int64,  # running number over all splits; the only id that logs may show
        "subject_id": pl.Int64,
        "hadm_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),  # discharge of the index visit
        "age": pl.Float32,  # years at prediction_time, null where birth is unknown
        "sex": pl.String,  # F, M, or null
        "site": pl.String,  # "all" where the source names none
        "gap_days": pl.Float32,  # since the previous visit's discharge, null for the first
        "diagnoses": pl.List(pl.String),
        "medications": pl.List(pl.String),
        "procedures": pl.List(pl.String),
        "history": pl.List(VISIT),  # earlier visits, newest first, at most `history_visits`
        "current": pl.List(pl.Int8),  # K bits of the index visit
        "labels": pl.List(pl.Int8),  # K bits of the next visit; null: unlabelled
    }
)


Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def check_columns(frame: Frame, schema: pl.Schema, name: str) -> Frame:
    """Return `frame` with exactly the columns of `schema`, in order; raise where one is missing or has another type."""
    found = frame.collect_schema()
    for column, dtype in schema.items():
        if column not in found:
            raise ValueError(f"{name}: column {column!r} is missing; it has {found.names()}")
        if found[column] != dtype:
            raise ValueError(f"{name}: column {column!r} is {found[column]}, expected {dtype}")
    return frame.select(schema.names())


def hash_of_columns(names: Sequence[str]) -> str:
    """Hash of the label columns in order: 16 hex digits.  Shards, models and label sets carry it and must agree."""
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16]
