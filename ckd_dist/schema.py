"""The tables that flow from stage to stage, the run folder that holds them, and the hash that ties labels to shards.

    events -> samples -> prompts -> soft labels -> predictions

Every table is parquet with exactly the columns below; arrays that a training loop reads are safetensors.  Nothing else
in the project spells a path of the run folder.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

SPLITS = ("train", "tuning", "held_out")  # MEDS names

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

# --- prompts: what teacher and student read ---------------------------------------------------------------------------

SPAN = pl.Struct(
    {
        "kind": pl.String,  # visit, section, diagnosis, medication, procedure, efficacy
        "start": pl.Int32,  # characters into the text
        "end": pl.Int32,
        "visit": pl.Int16,  # 0 is the index visit, 1 the one before
    }
)

PROMPTS = pl.Schema(
    {
        "sample_id": pl.Int64,
        "teacher_text": pl.String,  # chat template applied, within the teacher's token budget
        "teacher_spans": pl.List(SPAN),
        "student_text": pl.String,
        "student_spans": pl.List(SPAN),
        "answer": pl.String,  # the published answer sentence; null: unlabelled
        "num_items_cut": pl.Int32,  # items of the record that the teacher's budget left out
    }
)

# --- third study: cases of several sites, their findings as concepts --------------------------------------------------

CONCEPTS = pl.Schema(
    {
        "concept": pl.Int32,  # its row, which CASES.concepts names
        "system": pl.String,  # code system: ICD9, ICD10, drug, eicu_diagnosis, ... or a site's own
        "text": pl.String,  # the phrase that is embedded; "Not <phrase>" for a finding that was looked for and absent
        "code": pl.String,  # one code that it stands for, for people
        "absent": pl.Boolean,  # whether it says that a finding is absent
    }
)  # (system, text) occurs once; rows sorted by it

CASES = pl.Schema(
    {
        "case_id": pl.Int64,  # running number over all sites; the only id that logs may show
        "subject_id": pl.Int64,  # over all sites: the same person has the same number, where that is known
        "site": pl.String,
        "split": pl.String,  # by subject, so never two for one person
        "concepts": pl.List(pl.Int32),  # each once, by first time up to the prediction, then as they stand
        "outcomes": pl.List(pl.Int8),  # K bits
        "oracle": pl.List(pl.Float32),  # K exact probabilities where the law is known; null elsewhere
    }
)

# --- predictions ------------------------------------------------------------------------------------------------------

PREDICTIONS = pl.Schema(
    {
        "sample_id": pl.Int64,
        "subject_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),
        "probabilities": pl.List(pl.Float32),  # K calibrated probabilities
    }
)


def check_columns(frame: pl.DataFrame, schema: pl.Schema, name: str) -> pl.DataFrame:
    """Return `frame` with exactly the columns of `schema`, in order; raise where one is missing or has another type."""
    for column, dtype in schema.items():
        if column not in frame.columns:
            raise ValueError(f"{name}: column {column!r} is missing; it has {frame.columns}")
        if frame.schema[column] != dtype:
            raise ValueError(f"{name}: column {column!r} is {frame.schema[column]}, expected {dtype}")
    return frame.select(schema.names())


def hash_of_columns(names: Sequence[str]) -> str:
    """Hash of the label columns in order: 16 hex digits.  Shards, models and label sets carry it and must agree."""
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """The run folder.  Every stage reads and writes below it, through these names."""

    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.json"

    @property
    def tables(self) -> Path:
        """The synthetic hospital's tables, where the source is synthetic."""
        return self.root / "tables"

    @property
    def events(self) -> Path:
        """A MEDS data set: data/<split>/00000.parquet and metadata/."""
        return self.root / "events"

    def samples(self, split: str) -> Path:
        return self.root / "samples" / f"{split}.parquet"

    @property
    def labels(self) -> Path:
        """Names of the label columns, in order."""
        return self.root / "samples" / "labels.json"

    def prompts(self, split: str) -> Path:
        return self.root / "prompts" / f"{split}.parquet"

    def tokens(self, split: str, reader: str) -> Path:
        """Token ids of `reader` ("teacher" or "student")."""
        return self.root / "prompts" / f"{split}.{reader}.safetensors"

    @property
    def knowledge(self) -> Path:
        return self.root / "prompts" / "knowledge.json"

    def notes(self, split: str) -> Path:
        """Second study: notes with words and gold."""
        return self.root / "notes" / f"{split}.parquet"

    @property
    def tags(self) -> Path:
        """Names of the tag columns, in order."""
        return self.root / "notes" / "tags.json"

    def windows(self, split: str, reader: str) -> Path:
        """Windows of the notes as `reader` ("teacher" or "student") reads them."""
        return self.root / "windows" / f"{split}.{reader}.safetensors"

    @property
    def answers(self) -> Path:
        """What language models answered, one file a question: never asked twice."""
        return self.root / "answers"

    @property
    def combination(self) -> Path:
        """Which labelers speak for which type, and all that was tried."""
        return self.root / "combination.json"

    @property
    def held_out_page(self) -> Path:
        """Held-out notes with what the student found, for those who may read the notes; not a part of the report."""
        return self.root / "entities" / "held_out.html"

    def curve(self, way: str, num_gold: int) -> Path:
        """A student of the learning curve."""
        return self.root / "curve" / f"{way}_{num_gold}"

    @property
    def concepts(self) -> Path:
        """Third study: every concept that a site records."""
        return self.root / "concepts" / "concepts.parquet"

    @property
    def cases(self) -> Path:
        return self.root / "concepts" / "cases.parquet"

    @property
    def outcomes(self) -> Path:
        """Names of the outcomes, in order."""
        return self.root / "concepts" / "outcomes.json"

    def site_events(self, source: int) -> Path:
        """A source's events, a MEDS data set."""
        return self.root / "sites" / f"{source}"

    def vectors(self, embedding: str) -> Path:
        """One embedding's vectors by concept: outside every model that reads them."""
        return self.root / "embeddings" / f"{embedding}.safetensors"

    @property
    def cells(self) -> Path:
        """What every cell of the grid found, a file each."""
        return self.root / "cells"

    def base(self, reader: str) -> Path:
        """Where a tiny base model and its tokenizer are made on the spot."""
        return self.root / "base" / reader

    @property
    def teacher(self) -> Path:
        return self.root / "teacher"

    @property
    def softlabels(self) -> Path:
        return self.root / "softlabels"

    @property
    def student(self) -> Path:
        return self.root / "student"

    @property
    def hard_student(self) -> Path:
        """The same student without distillation: a floor of the report."""
        return self.root / "student_hard"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def stage(self, name: str) -> Path:
        """The record that says that stage `name` is complete, and from what."""
        return self.root / "stages" / f"{name}.json"

    def progress(self, name: str) -> Path:
        """Numbers of a running stage, one JSON object a line."""
        return self.root / "progress" / f"{name}.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"
