"""Write subjects and visits down as MIMIC-III tables.

Each present phenotype is coded once or twice among other diagnoses, in random order; drugs come among other drugs,
some of them prescribed again; procedures, units and sites are noise.

    V visits, K phenotypes, C diagnosis codes, G drugs
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ckd_dist.hospital.catalogue import OTHER_DIAGNOSES, OTHER_DRUGS, PHENOTYPES, PROCEDURES
from ckd_dist.hospital.visits import MAX_VISITS, Subjects, Visits

FIRST_SUBJECT = 10_001
FIRST_VISIT = 1_000_001
FIRST_STAY = 6_000_001
SECOND_CODE = 0.2  # of present phenotypes are coded twice
AGAIN = 0.15  # of prescriptions are written twice in the stay
CAREVUE = 0.55  # of subjects; the others' units write to the later system

# Diagnosis codes: those of the first phenotype, of the second, ..., the others.
TITLES = [title for p in PHENOTYPES for title in p.codes] + [(code, title) for code, title, _ in OTHER_DIAGNOSES]
NUM_CODES_K = np.array([len(p.codes) for p in PHENOTYPES])
FIRST_CODE_K = np.cumsum(NUM_CODES_K) - NUM_CODES_K
# Drugs: the first effective one of every phenotype, the second, the decoy, the others.
DRUGS = [
    *(p.effective[0][0] for p in PHENOTYPES),
    *(p.effective[1][0] for p in PHENOTYPES),
    *(p.decoy for p in PHENOTYPES),
    *(drug for drug, _ in OTHER_DRUGS),
]


def dictionaries() -> dict[str, pl.DataFrame]:
    """Return the titles of all codes, a table a kind."""
    procedures = [(code, title) for code, title, _ in PROCEDURES]
    return {"D_ICD_DIAGNOSES": _titles(TITLES), "D_ICD_PROCEDURES": _titles(procedures)}


def tables(subjects: Subjects, start: int, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Return all tables of a chunk whose first subject is number `start` of the hospital, without ROW_ID."""
    visits = subjects.visits
    ids = _ids(visits, start)
    carevue = rng.random(len(subjects.birth_S)) < CAREVUE
    return {
        "PATIENTS": _patients(subjects, start),
        "ADMISSIONS": _admissions(visits, ids, rng),
        "ICUSTAYS": _icu_stays(visits, ids, carevue[visits.subject_V], rng),
        "DIAGNOSES_ICD": _coded(ids, _diagnoses(visits, rng), [code for code, _ in TITLES], rng),
        "PROCEDURES_ICD": _coded(ids, _at_random(len(ids), PROCEDURES, rng), [code for code, *_ in PROCEDURES], rng),
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
        ICUSTAY_ID=_stay(),
        DBSOURCE=pl.Series(np.where(carevue_V, "carevue", "metavision")),
        FIRST_CAREUNIT=unit,
        LAST_CAREUNIT=unit,
        FIRST_WARDID=pl.lit(52),
        LAST_WARDID=pl.lit(52),
        INTIME=_time(visits.admitted_V),
        OUTTIME=_time(visits.discharged_V),
        LOS=pl.Series(days.round(4)),
    )


def _stay() -> pl.Expr:
    return pl.col("HADM_ID") + (FIRST_STAY - FIRST_VISIT)


def _at_random(num: int, items: Sequence[tuple], rng: np.random.Generator) -> np.ndarray:
    """Which visits have which of the items whose last field is their share of visits, bool [num, len(items)]."""
    return rng.random((num, len(items))) < [item[-1] for item in items]


def _diagnoses(visits: Visits, rng: np.random.Generator) -> np.ndarray:
    """Which codes each visit has, bool [V, C]: one or two of every present phenotype, and others; at least one."""
    visit_P, phenotype_P = np.nonzero(visits.present_VK)
    num_P = NUM_CODES_K[phenotype_P]
    first_P = rng.integers(0, num_P)
    second_P = (first_P + rng.integers(1, num_P)) % num_P
    twice_P = rng.random(len(visit_P)) < SECOND_CODE
    is_coded_VC = np.zeros((len(visits.present_VK), FIRST_CODE_K[-1] + NUM_CODES_K[-1]), dtype=bool)
    is_coded_VC[visit_P, FIRST_CODE_K[phenotype_P] + first_P] = True
    is_coded_VC[visit_P[twice_P], (FIRST_CODE_K[phenotype_P] + second_P)[twice_P]] = True
    is_coded_VC = np.hstack([is_coded_VC, _at_random(len(is_coded_VC), OTHER_DIAGNOSES, rng)])
    is_coded_VC[~is_coded_VC.any(axis=1), -1] = True
    return is_coded_VC


def _coded(ids: pl.DataFrame, is_coded_VC: np.ndarray, codes: Sequence[str], rng: np.random.Generator) -> pl.DataFrame:
    """One row a code, in random order within the visit."""
    visit, code = np.nonzero(is_coded_VC)
    order = np.lexsort((rng.random(len(visit)), visit))
    return ids[visit[order]].with_columns(
        SEQ_NUM=pl.int_range(1, pl.len() + 1).over("HADM_ID"), ICD9_CODE=pl.Series(codes, dtype=pl.String)[code[order]]
    )


def _prescriptions(visits: Visits, ids: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """One row a drug, or two, from some day of the stay to its last; in random order within the visit."""
    is_given_VG = np.hstack(
        [visits.drug_VK == 0, visits.drug_VK == 1, visits.decoy_VK, _at_random(len(ids), OTHER_DRUGS, rng)]
    )
    visit, drug = np.nonzero(is_given_VG)
    times = 1 + (rng.random(len(visit)) < AGAIN)
    visit, drug = visit.repeat(times), drug.repeat(times)
    order = np.lexsort((rng.random(len(visit)), visit))
    visit, drug = visit[order], drug[order]
    first_day = visits.admitted_V[visit].astype("datetime64[D]")
    last_day = visits.discharged_V[visit].astype("datetime64[D]")
    start_day = first_day + rng.integers(0, (last_day - first_day).astype(int) + 1)
    name = pl.Series([name.title() for name in DRUGS], dtype=pl.String)[drug]
    nothing = pl.lit(None, pl.String)
    return ids[visit].with_columns(
        ICUSTAY_ID=_stay(),
        STARTDATE=_time(start_day),
        ENDDATE=_time(last_day),
        DRUG_TYPE=pl.lit("MAIN"),
        DRUG=name,
        DRUG_NAME_POE=name,
        DRUG_NAME_GENERIC=name,
        FORMULARY_DRUG_CD=nothing,
        GSN=nothing,
        NDC=nothing,
        PROD_STRENGTH=nothing,
        DOSE_VAL_RX=pl.lit("1"),
        DOSE_UNIT_RX=pl.lit("UNIT"),
        FORM_VAL_DISP=pl.lit("1"),
        FORM_UNIT_DISP=pl.lit("UNIT"),
        ROUTE=pl.lit("PO/NG"),
    )


def _titles(titles: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """A dictionary of codes.  MIMIC-III's short titles have at most 24 characters."""
    return pl.DataFrame(
        {
            "ICD9_CODE": [code for code, _ in titles],
            "SHORT_TITLE": [title[:24] for _, title in titles],
            "LONG_TITLE": [title for _, title in titles],
        }
    )


def _time(times: np.ndarray) -> pl.Series:
    return pl.Series(times.astype("datetime64[ms]"))
