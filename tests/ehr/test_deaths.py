"""Who died is alike in every source: flag, time of death, place of discharge, the subject's own death."""

from pathlib import Path

import polars as pl
import pytest

from ckd_dist import schema
from ckd_dist.ehr.events import read_events
from ckd_dist.ehr.extract import extract
from tests.ehr.small import MIMIC3, MIMIC4, all_train, data_bytes, write
from tests.ehr.test_eicu import stay
from tests.ehr.test_meds import write_meds

# (place of discharge, hospital_expire_flag, time of death) -> whether the visit ended in death
SAID = [
    ("HOME", 0, None, False),
    (None, None, None, False),
    ("HOSPICE-HOME", 0, None, False),
    ("HOSPICE-MEDICAL FACILITY", "0", None, False),
    ("DEAD/EXPIRED", 0, None, True),  # mimic-code#8
    ("DIED", 0, None, True),
    ("Expired", None, None, True),
    ("EXPIRED IN MEDICAL FACILITY", 0, None, True),
    ("Death", 0, None, True),
    ("Deceased", 0, None, True),
    ("Died, not resuscitated", 0, None, True),  # "not" is of something else
    ("EXPIRED (not DNR)", 0, None, True),
    ("NOT EXPIRED", 0, None, False),
    ("MORGUE", 0, None, True),
    ("Coroner/Medical Examiner", 0, None, True),
    ("20", 0, None, True),  # UB-04's status of a discharge
    ("01", 0, None, False),
    (None, 1, None, True),  # mimic-code#1406: flag without a time
    ("HOME", "1.0", None, True),
    ("HOME", "Y", None, True),
    ("HOME", "True", None, True),
    ("HOME", "N", None, False),
    ("HOME", 0, "2101-01-03 11:00:00", True),
]


ALL = range(len(SAID))  # a subject and a visit each
DEAD = {number for number in ALL if SAID[number][3]}


def hospital(tables: dict) -> dict:
    """A hospital of the same columns whose visits end as SAID, each with one diagnosis."""

    def rows(name: str, changes_of) -> dict:
        (table,) = (table for table in tables if table.lower() == name)
        own = {column.lower(): column for column in tables[table][0]}
        changed = [{own[key]: value for key, value in changes_of(number).items()} for number in ALL]
        return {table: [tables[table][0] | change for change in changed]}

    def ending(number: int) -> dict:
        place, flag, died, _ = SAID[number]
        times = {"admittime": "2101-01-01 10:00:00", "dischtime": "2101-01-03 12:00:00", "deathtime": died}
        said = {"discharge_location": place, "hospital_expire_flag": flag}
        return {"subject_id": number, "hadm_id": number} | times | said

    patients = rows("patients", lambda number: {"subject_id": number})
    coded = rows("diagnoses_icd", lambda number: {"subject_id": number, "hadm_id": number})
    return patients | rows("admissions", ending) | coded


def died_in(folder: Path, code: str = schema.DIED) -> set[int]:
    return set(read_events(folder, "train").filter(pl.col("code") == code).collect()["subject_id"])


@pytest.mark.parametrize("kind, tables", [("mimic3", MIMIC3), ("mimic4", MIMIC4)])
def test_tables_and_their_meds_agree(tmp_path: Path, kind: str, tables: dict):
    folder = write(tmp_path / "tables", hospital(tables))
    extract(f"{kind}:{folder}", tmp_path / "events", all_train, 1.0)
    assert died_in(tmp_path / "events") == DEAD
    assert died_in(tmp_path / "events", schema.DEATH) == DEAD, "who died in hospital has died"
    extract(f"meds:{tmp_path / 'events'}", tmp_path / "again", all_train, 1.0)
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


def test_a_flag_of_other_words_is_counted(tmp_path: Path):
    odd = [row | {"HOSPITAL_EXPIRE_FLAG": "perhaps"} for row in MIMIC3["ADMISSIONS"]]
    folder = write(tmp_path / "tables", MIMIC3 | {"ADMISSIONS": odd})
    report = extract(f"mimic3:{folder}", tmp_path / "events", all_train, 1.0)
    assert report["remarks"] == [  # 31 has a time of death
        "2 visits have a hospital_expire_flag of neither yes nor no, and are taken as survived"
    ]


def test_meds_of_others_say_it_by_their_place(tmp_path: Path):
    by_place = {place: dead for place, flag, died, dead in SAID if place and flag in (0, "0", None) and not died}
    rows = []
    for number, place in enumerate(by_place):
        rows.append((number, "2101-01-01 10:00", "HOSPITAL_ADMISSION//EMERGENCY", number))
        rows.append((number, "2101-01-03 12:00", f"HOSPITAL_DISCHARGE//{place}", number))
    report = extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", all_train, 1.0)
    dead = {number for number, died in enumerate(by_place.values()) if died}
    assert died_in(tmp_path / "events") == died_in(tmp_path / "events", schema.DEATH) == dead
    assert report["notes"]["deaths that a discharge alone says"] == len(dead)


def test_a_death_in_a_visit_that_cannot_be_read_is_still_a_death(tmp_path: Path):
    rows = [
        (7, "2101-01-01 10:00", "HOSPITAL_ADMISSION//EMERGENCY", 71),
        (7, "2101-01-03 12:00", "HOSPITAL_DISCHARGE//HOME", 71),
        (7, "2101-02-03 12:00", "HOSPITAL_DISCHARGE//DIED", 72),  # admitted before the data begin
    ]
    extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", all_train, 1.0)
    last = read_events(tmp_path / "events", "train").collect().row(-1, named=True)
    assert (last["code"], str(last["time"])) == (schema.DEATH, "2101-02-03 12:00:00")


def test_of_several_births_and_deaths_the_first_counts_and_is_said(tmp_path: Path):
    rows = [
        (7, "2050-01-01", "MEDS_BIRTH", None),
        (7, "2051-01-01", "MEDS_BIRTH", None),
        (7, "2101-01-01 10:00", "HOSPITAL_ADMISSION//EMERGENCY", 71),
        (7, "2101-01-03 12:00", "DIAGNOSIS//ICD//9//4280", 71),
        (7, "2101-01-03 12:00", "HOSPITAL_DISCHARGE//HOME", 71),
        *((7, time, "MEDS_DEATH", None) for time in ("2101-02-02", "2101-02-02 11:00", "2101-02-03")),
    ]
    report = extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", all_train, 1.0)
    events = read_events(tmp_path / "events", "train").collect()
    assert [str(time)[:10] for time in events["time"]][:: len(events) - 1] == ["2050-01-01", "2101-02-02"]
    assert report["remarks"] == [
        f"1 subjects are {what} on several days: the first counts" for what in ("born", "dead")
    ]


def test_a_visit_discharged_twice_ends_with_the_second(tmp_path: Path):
    rows = [
        (7, "2101-01-01 10:00", "HOSPITAL_ADMISSION//EMERGENCY", 71),
        (7, "2101-01-02 12:00", "HOSPITAL_DISCHARGE//HOME", 71),
        (7, "2101-01-03 12:00", "DIAGNOSIS//ICD//9//4280", 71),
        (7, "2101-01-03 12:00", "HOSPITAL_DISCHARGE//HOME", 71),
    ]
    extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", all_train, 1.0)
    times = read_events(tmp_path / "events", "train").collect()["time"].to_list()
    assert [str(time)[:10] for time in times] == ["2101-01-01", "2101-01-03", "2101-01-03"]


# (hospital's status, its place of discharge, the unit's status) -> whether the stay ended in death
EICU_SAID = [
    ("Alive", "Home", "Alive", False),
    ("Expired", "Death", "Alive", True),
    ("EXPIRED", None, None, True),
    (None, "Death", None, True),
    (None, None, "Expired", True),
    (None, None, "Alive", False),
    ("Alive", "Home", "Expired", False),  # a contradiction: counted
    ("Alive", "Death", "Alive", True),  # as MIMIC's flag 0 with DEAD/EXPIRED
]


def test_eicu_and_its_meds_agree(tmp_path: Path):
    names = ("hospitaldischargestatus", "hospitaldischargelocation", "unitdischargestatus")
    patients = [
        stay(number, number, str(number), 0, 600, **dict(zip(names, said[:3], strict=True)))
        for number, said in enumerate(EICU_SAID)
    ]
    write(tmp_path / "eicu", {"patient": patients})
    report = extract(f"eicu:{tmp_path / 'eicu'}", tmp_path / "events", all_train, 1.0)
    died = read_events(tmp_path / "events", "train").filter(pl.col("code") == schema.DIED).collect()
    assert set(died["hadm_id"]) == {number for number, (*_, dead) in enumerate(EICU_SAID) if dead}
    assert report["notes"]["unit stays that end in death, their hospital stay alive"] == 1
    assert report["notes"]["hospital stays without a discharge status, taken as alive"] == 1
    extract(f"meds:{tmp_path / 'events'}", tmp_path / "again", all_train, 1.0)
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")
