"""A hospital of six visits, small enough to work by hand, as MIMIC-III and as MIMIC-IV tables."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np

Tables = dict[str, list[dict[str, object]]]

MIMIC3: Tables = {
    "PATIENTS": [
        {"SUBJECT_ID": 7, "GENDER": "F", "DOB": "2060-05-01 00:00:00", "DOD": None},
        {"SUBJECT_ID": 3, "GENDER": "M", "DOB": "1800-01-01 00:00:00", "DOD": "2101-03-09 00:00:00"},  # older than 89
    ],
    "ADMISSIONS": [
        {
            "SUBJECT_ID": subject,
            "HADM_ID": hadm,
            "ADMITTIME": admitted,
            "DISCHTIME": discharged,
            "DEATHTIME": died,
            "ADMISSION_TYPE": "EMERGENCY",
            "DISCHARGE_LOCATION": place,
            "HOSPITAL_EXPIRE_FLAG": int(died is not None),
        }
        for subject, hadm, admitted, discharged, died, place in [
            (7, 72, "2101-02-01 10:00:00", "2101-02-05 12:00:00", None, None),
            (7, 71, "2101-01-01 10:00:00", "2101-01-03 12:00:00", None, "HOME"),
            (3, 31, "2101-03-01 08:00:00", "2101-03-09 20:00:00", "2101-03-09 20:00:00", "DEAD/EXPIRED"),
        ]
    ],
    "DIAGNOSES_ICD": [
        {"SUBJECT_ID": 7, "HADM_ID": 71, "SEQ_NUM": 2, "ICD9_CODE": "4019"},
        {"SUBJECT_ID": 7, "HADM_ID": 71, "SEQ_NUM": 10, "ICD9_CODE": "0389"},
        {"SUBJECT_ID": 7, "HADM_ID": 71, "SEQ_NUM": 1, "ICD9_CODE": "4280"},
        {"SUBJECT_ID": 7, "HADM_ID": 71, "SEQ_NUM": 11, "ICD9_CODE": "4280"},  # again: merged
        {"SUBJECT_ID": 7, "HADM_ID": 72, "SEQ_NUM": 1, "ICD9_CODE": "25000"},
        {"SUBJECT_ID": 3, "HADM_ID": 31, "SEQ_NUM": 1, "ICD9_CODE": "XYZ"},  # in no table
    ],
    "PROCEDURES_ICD": [
        {"SUBJECT_ID": 7, "HADM_ID": 71, "SEQ_NUM": 2, "ICD9_CODE": "0014"},
        {"SUBJECT_ID": 7, "HADM_ID": 71, "SEQ_NUM": 1, "ICD9_CODE": "3961"},
    ],
    "PRESCRIPTIONS": [
        {"SUBJECT_ID": 7, "HADM_ID": 71, "STARTDATE": "2101-01-02 00:00:00", "DRUG": " Heparin "},
        {"SUBJECT_ID": 7, "HADM_ID": 71, "STARTDATE": "2101-01-03 00:00:00", "DRUG": "Heparin"},
        {"SUBJECT_ID": 7, "HADM_ID": 71, "STARTDATE": "2101-01-01 00:00:00", "DRUG": 'Sodium "x", 0.9%'},
        {"SUBJECT_ID": 7, "HADM_ID": 71, "STARTDATE": "2101-01-02 00:00:00", "DRUG": "Aspirin"},
        {"SUBJECT_ID": 7, "HADM_ID": 71, "STARTDATE": None, "DRUG": "Morphine"},  # skipped: never dated by guess
    ],
    "ICUSTAYS": [{"SUBJECT_ID": 7, "HADM_ID": 71, "DBSOURCE": "carevue"}],
    "D_ICD_DIAGNOSES": [{"ICD9_CODE": "4280", "LONG_TITLE": "Heart failure, as this table says"}],
    "D_ICD_PROCEDURES": [{"ICD9_CODE": "3961", "LONG_TITLE": "Bypass, as this table says"}],
}

MIMIC4: Tables = {
    "patients": [
        {"subject_id": 7, "gender": "F", "anchor_age": 41, "anchor_year": 2101, "dod": None},
        {"subject_id": 3, "gender": "M", "anchor_age": 91, "anchor_year": 2101, "dod": "2101-03-09"},
    ],
    "admissions": [{name.lower(): value for name, value in row.items()} for row in MIMIC3["ADMISSIONS"]],
    "diagnoses_icd": [
        {"subject_id": 7, "hadm_id": 71, "seq_num": 2, "icd_code": "I509   ", "icd_version": 10},
        {"subject_id": 7, "hadm_id": 71, "seq_num": 1, "icd_code": "4280", "icd_version": 9},
        {"subject_id": 7, "hadm_id": 72, "seq_num": 1, "icd_code": "4280", "icd_version": 11},  # no such version
    ],
    "prescriptions": [{"subject_id": 7, "hadm_id": 71, "starttime": "2101-01-02 07:30:00", "drug": "Aspirin"}],
}


def write(folder: Path, tables: Tables, ending: str = ".csv.gz", file_case=str, column_case=str) -> Path:
    """Write the tables as CSV, each name through its case."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow([column_case(column) for column in rows[0]])
        out.writerows(row.values() for row in rows)
        raw = text.getvalue().encode()
        (folder / (file_case(name) + ending)).write_bytes(gzip.compress(raw) if ending.endswith(".gz") else raw)
    return folder


def all_train(subject_N: np.ndarray) -> np.ndarray:
    return np.full(len(subject_N), "train")


def by_parity(subject_N: np.ndarray) -> np.ndarray:
    return np.where(subject_N % 4 == 3, "tuning", np.where(subject_N % 2 == 0, "held_out", "train"))


def data_bytes(folder: Path) -> dict[str, bytes]:
    """Content of every file of events."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "data").rglob("*.parquet"))}
