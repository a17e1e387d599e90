"""A synthetic hospital of any size, written as MIMIC-III 1.4 tables (.csv.gz, upper-case columns).

    subjects and visits (visits.py) -> codes, drugs, procedures -> tables -> files, chunk by chunk

Each present phenotype is coded once or twice among other diagnoses, in random order; drugs stand among other drugs, some
prescribed again later; procedures, units and sites are noise.  Subjects come in chunks of fixed size with a seed of
their own, so a subject's record does not depend on how many there are, and memory stays flat.

Left out: newborns, deaths at home, nested stays, a death rate that depends on disease.
"""

import gzip
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.hospital.catalogue import OTHER_DIAGNOSES, OTHER_DRUGS, PHENOTYPES, PROCEDURES
from ckd_dist.hospital.visits import MAX_VISITS, Subjects, Visits, simulate

CHUNK = 2000  # subjects that share a seed
FIRST_SUBJECT = 10_001
FIRST_VISIT = 1_000_001
SECOND_CODE = 0.2  # of present phenotypes are coded twice
AGAIN = 0.15  # of prescriptions are written again later in the stay
CAREVUE = 0.55  # of subjects; the others are of the later system

# The strings that rows point to: (phenotype, item) -> position in a flat list.
CODES = [code for p in PHENOTYPES for code, _ in p.codes]
NUM_CODES_K = np.array([len(p.codes) for p in PHENOTYPES])
FIRST_CODE_K = np.cumsum(NUM_CODES_K) - NUM_CODES_K
DRUGS = [[drug for drug, _ in p.effective] for p in PHENOTYPES]
DECOYS = [p.decoys[0] for p in PHENOTYPES]

TABLES = (
    "PATIENTS",
    "ADMISSIONS",
    "ICUSTAYS",
    "DIAGNOSES_ICD",
    "PROCEDURES_ICD",
    "PRESCRIPTIONS",
    "D_ICD_DIAGNOSES",
    "D_ICD_PROCEDURES",
)


def write_tables(folder: Path, num_subjects: int, seed: int, mean_visits: float = 2.5) -> dict[str, int]:
    """Write the hospital's tables into `folder`; return how many rows each has.

    mean_visits: visits a subject on average, those that end in death included (MIMIC-III has 1.27).
    The same arguments give the same bytes.  Raises ValueError where a number is out of range.
    """
    if num_subjects < 1:
        raise ValueError(f"a synthetic hospital needs at least one subject, got {num_subjects}")
    if not 1 <= mean_visits <= 8:
        raise ValueError(f"mean_visits must lie between 1 and 8 visits a subject, got {mean_visits}")
    folder.mkdir(parents=True, exist_ok=True)
    num_rows = dict.fromkeys(TABLES, 0)
    with _files(folder) as files:
        for chunk in _chunks(num_subjects, seed, mean_visits):
            for name, table in chunk.items():
                _append(files[name], table, num_rows[name])
                num_rows[name] += len(table)
    return num_rows


@contextmanager
def _files(folder: Path) -> Iterator[dict[str, gzip.GzipFile]]:
    """One gzip file a table, written beside its place and moved there when all are whole."""
    raw = {name: open(folder / f"{name}.csv.gz.part", "wb") for name in TABLES}
    files = {
        name: gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=file, mtime=0)
        for name, file in raw.items()
    }
    try:
        yield files
        for name in TABLES:
            files[name].close()
            raw[name].flush()
            os.fsync(raw[name].fileno())
    finally:
        for file in raw.values():
            file.close()
    for name in TABLES:
        os.replace(folder / f"{name}.csv.gz.part", folder / f"{name}.csv.gz")


def _append(file: gzip.GzipFile, table: pl.DataFrame, num_before: int) -> None:
    """Write the rows of `table`, numbered on from those before; the very first write starts with the header."""
    text = io.BytesIO()
    numbered = table.with_row_index("ROW_ID", offset=num_before + 1)
    numbered.write_csv(text, include_header=file.tell() == 0, datetime_format="%Y-%m-%d %H:%M:%S")
    file.write(text.getvalue())


def _chunks(num_subjects: int, seed: int, mean_visits: float) -> Iterator[dict[str, pl.DataFrame]]:
    """Tables of one chunk of subjects after the other; the dictionaries of codes come first."""
    yield {"D_ICD_DIAGNOSES": _titles(_diagnosis_titles()), "D_ICD_PROCEDURES": _titles(PROCEDURES)}
    for start in range(0, num_subjects, CHUNK):
        rng = np.random.default_rng([seed, start])
        subjects = simulate(CHUNK, mean_visits, rng)
        tables = _tables(subjects, start, rng)
        end = pl.lit(FIRST_SUBJECT + num_subjects)
        yield {name: table.filter(pl.col("SUBJECT_ID") < end) for name, table in tables.items()}


def _tables(subjects: Subjects, start: int, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """All tables of a chunk whose first subject is number `start` of the hospital."""
    visits = subjects.visits
    ids = _ids(visits, start)
    care = rng.random(len(subjects.birth_S)) < CAREVUE
    return {
        "PATIENTS": _patients(subjects, start),
        "ADMISSIONS": _admissions(visits, ids, rng),
        "ICUSTAYS": _icu_stays(visits, ids, care[visits.subject_V], rng),
        "DIAGNOSES_ICD": _diagnoses(visits, ids, rng),
        "PROCEDURES_ICD": _procedures(visits, ids, rng),
        "PRESCRIPTIONS": _prescriptions(visits, ids, rng),
    }


def _ids(visits: Visits, start: int) -> pl.DataFrame:
    """SUBJECT_ID and HADM_ID of every visit."""
    is_first_V = np.diff(visits.subject_V, prepend=-1) > 0
    row_V = np.arange(len(visits.subject_V))
    number_V = row_V - np.maximum.accumulate(np.where(is_first_V, row_V, 0))  # 0, 1, ... within the subject
    subject_V = start + visits.subject_V
    return pl.DataFrame(
        {"SUBJECT_ID": FIRST_SUBJECT + subject_V, "HADM_ID": FIRST_VISIT + subject_V * MAX_VISITS + number_V}
    )


def _patients(subjects: Subjects, start: int) -> pl.DataFrame:
    visits = subjects.visits
    death_S = np.full(len(subjects.birth_S), np.datetime64("NaT", "m"))
    death_S[visits.subject_V[visits.died_V]] = visits.discharged_V[visits.died_V].astype("datetime64[D]")
    return pl.DataFrame(
        {
            "SUBJECT_ID": FIRST_SUBJECT + start + np.arange(len(death_S)),
            "GENDER": np.where(subjects.female_S, "F", "M"),
            "DOB": _time(subjects.birth_S),
            "DOD": _time(death_S),
            "DOD_HOSP": _time(death_S),
            "DOD_SSN": _time(np.full_like(death_S, np.datetime64("NaT"))),
            "EXPIRE_FLAG": (~np.isnat(death_S)).astype(int),
        }
    )


def _admissions(visits: Visits, ids: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    num = len(ids)
    emergency = rng.random(num) < 0.8
    home = rng.choice(np.array(["HOME", "HOME HEALTH CARE", "SNF", "REHAB/DISTINCT PART HOSP"]), num)
    died = visits.died_V
    return ids.with_columns(
        ADMITTIME=_time(visits.admitted_V),
        DISCHTIME=_time(visits.discharged_V),
        DEATHTIME=_time(np.where(died, visits.discharged_V, np.datetime64("NaT", "m"))),
        ADMISSION_TYPE=pl.Series(np.where(emergency, "EMERGENCY", "ELECTIVE")),
        ADMISSION_LOCATION=pl.Series(np.where(emergency, "EMERGENCY ROOM ADMIT", "PHYS REFERRAL/NORMAL DELI")),
        DISCHARGE_LOCATION=pl.Series(np.where(died, "DEAD/EXPIRED", home)),
        INSURANCE=pl.Series(rng.choice(np.array(["Medicare", "Private", "Medicaid"]), num, p=[0.55, 0.35, 0.1])),
        LANGUAGE=pl.lit("ENGL"),
        RELIGION=pl.lit("NOT SPECIFIED"),
        MARITAL_STATUS=pl.Series(rng.choice(np.array(["MARRIED", "SINGLE", "WIDOWED"]), num)),
        ETHNICITY=pl.lit("UNKNOWN/NOT SPECIFIED"),
        EDREGTIME=pl.lit(None, pl.String),
        EDOUTTIME=pl.lit(None, pl.String),
        DIAGNOSIS=pl.lit("SYNTHETIC"),
        HOSPITAL_EXPIRE_FLAG=pl.Series(died.astype(int)),
        HAS_CHARTEVENTS_DATA=pl.lit(0),
    )


def _icu_stays(visits: Visits, ids: pl.DataFrame, carevue_V: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """One stay a visit, as long as the visit; its DBSOURCE is the site."""
    unit = pl.Series(rng.choice(np.array(["MICU", "SICU", "CCU", "CSRU", "TSICU"]), len(ids)))
    days = (visits.discharged_V - visits.admitted_V) / np.timedelta64(1, "D")
    return ids.with_columns(
        ICUSTAY_ID=pl.col("HADM_ID") + 5_000_000,
        DBSOURCE=pl.Series(np.where(carevue_V, "carevue", "metavision")),
        FIRST_CAREUNIT=unit,
        LAST_CAREUNIT=unit,
        FIRST_WARDID=pl.lit(52),
        LAST_WARDID=pl.lit(52),
        INTIME=_time(visits.admitted_V),
        OUTTIME=_time(visits.discharged_V),
        LOS=pl.Series(days.round(4)),
    )


def _diagnoses(visits: Visits, ids: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """One or two codes of every present phenotype, and others; at least one a visit, in random order."""
    visit_P, phenotype_P = np.nonzero(visits.present_VK)
    num_P = NUM_CODES_K[phenotype_P]
    first_P = rng.integers(0, num_P)
    second_P = (first_P + rng.integers(1, num_P)) % num_P
    twice_P = rng.random(len(visit_P)) < SECOND_CODE
    code_P, again_P = FIRST_CODE_K[phenotype_P] + first_P, FIRST_CODE_K[phenotype_P] + second_P
    is_other_VM = rng.random((len(ids), len(OTHER_DIAGNOSES))) < [share for _, _, share in OTHER_DIAGNOSES]
    is_other_VM[~visits.present_VK.any(axis=1) & ~is_other_VM.any(axis=1), 0] = True
    visit_O, other_O = np.nonzero(is_other_VM)
    return _in_random_order(
        ids,
        np.concatenate([visit_P, visit_P[twice_P], visit_O]),
        np.concatenate([code_P, again_P[twice_P], len(CODES) + other_O]),
        CODES + [code for code, _, _ in OTHER_DIAGNOSES],
        rng,
    )


def _procedures(visits: Visits, ids: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    visit_P, item_P = np.nonzero(rng.random((len(ids), len(PROCEDURES))) < [share for _, _, share in PROCEDURES])
    return _in_random_order(ids, visit_P, item_P, [code for code, _, _ in PROCEDURES], rng)


def _in_random_order(
    ids: pl.DataFrame, visit: np.ndarray, item: np.ndarray, codes: Sequence[str], rng: np.random.Generator
) -> pl.DataFrame:
    """Rows of codes, numbered by SEQ_NUM within the visit."""
    order = np.lexsort((rng.random(len(visit)), visit))
    return ids[visit[order]].with_columns(
        SEQ_NUM=pl.int_range(1, pl.len() + 1).over("HADM_ID"),
        ICD9_CODE=pl.Series(list(codes), dtype=pl.String)[item[order]],
    )


def _prescriptions(visits: Visits, ids: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Drugs of the present phenotypes, decoys and others, from some day of the stay to its end; some written twice."""
    names = [drug for drugs in DRUGS for drug in drugs] + DECOYS + [drug for drug, _ in OTHER_DRUGS]
    num_phenotypes = len(PHENOTYPES)
    num_drugs = len(DRUGS[0])
    visit_T, treated_T = np.nonzero(visits.drug_VK >= 0)
    drug_T = treated_T * num_drugs + visits.drug_VK[visit_T, treated_T]
    visit_D, decoy_D = np.nonzero(visits.decoy_VK)
    visit_O, other_O = np.nonzero(rng.random((len(ids), len(OTHER_DRUGS))) < [share for _, share in OTHER_DRUGS])
    visit = np.concatenate([visit_T, visit_D, visit_O])
    drug = np.concatenate([drug_T, num_phenotypes * num_drugs + decoy_D, num_phenotypes * (num_drugs + 1) + other_O])
    again = rng.random(len(visit)) < AGAIN
    visit, drug = np.concatenate([visit, visit[again]]), np.concatenate([drug, drug[again]])

    first_day = visits.admitted_V[visit].astype("datetime64[D]")
    last_day = visits.discharged_V[visit].astype("datetime64[D]")
    start_day = first_day + rng.integers(0, (last_day - first_day).astype(int) + 1)
    order = np.lexsort((rng.random(len(visit)), visit))
    name = pl.Series([name.title() for name in names], dtype=pl.String)[drug[order]]
    return ids[visit[order]].with_columns(
        ICUSTAY_ID=pl.col("HADM_ID") + 5_000_000,
        STARTDATE=_time(start_day[order]),
        ENDDATE=_time(last_day[order]),
        DRUG_TYPE=pl.lit("MAIN"),
        DRUG=name,
        DRUG_NAME_POE=name,
        DRUG_NAME_GENERIC=name,
        FORMULARY_DRUG_CD=pl.lit(None, pl.String),
        GSN=pl.lit(None, pl.String),
        NDC=pl.lit(None, pl.String),
        PROD_STRENGTH=pl.lit(None, pl.String),
        DOSE_VAL_RX=pl.lit("1"),
        DOSE_UNIT_RX=pl.lit("UNIT"),
        FORM_VAL_DISP=pl.lit("1"),
        FORM_UNIT_DISP=pl.lit("UNIT"),
        ROUTE=pl.lit("PO/NG"),
    )


def _diagnosis_titles() -> list[tuple[str, str, float]]:
    return [(code, title, 1.0) for p in PHENOTYPES for code, title in p.codes] + list(OTHER_DIAGNOSES)


def _titles(rows: Sequence[tuple[str, str, float]]) -> pl.DataFrame:
    """A dictionary table.  MIMIC-III's short titles have at most 24 characters."""
    return pl.DataFrame(
        {
            "ICD9_CODE": [code for code, _, _ in rows],
            "SHORT_TITLE": [title[:24] for _, title, _ in rows],
            "LONG_TITLE": [title for _, title, _ in rows],
        }
    )


def _time(times: np.ndarray) -> pl.Series:
    return pl.Series(times.astype("datetime64[ms]"))
