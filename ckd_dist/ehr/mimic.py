"""MIMIC-III 1.4 and MIMIC-IV hosp/ as table maps: where each of our columns lies in their tables.

A site is data.  A column is a SQL expression over the table's own columns, all text, names in lower case; `tables.py`
casts the result.  A table of another hospital that can be said this way needs no code.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TableMap:
    file: str  # name without .csv or .csv.gz, any case
    needs: tuple[str, ...]  # source columns that must be there
    columns: Mapping[str, str]  # ours -> SQL over theirs
    required: bool = False
    spare: tuple[str, ...] = ()  # source columns that are read as null where the table has none


Site = Mapping[str, TableMap]

PATIENT = {"subject_id": "subject_id", "gender": "gender", "dod": "dod"}
VISIT = {
    "subject_id": "subject_id",
    "hadm_id": "hadm_id",
    "admitted": "admittime",
    "discharged": "dischtime",
    "died_at": "deathtime",
    "expired": "hospital_expire_flag",
    "admission_type": "admission_type",
    "discharge_location": "discharge_location",
}
CODED = {"subject_id": "subject_id", "hadm_id": "hadm_id", "seq": "seq_num"}
DRUG = {"subject_id": "subject_id", "hadm_id": "hadm_id", "drug": "drug"}

ICD9 = {"version": "'9'", "code": "icd9_code"}  # MIMIC-III says ICD-9 in the column's name
ICD = {"version": "icd_version", "code": "icd_code"}  # MIMIC-IV says 9 or 10 in every row
CODED_III = ("subject_id", "hadm_id", "seq_num", "icd9_code")
CODED_IV = ("subject_id", "hadm_id", "seq_num", "icd_version", "icd_code")
TITLE = {"title": "long_title"}

MIMIC3: Site = {
    # DOB of subjects older than 89 is shifted by 300 years: kept as it is, the cohort clips age to 90
    "patients": TableMap(
        "PATIENTS", ("subject_id", "gender", "dob", "dod"), {**PATIENT, "birth": "dob"}, required=True
    ),
    "visits": TableMap("ADMISSIONS", tuple(VISIT.values()), VISIT, required=True),
    "diagnoses": TableMap("DIAGNOSES_ICD", CODED_III, {**CODED, **ICD9}, required=True),
    "procedures": TableMap("PROCEDURES_ICD", CODED_III, {**CODED, **ICD9}),
    "medications": TableMap(
        "PRESCRIPTIONS", ("subject_id", "hadm_id", "startdate", "drug"), {**DRUG, "started": "startdate"}
    ),
    "stays": TableMap(
        "ICUSTAYS",
        ("subject_id", "hadm_id", "dbsource"),
        {"subject_id": "subject_id", "hadm_id": "hadm_id", "site": "dbsource"},
    ),
    "diagnosis_titles": TableMap("D_ICD_DIAGNOSES", ("icd9_code", "long_title"), {**ICD9, **TITLE}),
    "procedure_titles": TableMap("D_ICD_PROCEDURES", ("icd9_code", "long_title"), {**ICD9, **TITLE}),
}

MIMIC4: Site = {
    # only the year of birth is known: the age that a subject has in the anchor year; 91 means all above 89.  A
    # hospital that knows the day may give it beside, in a column dob
    "patients": TableMap(
        "PATIENTS",
        ("subject_id", "gender", "anchor_age", "anchor_year", "dod"),
        {
            **PATIENT,
            "birth": "coalesce(dob, (TRY_CAST(anchor_year AS INT) - TRY_CAST(anchor_age AS INT)) || '-01-01')",
        },
        required=True,
        spare=("dob",),
    ),
    "visits": TableMap("ADMISSIONS", tuple(VISIT.values()), VISIT, required=True),
    "diagnoses": TableMap("DIAGNOSES_ICD", CODED_IV, {**CODED, **ICD}, required=True),
    "procedures": TableMap("PROCEDURES_ICD", CODED_IV, {**CODED, **ICD}),
    "medications": TableMap(
        "PRESCRIPTIONS", ("subject_id", "hadm_id", "starttime", "drug"), {**DRUG, "started": "starttime"}
    ),
    "diagnosis_titles": TableMap("D_ICD_DIAGNOSES", ("icd_code", "icd_version", "long_title"), {**ICD, **TITLE}),
    "procedure_titles": TableMap("D_ICD_PROCEDURES", ("icd_code", "icd_version", "long_title"), {**ICD, **TITLE}),
}
