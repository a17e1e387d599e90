"""A MEDS data set as a source: our own comes back as it was, others' dialects and splits are understood or refused."""

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ckd_dist.ehr.events import read_codes, read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.schema import EVENTS, SPLITS
from tests.ehr.small import by_parity, data_bytes


def never(subject_N: np.ndarray) -> np.ndarray:
    raise AssertionError("the source's own splits were not used")


def held_out(subject_N: np.ndarray) -> np.ndarray:
    return np.full(len(subject_N), "held_out")


def write_meds(folder: Path, rows: list[tuple], hadm: bool = True, splits: dict[int, str] | None = None) -> Path:
    """Rows of (subject, time or None, code, hadm_id), in one file."""
    (folder / "data").mkdir(parents=True)
    (folder / "metadata").mkdir()
    times = [(s, time and datetime.fromisoformat(time), code, None, visit) for s, time, code, visit in rows]
    events = pl.DataFrame(times, schema=EVENTS, orient="row")
    (events if hadm else events.drop("hadm_id", "numeric_value")).write_parquet(folder / "data" / "0.parquet")
    if splits:
        table = pl.DataFrame({"subject_id": list(splits), "split": list(splits.values())})
        table.write_parquet(folder / "metadata" / "subject_splits.parquet")
    return folder


def codes_of(folder: Path, split: str) -> list[tuple]:
    return read_events(folder, split).select("code", "hadm_id").collect().rows()


def test_our_own_data_set_comes_back_byte_for_byte(mimic3: Path, tmp_path: Path):
    extract(f"mimic3:{mimic3}", tmp_path / "events", by_parity, 1.0)
    report = extract(f"meds:{tmp_path / 'events'}", tmp_path / "again", never, 1.0)
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")
    assert read_codes(tmp_path / "again").equals(read_codes(tmp_path / "events"))
    assert report["tables"]["data"]["skipped"] == {}
    assert report["visits"] == 3


def test_the_demo_comes_back_byte_for_byte(open_data, tmp_path: Path):
    extract(f"mimic3:{open_data('mimic_iii_demo')}", tmp_path / "events", by_parity, 1.0)
    extract(f"meds:{tmp_path / 'events'}", tmp_path / "again", never, 1.0)
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


def test_without_hadm_id_visits_are_found_between_admission_and_discharge(mimic3: Path, tmp_path: Path):
    extract(f"mimic3:{mimic3}", tmp_path / "events", by_parity, 1.0)
    shutil.copytree(tmp_path / "events", tmp_path / "bare")
    for file in (tmp_path / "bare" / "data").rglob("*.parquet"):
        pl.read_parquet(file).drop("hadm_id").write_parquet(file)
    extract(f"meds:{tmp_path / 'bare'}", tmp_path / "again", never, 1.0)
    for split in SPLITS:
        before = read_events(tmp_path / "events", split).filter(~pl.col("code").str.starts_with("SITE//")).collect()
        after = read_events(tmp_path / "again", split).filter(~pl.col("code").str.starts_with("SITE//")).collect()
        assert after.drop("hadm_id").equals(before.drop("hadm_id"))
        pairs = pl.DataFrame({"before": before["hadm_id"], "after": after["hadm_id"]}).unique().drop_nulls("before")
        assert pairs["before"].is_unique().all() and pairs["after"].is_unique().all(), "visits were mixed up"
        assert pairs["after"].null_count() == 0


MIMIC_IV_MEDS = [
    (5, None, "GENDER//M", None),
    (5, "2050-01-01", "MEDS_BIRTH", None),
    (5, "2100-01-01 08:00", "HOSPITAL_ADMISSION//EW EMER.//EMERGENCY ROOM", 51),
    (5, "2100-01-01 09:00", "MEDICATION//START//Heparin", None),
    (5, "2100-01-01 09:30", "LAB//RESULT//50912//mg/dL", 51),
    (5, "2100-01-01 10:00", "MEDICATION//Aspirin//Administered", 51),
    (5, "2100-01-01 11:00", "MEDICATION//Morphine//Not Given", 51),
    (5, "2100-01-01 12:00", "MEDICATION//heparin//Administered", 51),
    (5, "2100-01-02 10:00", "MEDICATION//STOP//Heparin", None),
    (5, "2100-01-03 10:00", "DIAGNOSIS//ICD//10//I509", 51),
    (5, "2100-01-03 10:00", "DIAGNOSIS//ICD//9//428.0", 51),
    (5, "2100-01-03 10:00", "PROCEDURE//ICD//10//02HV33Z", 51),
    (5, "2100-01-03 10:00", "PROCEDURE//START//225752", 51),
    (5, "2100-01-03 10:00", "HOSPITAL_DISCHARGE//DIED", 51),
    (5, "2100-01-03 10:00", "MEDS_DEATH", 51),
]


def test_the_dialect_of_mimic_iv_meds(tmp_path: Path):
    report = extract(f"meds:{write_meds(tmp_path / 'meds', MIMIC_IV_MEDS)}", tmp_path / "events", held_out, 1.0)
    assert codes_of(tmp_path / "events", "held_out") == [
        ("GENDER//M", None),
        ("MEDS_BIRTH", None),
        ("HOSPITAL_ADMISSION//EW EMER.//EMERGENCY ROOM", 51),
        ("MEDICATION//heparin", 51),  # placed by its time
        ("MEDICATION//aspirin", 51),
        ("DIAGNOSIS//ICD//10//I509", 51),  # in the source's order
        ("DIAGNOSIS//ICD//9//4280", 51),
        ("PROCEDURE//ICD//10//02HV33Z", 51),
        ("HOSPITAL_DISCHARGE//DIED", 51),
        ("MEDS_DEATH", None),
    ]
    assert report["tables"]["data"] == {
        "file": "data",
        "rows": 15,
        "kept": 10,
        "merged": 1,
        "skipped": {"code of another kind": 2, "drug event that is no start": 2},
    }


def test_every_lost_event_has_a_reason(tmp_path: Path):
    rows = [
        *MIMIC_IV_MEDS,
        (6, "2100-01-01", "HOSPITAL_ADMISSION//URGENT", 61),  # never discharged
        (6, "2100-01-01", "MEDICATION//aspirin", 61),
        (6, "2100-01-09", "DIAGNOSIS//ICD//9//4280", None),
        (6, "2100-01-09", "DIAGNOSIS//ICD//11//4280", 61),
        (6, None, "DIAGNOSIS//ICD//9//4280", 61),
        (6, "2100-01-09", None, 61),
        (None, "2100-01-09", "GENDER//F", None),
    ]
    report = extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", held_out, 1.0)
    table = report["tables"]["data"]
    assert table["skipped"] == {
        "no subject_id or code": 2,
        "code of another kind": 2,
        "drug event that is no start": 2,
        "icd_version is neither 9 nor 10": 1,
        "in no visit": 1,
        "no time": 1,
        "visit without an admission and a discharge in order": 2,
    }
    assert table["rows"] == table["kept"] + table["merged"] + sum(table["skipped"].values())
    assert report["visits"] == 1


def test_a_code_at_the_border_of_two_visits_goes_where_it_was_assigned(tmp_path: Path):
    rows = [
        (1, "2100-01-01", "HOSPITAL_ADMISSION//A", None),
        (1, "2100-01-02 12:00", "DIAGNOSIS//ICD//9//4280", None),
        (1, "2100-01-02 12:00", "HOSPITAL_DISCHARGE//HOME", None),
        (1, "2100-01-02 12:00", "HOSPITAL_ADMISSION//B", None),
        (1, "2100-01-02 12:00", "MEDICATION//aspirin", None),
        (1, "2100-01-03", "HOSPITAL_DISCHARGE//HOME", None),
    ]
    extract(f"meds:{write_meds(tmp_path / 'meds', rows, hadm=False)}", tmp_path / "events", held_out, 1.0)
    assert codes_of(tmp_path / "events", "held_out") == [
        ("HOSPITAL_ADMISSION//A", 1),
        ("DIAGNOSIS//ICD//9//4280", 1),
        ("HOSPITAL_DISCHARGE//HOME", 1),
        ("HOSPITAL_ADMISSION//B", 2),
        ("MEDICATION//aspirin", 2),
        ("HOSPITAL_DISCHARGE//HOME", 2),
    ]


def test_own_splits_are_honoured_only_where_they_are_meds(tmp_path: Path):
    meds = write_meds(tmp_path / "meds", MIMIC_IV_MEDS, splits={5: "tuning", 9: "train"})
    report = extract(f"meds:{meds}", tmp_path / "events", never, 1.0)
    assert report["subjects"] == {"train": 0, "tuning": 1, "held_out": 0}
    folds = write_meds(tmp_path / "folds", MIMIC_IV_MEDS, splits={5: "fold_1"})
    report = extract(f"meds:{folds}", tmp_path / "again", held_out, 1.0)
    assert report["subjects"]["held_out"] == 1
    assert report["notes"]["splits of other names than MEDS', not used"] == 1


def test_a_subject_in_two_splits_or_two_files_or_none_raises(tmp_path: Path):
    two = write_meds(tmp_path / "two", MIMIC_IV_MEDS)
    splits = pl.DataFrame({"subject_id": [5, 5, 6], "split": ["train", "held_out", "train"]})
    splits.write_parquet(two / "metadata" / "subject_splits.parquet")
    with pytest.raises(ValueError, match="1 subjects are in two splits"):
        extract(f"meds:{two}", tmp_path / "events", held_out, 1.0)
    none = write_meds(tmp_path / "none", MIMIC_IV_MEDS, splits={6: "train"})
    with pytest.raises(ValueError, match="1 subjects of the data have no split"):
        extract(f"meds:{none}", tmp_path / "events", held_out, 1.0)
    torn = write_meds(tmp_path / "torn", MIMIC_IV_MEDS)
    shutil.copy(torn / "data" / "0.parquet", torn / "data" / "1.parquet")
    with pytest.raises(ValueError, match="1 subjects are in two files or more"):
        extract(f"meds:{torn}", tmp_path / "events", held_out, 1.0)
    assert not (tmp_path / "events" / "data").exists()


def test_what_is_no_meds_data_raises(tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds no data/\*\*/\*\.parquet"):
        extract(f"meds:{tmp_path}", tmp_path / "events", held_out, 1.0)
    empty = write_meds(tmp_path / "empty", [(5, "2100-01-01", "LAB//1", None)], splits={5: "train"})
    with pytest.raises(ValueError, match=r"of 1 events no admission and no diagnosis was .* found: LAB// 1;"):
        extract(f"meds:{empty}", tmp_path / "events", held_out, 1.0)
    broken = write_meds(tmp_path / "broken", MIMIC_IV_MEDS)
    (broken / "data" / "0.parquet").write_bytes((broken / "data" / "0.parquet").read_bytes()[:-9])
    with pytest.raises(ValueError, match="cannot be read as MEDS"):
        extract(f"meds:{broken}", tmp_path / "events", held_out, 1.0)
    short = write_meds(tmp_path / "short", MIMIC_IV_MEDS)
    pl.read_parquet(short / "data" / "0.parquet").drop("time").write_parquet(short / "data" / "0.parquet")
    with pytest.raises(ValueError, match="column time is missing"):
        extract(f"meds:{short}", tmp_path / "events", held_out, 1.0)


# --- where a visit was, in columns ------------------------------------------------------------------------------------


def test_columns_of_places_say_where_a_visit_was(tmp_path: Path):
    rows = [
        (1, "2100-01-01", "HOSPITAL_ADMISSION//A", 11),
        (1, "2100-01-02", "HOSPITAL_DISCHARGE//B", 11),
        (1, "2100-02-01", "HOSPITAL_ADMISSION//A", 12),
        (1, "2100-02-01", "SITE//region=South", 12),
        (1, "2100-02-02", "HOSPITAL_DISCHARGE//B", 12),
    ]
    folder = write_meds(tmp_path / "meds", rows)
    file = folder / "data" / "0.parquet"
    places = {"region": ["South", None, "South", "South", "South"], "hospital": [7, 7, 7, 7, 8]}
    pl.read_parquet(file).with_columns(pl.Series(name, cells) for name, cells in places.items()).write_parquet(file)
    report = extract(f"meds:{folder}", tmp_path / "events", held_out, 1.0)
    sites = [row for row in codes_of(tmp_path / "events", "held_out") if row[0].startswith("SITE//")]
    assert sorted(sites) == [("SITE//hospital=7", 11), ("SITE//region=South", 11), ("SITE//region=South", 12)]
    assert report["notes"]["visits of several values of hospital, left without"] == 1
    assert report["notes"]["visits of several values of region, left without"] == 0


def test_unit_stays_of_one_name_are_not_merged(tmp_path: Path):
    rows = [
        (1, "2100-01-01", "HOSPITAL_ADMISSION//A", 11),
        (1, "2100-01-02", "ICU_ADMISSION//MICU", 11),
        (1, "2100-01-03", "ICU_DISCHARGE//Floor", None),  # placed by its time
        (1, "2100-01-04", "ICU_ADMISSION//MICU", 11),
        (1, "2100-01-05", "ICU_DISCHARGE//Floor", 11),
        (1, "2100-01-06", "HOSPITAL_DISCHARGE//B", 11),
    ]
    extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", held_out, 1.0)
    assert codes_of(tmp_path / "events", "held_out") == [(code, 11) for _, _, code, _ in rows]


def test_codes_of_any_vocabulary_are_read_as_they_are_written(tmp_path: Path):
    """Field test F11: a Synthea site's `DIAGNOSIS//SNOMED//84114007` was lost as a code of another kind."""
    inside = [
        "DIAGNOSIS//snomed// 84114007",
        "DIAGNOSIS//READ//G58..",  # dots and case mean something there
        "DIAGNOSIS//OWN//007//a",
        "PROCEDURE//CPT//33405",
    ]
    not_codes = ["DIAGNOSIS//84114007", "DIAGNOSIS//SNOMED//", "DIAGNOSIS////1", "PROCEDURE//END//225752"]
    stay = [("2100-01-01 08:00", "HOSPITAL_ADMISSION//X"), ("2100-01-03 10:00", "HOSPITAL_DISCHARGE//HOME")]
    rows = [(5, time, code, 51) for time, code in stay]
    rows += [(5, "2100-01-03 10:00", code, 51) for code in (*inside, *not_codes)]
    report = extract(f"meds:{write_meds(tmp_path / 'meds', rows)}", tmp_path / "events", held_out, 1.0)
    assert [code for code, _ in codes_of(tmp_path / "events", "held_out")][1:-1] == [
        "DIAGNOSIS//SNOMED//84114007",
        "DIAGNOSIS//READ//G58..",
        "DIAGNOSIS//OWN//007//a",
        "PROCEDURE//CPT//33405",
    ]
    assert report["tables"]["data"]["skipped"] == {"code of another kind": len(not_codes)}
