"""Whom to predict for: the finding's hospital of two visits each, from tables and from the MEDS made of them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.events import read_events, read_unread_visits
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.ehr.samples import build_samples
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease.latest import latest_visits
from tests.ehr.small import Tables, write
from tests.ehr.test_meds import write_meds

DIED, GONE, OPEN, NONE, NOTHING = (
    "died in hospital: nobody to predict for",
    "died, in no visit on record: nobody to predict for",
    "came last for a visit without readable times, or are still there",
    "had no visit with an admission and a discharge in order",
    "came last for a visit that passes no criterion (no diagnosis coded, too young)",
)

# What is special about a subject's second visit or its death -> why nobody predicts for it, None: somebody does.
CASES = {
    "nothing": ({}, None, None),
    "died, all said": ({"DEATHTIME": "2100-02-05 12:00:00", "HOSPITAL_EXPIRE_FLAG": 1}, None, DIED),
    "died, flag alone": ({"HOSPITAL_EXPIRE_FLAG": 1}, None, DIED),
    "died, place alone": ({"DISCHARGE_LOCATION": "DEAD/EXPIRED"}, None, DIED),
    "died within, discharged home": ({}, "2100-02-03 00:00:00", DIED),
    "died at home": ({}, "2100-03-01 00:00:00", GONE),
    "died on the day of discharge": ({}, "2100-02-05 00:00:00", GONE),
    "died before all": ({}, "2099-02-05 00:00:00", GONE),
    "died between the visits": ({}, "2100-01-20 00:00:00", GONE),
    "in a hospice": ({"DISCHARGE_LOCATION": "HOSPICE-HOME"}, None, None),
    "still in hospital": ({"DISCHTIME": None}, None, OPEN),
    "discharged before admitted": ({"DISCHTIME": "2100-01-20 12:00:00"}, None, OPEN),
    "no readable admission": ({"ADMITTIME": "soon"}, None, OPEN),
    "still in hospital, dead": ({"DISCHTIME": None, "DEATHTIME": "2100-02-05 12:00:00"}, None, GONE),
    "no diagnosis": ({"CODE": None}, None, NOTHING),
    "within the first": ({"ADMITTIME": "2100-01-02 08:00:00", "DISCHTIME": "2100-01-03 08:00:00"}, None, None),
}


def hospital() -> Tables:
    """Two visits a subject, the second as CASES says; and one subject who never came."""
    admissions, diagnoses, patients = [], [], []
    for subject, (changes, death, _) in enumerate(CASES.values(), 1):
        patients.append({"SUBJECT_ID": subject, "GENDER": "F", "DOB": "2050-01-01 00:00:00", "DOD": death})
        for visit in (1, 2):
            row = {
                "SUBJECT_ID": subject,
                "HADM_ID": 10 * subject + visit,
                "ADMITTIME": f"2100-0{visit}-01 08:00:00",
                "DISCHTIME": f"2100-0{visit}-05 12:00:00",
                "DEATHTIME": None,
                "ADMISSION_TYPE": "EMERGENCY",
                "DISCHARGE_LOCATION": "HOME",
                "HOSPITAL_EXPIRE_FLAG": 0,
            }
            own = changes if visit == 2 else {}
            admissions.append(row | {name: value for name, value in own.items() if name != "CODE"})
            code = own.get("CODE", "4280")
            diagnoses += [{"SUBJECT_ID": subject, "HADM_ID": row["HADM_ID"], "SEQ_NUM": 1, "ICD9_CODE": code}] * bool(
                code
            )
    patients.append({"SUBJECT_ID": 99, "GENDER": "F", "DOB": "2050-01-01 00:00:00", "DOD": None})
    return {"PATIENTS": patients, "ADMISSIONS": admissions, "DIAGNOSES_ICD": diagnoses}


def asked(source: str, folder: Path) -> tuple[pl.DataFrame, dict[str, int]]:
    extract(source, folder, lambda ids: np.full(len(ids), "held_out"), 1.0)
    events, labels = pl.concat([read_events(folder, split) for split in SPLITS]), load_label_set("phenotypes25")
    samples, _ = build_samples(events, labels, Criteria(), labels.columns_of)
    return latest_visits(events, read_unread_visits(folder), samples)


@pytest.fixture(scope="module")
def by_tables(tmp_path_factory) -> tuple[Path, pl.DataFrame, dict[str, int]]:
    folder = tmp_path_factory.mktemp("hospital")
    write(folder / "tables", hospital())
    return folder / "events", *asked(f"mimic3:{folder / 'tables'}", folder / "events")


def test_nobody_predicts_for_the_dead_or_of_the_past(by_tables):
    _, latest, left_out = by_tables
    names = list(CASES)
    assert [names[subject - 1] for subject in latest["subject_id"].sort()] == [
        name for name, (*_, why) in CASES.items() if why is None
    ]
    whys = [why for *_, why in CASES.values() if why] + [NONE]
    assert left_out == {why: whys.count(why) for why in (DIED, GONE, OPEN, NONE, NOTHING)}
    outer = latest.filter(subject_id=1 + names.index("within the first"))
    assert outer["prediction_time"].dt.month().to_list() == [1], "the visit that ends last"
    whole = latest.filter(subject_id=1)
    assert whole["prediction_time"].dt.month().to_list() == [2]


def test_the_meds_of_these_tables_leaves_out_the_same(by_tables, tmp_path: Path):
    events, latest, left_out = by_tables
    again, left_out_again = asked(f"meds:{events}", tmp_path / "again")
    assert again.equals(latest) and left_out_again == left_out


def test_meds_of_others(tmp_path: Path):
    """A stay that is still open, and a death that only a discharge of an unreadable visit says."""
    rows = [
        (subject, f"2100-0{month}-0{day}", code, 10 * subject + month)
        for subject in (1, 2, 3)
        for month in (1, 2)
        for day, code in ((1, "HOSPITAL_ADMISSION//A"), (5, "DIAGNOSIS//ICD//9//4280"), (5, "HOSPITAL_DISCHARGE//HOME"))
    ]
    rows.remove((2, "2100-02-05", "HOSPITAL_DISCHARGE//HOME", 22))
    rows.append((3, "2100-03-05", "HOSPITAL_DISCHARGE//Expired", 33))
    latest, left_out = asked(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events")
    assert latest["subject_id"].to_list() == [1]
    assert left_out == {GONE: 1, OPEN: 1}
