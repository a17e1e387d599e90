"""eICU to events: a folder worked by hand, every row accounted for, and the demo's own numbers."""

import csv
import doctest
import gzip
import json
import random
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import polars as pl
import pytest

from ckd_dist import schema
from ckd_dist.ehr import eicu_clock, eicu_phrases
from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.eicu_map import EICU
from ckd_dist.ehr.events import read_codes, read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.ehr.samples import build_samples
from tests.ehr.small import Tables, all_train, data_bytes, write


def stay(stay_id, hadm_id, pid, begin, end, **changes) -> dict[str, object]:
    """A row of `patient`: begin and end of the hospital stay, minutes from the unit's admission."""
    return {
        "patientunitstayid": stay_id,
        "patienthealthsystemstayid": hadm_id,
        "gender": "Female",
        "age": "70",
        "hospitalid": 59,
        "hospitaladmittime24": "22:00:00",
        "hospitaladmitoffset": begin,
        "hospitaladmitsource": "Floor",
        "hospitaldischargeyear": 2015,
        "hospitaldischargeoffset": end,
        "hospitaldischargelocation": "Home",
        "hospitaldischargestatus": "Alive",
        "unittype": "MICU",
        "unitdischargeoffset": 60,
        "unitdischargelocation": "Floor",
        "unitdischargestatus": "Alive",
        "uniquepid": pid,
    } | changes


def drug(stay_id, minute, name, cancelled="No") -> dict[str, object]:
    return {
        "patientunitstayid": stay_id,
        "drugstartoffset": minute,
        "drugname": name,
        "drugordercancelled": cancelled,
    }


def diagnosis(stay_id, minute, path, icd=None, priority="Other") -> dict[str, object]:
    return {
        "patientunitstayid": stay_id,
        "diagnosisoffset": minute,
        "diagnosisstring": path,
        "icd9code": icd,
        "diagnosispriority": priority,
    }


HTN = "cardiovascular|vascular disorders|hypertension"
DEATH = {"hospitaldischargestatus": "Expired", "hospitaldischargelocation": "Death"}
SMALL: Tables = {
    "patient": [
        # one hospital stay: admitted at 22:00, in a unit from 23:00, and again ten hours after the first time
        stay(2, 10, "002-1", -660, 840, unitdischargeoffset=30),
        stay(1, 10, "002-1", -60, 1440),
        stay(3, 11, "002-2", -5, 600, age="> 89", gender="Male", unittype=None, **DEATH),
    ],
    "hospital": [{"hospitalid": 59, "region": "South"}],
    "diagnosis": [
        diagnosis(1, 100, HTN, "401.9, I10"),
        diagnosis(1, 100, "pulmonary|respiratory failure|hypoxemia", "799.02,,  E980.2 ,31.1", "Primary"),
        diagnosis(2, -590, HTN.upper(), "401.9, I10"),  # ten minutes into the first unit stay: the same, and earlier
        diagnosis(2, 5, None, "486"),
    ],
    "admissiondx": [
        {
            "patientunitstayid": 3,
            "admitdxenteredoffset": 7,
            "admitdxpath": f"admission diagnosis|{path}",
        }
        for path in ("All Diagnosis|Operative|Diagnosis|Trauma|Head only trauma", "Elective|Yes")
    ],
    "treatment": [
        {"patientunitstayid": 9, "treatmentoffset": 1, "treatmentstring": "a|b|c"},
        {"patientunitstayid": 3, "treatmentoffset": 1, "treatmentstring": "pulmonary|medications|bronchodilator"},
    ],
    "pasthistory": [
        {
            "patientunitstayid": 3,
            "pasthistoryenteredoffset": 2,
            "pasthistorypath": f"notes/Progress Notes/Past History/{tail}",
        }
        for tail in ("Organ Systems/Pulmonary/Asthma/asthma", "Past History Obtain Options/Performed")
    ],
    "medication": [
        drug(1, -120, " Heparin "),  # before the unit and before the hospital
        drug(2, 0, "HEPARIN"),
        drug(2, 0, "Aspirin", cancelled="Yes"),
        drug(2, "soon", "Morphine"),
        drug(2, 10**30, "Morphine"),
        drug(2, 10**12, "Morphine"),
        drug(2, 0, None),
    ],
}


def run(folder: Path, out: Path) -> dict:
    return extract(f"eicu:{folder}", out, all_train, 1.0)


def events_of(folder: Path) -> pl.DataFrame:
    return read_events(folder, "train").collect()


def rows(folder: Path) -> list[str]:
    """Events as lines a clinician could read."""
    events = events_of(folder).select(pl.col("time").dt.to_string("%F %R"), "code", "hadm_id")
    return [" ".join("-" if cell is None else str(cell) for cell in row) for row in events.iter_rows()]


def assert_adds_up(report: dict) -> None:
    for name, table in report["tables"].items():
        assert table["rows"] == table["kept"] + table["merged"] + sum(table["skipped"].values()), name


def admitted(out: Path) -> dict[int, datetime]:
    """When each hospital stay begins."""
    events = events_of(out).filter(pl.col("code").str.starts_with(schema.ADMISSION))
    return dict(events.select("hadm_id", "time").iter_rows())


def test_a_folder_by_hand(tmp_path: Path):
    report = run(write(tmp_path / "eicu", SMALL), tmp_path / "events")
    found = rows(tmp_path / "events")
    first = [row for row in found if row.endswith(" 10")]
    assert first == [
        "- SITE//hospital=59 10",
        "- SITE//region=South 10",
        "2015-01-01 21:00 MEDICATION//heparin 10",
        "2015-01-01 22:00 HOSPITAL_ADMISSION//Floor 10",
        "2015-01-01 23:00 ICU_ADMISSION//MICU 10",
        "2015-01-01 23:10 DIAGNOSIS//EICU//cardiovascular|vascular disorders|hypertension 10",
        "2015-01-01 23:10 DIAGNOSIS//ICD//10//I10 10",
        "2015-01-01 23:10 DIAGNOSIS//ICD//9//4019 10",
        "2015-01-02 00:00 ICU_DISCHARGE//Floor 10",
        "2015-01-02 00:40 DIAGNOSIS//EICU//pulmonary|respiratory failure|hypoxemia 10",
        "2015-01-02 00:40 DIAGNOSIS//ICD//9//79902 10",
        "2015-01-02 00:40 DIAGNOSIS//ICD//9//E9802 10",
        "2015-01-02 09:00 ICU_ADMISSION//MICU 10",
        "2015-01-02 09:30 ICU_DISCHARGE//Floor 10",
        "2015-01-02 23:00 HOSPITAL_DISCHARGE//Home 10",
    ]
    assert [row for row in found if row not in first] == [
        "- GENDER//M -",
        "- SITE//hospital=59 11",
        "- SITE//region=South 11",
        "1925-01-01 00:00 MEDS_BIRTH -",
        "2015-01-01 22:00 HOSPITAL_ADMISSION//Floor 11",
        "2015-01-01 22:05 ICU_ADMISSION//UNKNOWN 11",
        "2015-01-01 22:06 TREATMENT//EICU//pulmonary|medications|bronchodilator 11",
        "2015-01-01 22:07 HISTORY//EICU//performed 11",
        "2015-01-01 22:07 HISTORY//EICU//pulmonary/asthma/asthma 11",
        "2015-01-01 22:12 DIAGNOSIS//EICU//admission diagnosis|all diagnosis|operative|diagnosis|trauma"
        "|head only trauma 11",
        "2015-01-01 23:05 ICU_DISCHARGE//Floor 11",
        "2015-01-02 08:05 HOSPITAL_DISCHARGE//DIED 11",
        "2015-01-02 08:05 MEDS_DEATH -",
        "- GENDER//F -",
        "1945-01-01 00:00 MEDS_BIRTH -",
    ]
    assert_adds_up(report)
    skipped = {name: table["skipped"] for name, table in report["tables"].items() if table["skipped"]}
    assert skipped == {
        "diagnosis": {"says nothing": 1},
        "admissiondx": {"not under All Diagnosis": 1},
        "treatment": {"patientunitstayid not in patient": 1},
        "medication": {
            "no readable offset": 2,
            "offset of more than a century": 1,
            "order cancelled": 1,
            "no drugname": 1,
        },
    }
    assert report["tables"]["medication"]["merged"] == report["tables"]["diagnosis"]["merged"] == 1
    assert report["notes"]["parts of icd9code that are no ICD diagnosis, left"] == 1  # 31.1 is a procedure
    titles = dict(read_codes(tmp_path / "events").iter_rows())
    assert titles[f"DIAGNOSIS//EICU//{HTN}"].lower() == "hypertension, vascular disorders"
    assert titles["HISTORY//EICU//performed"] == "past history: Performed"
    assert all(titles.values())


def test_phrases_as_documented():
    assert doctest.testmod(eicu_phrases).failed == 0


def test_primary_diagnoses_come_first_where_times_are_equal(tmp_path: Path):
    paths = [("z|z|other", "Other"), ("b|b|primary", "Primary"), ("a|a|major", "Major")]
    tables = {"patient": SMALL["patient"], "diagnosis": [diagnosis(1, 5, p, priority=rank) for p, rank in paths]}
    run(write(tmp_path / "eicu", tables), tmp_path / "events")
    found = [row.rsplit("|", 1)[1] for row in rows(tmp_path / "events") if "DIAGNOSIS" in row]
    assert found == ["primary 10", "major 10", "other 10"]


def test_only_patient_is_required(tmp_path: Path):
    report = run(write(tmp_path / "eicu", {"patient": SMALL["patient"]}), tmp_path / "events")
    assert report["missing_tables"] == [table.file for name, table in EICU.items() if name != "visits"]
    assert report["notes"]["hospital stays without a region"] == 2
    assert report["visits"] == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"neither patient\.csv nor patient\.csv\.gz"):
        run(empty, tmp_path / "none")


def test_every_lost_stay_has_a_reason(tmp_path: Path):
    whole = SMALL["patient"][2]
    lost = {
        "no readable uniquepid, patienthealthsystemstayid or patientunitstayid": stay(None, 20, "002-3", 0, 1),
        "patientunitstayid repeated": whole | {"unittype": "SICU"},
        "patienthealthsystemstayid of another patient": stay(5, 11, "002-9", -5, 600),
        "no readable hospitaldischargeyear": stay(6, 21, "002-3", -5, 600, hospitaldischargeyear=None),
        "no readable offset of hospital admission or discharge": stay(7, 22, "002-3", "x", 600),
        "offset of more than a century": stay(8, 23, "002-3", -(2**63), 600),
        "discharge before admission": stay(9, 24, "002-3", 10, 5),
    }
    others = [stay(30 + n, 40 + n, f"003-{n}", -5, 600) for n in range(5)]  # fewer kept than lost would be refused
    drugs = [drug(number, 0, "heparin") for number in (3, 6, 7, 8, 9)]
    tables = {"patient": [whole, *lost.values(), *others], "medication": drugs}
    report = run(write(tmp_path / "eicu", tables), tmp_path / "events")
    assert report["tables"]["patient"]["skipped"] == dict.fromkeys(sorted(lost), 1)
    assert report["tables"]["medication"]["skipped"] == {"patientunitstayid of a skipped stay": 4}
    assert_adds_up(report)
    assert report["visits"] == 1 + len(others)


def test_row_order_does_not_matter(tmp_path: Path):
    run(write(tmp_path / "eicu", SMALL), tmp_path / "events")
    backwards = {name.upper(): table[::-1] for name, table in SMALL.items()}
    run(write(tmp_path / "backwards", backwards, ending=".csv"), tmp_path / "again")
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


def test_hospital_stays_are_ordered_by_year_age_and_death_and_never_overlap(tmp_path: Path):
    long = 3 * 1440
    patients = [
        stay(1, 15, "002-1", -5, long, hospitaldischargeyear=2014, age="70"),
        stay(2, 14, "002-1", -5, long, hospitaldischargeyear=2014, age="71", hospitaladmittime24="01:00:00"),
        stay(3, 13, "002-1", -5, 400 * 1440, hospitaldischargeyear=2014, age="72"),  # into the next year
        stay(4, 11, "002-1", -5, long, age="73", **DEATH),
        stay(5, 12, "002-1", -5, long, age="73"),
    ]
    report = run(write(tmp_path / "eicu", {"patient": patients}), tmp_path / "events")
    begun = admitted(tmp_path / "events")
    assert sorted(begun, key=begun.__getitem__) == [15, 14, 13, 12, 11]
    events = events_of(tmp_path / "events").filter(pl.col("code").str.starts_with(schema.DISCHARGE))
    ended = dict(events.select("hadm_id", "time").iter_rows())
    for before, after in pairwise([15, 14, 13, 12, 11]):
        assert ended[before].date() < begun[after].date()
    assert begun[15] == datetime(2014, 1, 1, 22)
    assert begun[14] == datetime(2014, 1, 5, 1)  # the wall time is the stay's own
    assert report["notes"]["hospital stays whose order within their year is not known"] == 0
    assert report["notes"]["hospital stays after one that ended in death"] == 0


def test_an_order_that_the_data_does_not_tell_is_counted(tmp_path: Path):
    patients = [
        stay(1, 11, "002-1", -5, 60),
        stay(2, 12, "002-1", -5, 60),
        stay(3, 13, "002-2", -5, 60, age=None),
        stay(4, 14, "002-2", -5, 60),
        stay(5, 15, "002-3", -5, 60),
        stay(6, 16, "002-3", -5, 60, hospitaldischargeyear=2014),
    ]
    report = run(write(tmp_path / "eicu", {"patient": patients}), tmp_path / "events")
    assert report["notes"]["hospital stays whose order within their year is not known"] == 3
    assert report["notes"]["subjects with several hospital stays"] == 3


def test_what_is_kept_though_it_looks_odd_is_counted(tmp_path: Path):
    patients = [
        stay(1, 11, "002-1", -5, 60, age="70", **DEATH),
        stay(2, 12, "002-1", -5, 60, age="71"),  # of the same year: older, so later, whatever the status says
        stay(
            3, 13, "002-2", -5, 60, hospitaladmittime24="noon", hospitaldischargestatus=None, unitdischargeoffset=None
        ),
        stay(4, 14, "002-3", 5, 60, gender=None, age="unknown", unitdischargestatus="Expired"),
        stay(5, 15, "002-4", -5, 60, unitdischargeoffset=61),
        stay(6, 15, "002-4", -5, 59, unitdischargeoffset=0),
    ]
    tables = {"patient": patients, "medication": [drug(4, 61, "heparin")]}
    report = run(write(tmp_path / "eicu", tables), tmp_path / "events")
    counted = {note: number for note, number in report["notes"].items() if number}
    assert counted == {
        "hospital stays after one that ended in death": 1,
        "hospital stays without a readable wall time, from midnight": 1,
        "hospital stays of several lengths, the longest taken": 1,
        "hospital stays without a discharge status, taken as alive": 1,
        "unit stays that begin before their hospital stay": 1,
        "unit stays that end after their hospital stay": 1,
        "unit stays without a readable end": 1,
        "unit stays that end in death, their hospital stay alive": 1,
        "subjects without a readable birth": 1,
        "subjects without a gender": 1,
        "subjects with several hospital stays": 1,
        "hospital stays without a region": 5,
        "drugs that start after discharge": 1,
    }
    begun = admitted(tmp_path / "events")
    assert begun[11] < begun[12]
    assert begun[13].time() == datetime.min.time()


def test_a_later_stay_moves_no_earlier_one(tmp_path: Path):
    draw = random.Random(0)
    years = sorted(draw.randint(2010, 2015) for _ in range(12))
    patients = [
        stay(i, i, "002-1", -5, draw.randint(1, 200 * 1440), hospitaldischargeyear=year, age=str(year - 1950))
        for i, year in enumerate(years)
    ]
    run(write(tmp_path / "all", {"patient": patients}), tmp_path / "events")
    run(write(tmp_path / "few", {"patient": patients[:7]}), tmp_path / "fewer")
    whole = admitted(tmp_path / "events")
    assert admitted(tmp_path / "fewer") == {hadm: time for hadm, time in whole.items() if hadm < 7}
    assert all(whole[i].year >= year for i, year in enumerate(years))
    for i, (year, row) in enumerate(zip(years, patients, strict=True)):  # no gap where none is needed
        earlier = whole[i - 1] + timedelta(minutes=patients[i - 1]["hospitaldischargeoffset"] + 5) if i else None
        day = max(datetime(year, 1, 1).date(), earlier.date() + timedelta(days=1)) if earlier else None
        assert day is None or whole[i].date() == day, row


def test_two_patients_never_share_a_number():
    con = duckdb.connect()
    con.execute("CREATE TABLE visits AS FROM (VALUES ('a', 1), ('b', 1), ('b', 1)) AS made(pid, subject_id)")
    with pytest.raises(ValueError, match="1 numbers made from uniquepid"):
        eicu_clock.place(con)


def test_a_patients_number_depends_on_nothing_else(tmp_path: Path):
    run(write(tmp_path / "eicu", SMALL), tmp_path / "events")
    run(write(tmp_path / "one", {"patient": SMALL["patient"][2:]}), tmp_path / "alone")
    alone = set(events_of(tmp_path / "alone")["subject_id"])
    assert len(alone) == 1
    assert alone < set(events_of(tmp_path / "events")["subject_id"])


@pytest.fixture(scope="module")
def demo(open_data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("eicu_demo")
    run(open_data("eicu_demo"), out)
    return out


def test_the_demo(demo: Path):
    report = json.loads((demo / "metadata" / "report.json").read_text())
    assert_adds_up(report)
    assert report["subjects"]["train"] == 1841
    assert report["missing_tables"] == []
    events = events_of(demo)
    units = events.filter(pl.col("code").str.starts_with(schema.ICU_ADMISSION))
    region = events.filter(pl.col("code").str.starts_with("SITE//region="))
    died = events.filter(pl.col("code") == schema.DIED).select("hadm_id", died=True)
    by_region = (
        units.select("hadm_id")
        .join(region.select("hadm_id", pl.col("code").str.strip_prefix("SITE//region=")), on="hadm_id", how="left")
        .join(died, on="hadm_id", how="left")
        .group_by("code")
        .agg(pl.len(), pl.col("died").sum())
    )
    assert {site: (dead, num) for site, num, dead in by_region.iter_rows()} == {
        "South": (63, 738),
        "Midwest": (58, 807),
        "West": (50, 606),
        "Northeast": (19, 159),
        None: (22, 210),
    }
    ends = events.group_by("hadm_id").agg(
        begun=pl.col("time").filter(pl.col("code").str.starts_with(schema.ADMISSION)).first(),
        ended=pl.col("time").filter(pl.col("code").str.starts_with(schema.DISCHARGE)).first(),
    )
    assert ends.drop_nulls("hadm_id").filter(pl.col("ended") < pl.col("begun")).is_empty()
    titles = read_codes(demo).filter(~pl.col("code").str.starts_with(schema.DIAGNOSIS))
    assert titles["description"].null_count() == 0


def test_the_demos_unit_stays_begin_at_their_wall_time(open_data, demo: Path):
    """`unitadmittime24` is read nowhere: the clock must find it again."""
    with gzip.open(open_data("eicu_demo") / "patient.csv.gz", "rt") as file:
        wanted = sorted(
            (int(row["patienthealthsystemstayid"]), row["unitadmittime24"][:5]) for row in csv.DictReader(file)
        )
    units = events_of(demo).filter(pl.col("code").str.starts_with(schema.ICU_ADMISSION))
    found = sorted(units.select("hadm_id", pl.col("time").dt.to_string("%R")).iter_rows())
    assert len(found) == len(wanted)
    assert found == wanted


def test_the_demo_comes_back_from_meds_byte_for_byte(demo: Path, tmp_path: Path):
    extract(f"meds:{demo}", tmp_path, all_train, 1.0)
    assert data_bytes(tmp_path) == data_bytes(demo)


def test_the_demo_makes_samples(demo: Path):
    labels = load_label_set("phenotypes25")
    samples, _ = build_samples(read_events(demo, "train"), labels, Criteria(), labels.columns_of)
    assert len(samples) > 1000
    assert samples["site"].str.starts_with("hospital=").all()
    assert samples["age"].is_between(0, 90).sum() > 0.99 * len(samples)
    assert samples["sex"].is_in(["F", "M"]).sum() > 0.99 * len(samples)
