"""MIMIC tables to events: hand-worked tables, every way to spell their names, and every row accounted for."""

import errno
import gzip
import json
import os
from functools import partial
from pathlib import Path

import duckdb
import meds
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from ckd_dist.ehr.events import read_codes, read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.header import read_header
from launch.verdict import verdict
from tests.ehr.small import MIMIC3, MIMIC4, all_train, by_parity, data_bytes, write


def run(source: str, folder: Path, split_of=all_train, memory_gb: float = 1.0) -> dict:
    return extract(source, folder, split_of, memory_gb)


def rows(folder: Path, split: str = "train") -> list[str]:
    """Events as lines a clinician could read."""
    events = read_events(folder, split).select("subject_id", pl.col("time").dt.to_string("%F %R"), "code", "hadm_id")
    return [" ".join("-" if cell is None else str(cell) for cell in row) for row in events.collect().iter_rows()]


def test_mimic3_by_hand(mimic3: Path, tmp_path: Path):
    report = run(f"mimic3:{mimic3}", tmp_path / "events")
    assert rows(tmp_path / "events") == [
        "3 - GENDER//M -",
        "3 1800-01-01 00:00 MEDS_BIRTH -",
        "3 2101-03-01 08:00 HOSPITAL_ADMISSION//EMERGENCY 31",
        "3 2101-03-09 20:00 DIAGNOSIS//ICD//9//XYZ 31",
        "3 2101-03-09 20:00 HOSPITAL_DISCHARGE//DIED 31",
        "3 2101-03-09 20:00 MEDS_DEATH -",
        "7 - GENDER//F -",
        "7 - SITE//carevue 71",
        "7 2060-05-01 00:00 MEDS_BIRTH -",
        '7 2101-01-01 00:00 MEDICATION//sodium "x", 0.9% 71',
        "7 2101-01-01 10:00 HOSPITAL_ADMISSION//EMERGENCY 71",
        "7 2101-01-02 00:00 MEDICATION//aspirin 71",
        "7 2101-01-02 00:00 MEDICATION//heparin 71",
        "7 2101-01-03 12:00 DIAGNOSIS//ICD//9//4280 71",
        "7 2101-01-03 12:00 DIAGNOSIS//ICD//9//4019 71",
        "7 2101-01-03 12:00 DIAGNOSIS//ICD//9//0389 71",
        "7 2101-01-03 12:00 PROCEDURE//ICD//9//3961 71",
        "7 2101-01-03 12:00 PROCEDURE//ICD//9//0014 71",
        "7 2101-01-03 12:00 HOSPITAL_DISCHARGE//HOME 71",
        "7 2101-02-01 10:00 HOSPITAL_ADMISSION//EMERGENCY 72",
        "7 2101-02-05 12:00 DIAGNOSIS//ICD//9//25000 72",
        "7 2101-02-05 12:00 HOSPITAL_DISCHARGE//UNKNOWN 72",
    ]
    assert report["tables"]["DIAGNOSES_ICD"]["merged"] == 1
    assert report["tables"]["PRESCRIPTIONS"] == {
        "file": "PRESCRIPTIONS.csv.gz",
        "rows": 5,
        "kept": 3,
        "merged": 1,
        "skipped": {"no readable start": 1},
    }
    assert report["visits"] == 3
    assert report["missing_tables"] == []
    assert report["unknown_diagnosis_codes"] == {"codes": 1, "events": 1}


def test_mimic4_by_hand_from_the_folder_or_the_one_above(tmp_path: Path):
    write(tmp_path / "mimiciv" / "hosp", MIMIC4)
    report = run(f"mimic4:{tmp_path / 'mimiciv'}", tmp_path / "events")
    found = rows(tmp_path / "events")
    assert "7 2060-01-01 00:00 MEDS_BIRTH -" in found  # the year of birth is all that MIMIC-IV says
    assert "3 2010-01-01 00:00 MEDS_BIRTH -" in found
    assert "7 2101-01-02 07:30 MEDICATION//aspirin 71" in found
    diagnoses = [row for row in found if "DIAGNOSIS" in row]
    assert diagnoses == [
        "7 2101-01-03 12:00 DIAGNOSIS//ICD//9//4280 71",
        "7 2101-01-03 12:00 DIAGNOSIS//ICD//10//I509 71",
    ]
    assert report["tables"]["DIAGNOSES_ICD"]["skipped"] == {"icd_version is neither 9 nor 10": 1}
    assert report["missing_tables"] == ["PROCEDURES_ICD", "D_ICD_DIAGNOSES", "D_ICD_PROCEDURES"]
    run(f"mimic4:{tmp_path / 'mimiciv' / 'hosp'}", tmp_path / "again")
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize("file_case", [str.upper, str.lower])
@pytest.mark.parametrize("column_case", [str.upper, str.lower])
def test_any_spelling_of_names_gives_the_same_bytes(mimic3: Path, tmp_path: Path, ending, file_case, column_case):
    run(f"mimic3:{mimic3}", tmp_path / "events")
    other = write(tmp_path / "other [1]", MIMIC3, ending, file_case, column_case)  # a bracket is no glob
    run(f"mimic3:{other}", tmp_path / "again")
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


def test_row_order_of_the_tables_does_not_matter(mimic3: Path, tmp_path: Path):
    run(f"mimic3:{mimic3}", tmp_path / "events")
    backwards = write(tmp_path / "backwards", {name: rows[::-1] for name, rows in MIMIC3.items()})
    run(f"mimic3:{backwards}", tmp_path / "again")
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


def test_subjects_go_to_the_split_they_are_given(mimic3: Path, tmp_path: Path):
    report = run(f"mimic3:{mimic3}", tmp_path, split_of=by_parity)
    splits = pq.read_table(tmp_path / "metadata" / "subject_splits.parquet")
    meds.SubjectSplitSchema.validate(splits)
    assert splits.to_pydict() == {"subject_id": [3, 7], "split": ["tuning", "tuning"]}
    assert report["subjects"] == {"train": 0, "tuning": 2, "held_out": 0}
    assert read_events(tmp_path, "train").collect().is_empty()


def test_metadata_is_meds(mimic3: Path, tmp_path: Path):
    report = run(f"mimic3:{mimic3}", tmp_path)
    codes = pq.read_table(tmp_path / "metadata" / "codes.parquet")
    meds.CodeMetadataSchema.validate(codes)
    described = dict(read_codes(tmp_path).iter_rows())
    assert set(described) == set(read_events(tmp_path, "train").collect()["code"])
    assert described["DIAGNOSIS//ICD//9//4280"] == "Heart failure, as this table says"
    assert described["DIAGNOSIS//ICD//9//0389"] == "Unspecified septicemia"
    assert described["DIAGNOSIS//ICD//9//XYZ"] is None
    assert described["MEDICATION//heparin"] == "heparin"
    assert codes.filter(codes["code"].to_numpy(zero_copy_only=False) == "DIAGNOSIS//ICD//9//4280")[
        "parent_codes"
    ].to_pylist() == [["CCS//108"]]
    meds.DatasetMetadataSchema.validate(json.loads((tmp_path / "metadata" / "dataset.json").read_text()))
    assert json.loads((tmp_path / "metadata" / "report.json").read_text()) == report


# --- what is lost is counted ------------------------------------------------------------------------------------------


def assert_adds_up(report: dict) -> None:
    for name, table in report["tables"].items():
        assert table["rows"] == table["kept"] + table["merged"] + sum(table["skipped"].values()), name


def test_every_lost_row_has_a_reason(tmp_path: Path):
    def visit(**changes):
        return MIMIC3["ADMISSIONS"][0] | {"SUBJECT_ID": 7} | changes

    tables = MIMIC3 | {
        "PATIENTS": [*MIMIC3["PATIENTS"], MIMIC3["PATIENTS"][0], {**MIMIC3["PATIENTS"][0], "SUBJECT_ID": "seven"}],
        "ADMISSIONS": [
            *MIMIC3["ADMISSIONS"],
            MIMIC3["ADMISSIONS"][0],
            visit(HADM_ID=80, ADMITTIME=None),
            visit(HADM_ID=81, DISCHTIME="soon"),
            visit(HADM_ID=82, DISCHTIME="2000-01-01"),
            visit(HADM_ID=83, SUBJECT_ID=99),
            visit(HADM_ID=None),
        ],
        "DIAGNOSES_ICD": [
            *MIMIC3["DIAGNOSES_ICD"],
            {"SUBJECT_ID": 7, "HADM_ID": None, "SEQ_NUM": 1, "ICD9_CODE": "4280"},
            {"SUBJECT_ID": 7, "HADM_ID": 999, "SEQ_NUM": 1, "ICD9_CODE": "4280"},
            {"SUBJECT_ID": 7, "HADM_ID": 82, "SEQ_NUM": 1, "ICD9_CODE": "4280"},
            {"SUBJECT_ID": 7, "HADM_ID": 31, "SEQ_NUM": 1, "ICD9_CODE": "4280"},
            {"SUBJECT_ID": 7, "HADM_ID": 71, "SEQ_NUM": 1, "ICD9_CODE": None},
        ],
        "PRESCRIPTIONS": [*MIMIC3["PRESCRIPTIONS"], {**MIMIC3["PRESCRIPTIONS"][0], "DRUG": " "}],
    }
    clean, dirty = write(tmp_path / "clean", MIMIC3), write(tmp_path / "dirty", tables)
    run(f"mimic3:{clean}", tmp_path / "events")
    report = run(f"mimic3:{dirty}", tmp_path / "again")
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events"), "a skipped row left a trace"
    assert_adds_up(report)
    skipped = {name: table["skipped"] for name, table in report["tables"].items() if table["skipped"]}
    assert skipped == {
        "PATIENTS": {"no readable subject_id": 1, "subject_id repeated": 1},
        "ADMISSIONS": {
            "discharge before admission": 1,
            "hadm_id repeated": 1,
            "no readable subject_id or hadm_id": 1,
            "no readable time of admission or discharge": 2,
            "subject_id not in PATIENTS": 1,
        },
        "DIAGNOSES_ICD": {
            "hadm_id not in ADMISSIONS": 1,
            "hadm_id of a skipped visit": 1,
            "hadm_id of another subject": 1,
            "no code": 1,
            "no readable hadm_id": 1,
        },
        "PRESCRIPTIONS": {"no drug": 1, "no readable start": 1},
    }


@pytest.mark.parametrize(
    "line",
    [b"7,71,12\n", b"7,71,12,4280,extra\n", b"7,71,12,caf\xe9\n", b'7,71,12,"42\n'],
    ids=["too few", "too many", "not UTF-8", "open quote"],
)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_malformed_row_is_counted(mimic3: Path, tmp_path: Path, line: bytes, ending: str):
    run(f"mimic3:{mimic3}", tmp_path / "events")
    table = mimic3 / "DIAGNOSES_ICD.csv.gz"
    raw = gzip.decompress(table.read_bytes()) + line
    table.unlink()
    table.with_name(f"DIAGNOSES_ICD{ending}").write_bytes(gzip.compress(raw) if ending == ".csv.gz" else raw)
    report = run(f"mimic3:{mimic3}", tmp_path / "again")
    assert report["tables"]["DIAGNOSES_ICD"]["skipped"] == {"malformed row": 1}
    assert_adds_up(report)
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


def test_a_missing_optional_table_is_reported(tmp_path: Path):
    optional = ["PROCEDURES_ICD", "PRESCRIPTIONS", "ICUSTAYS", "D_ICD_DIAGNOSES", "D_ICD_PROCEDURES"]
    folder = write(tmp_path / "few", {name: rows for name, rows in MIMIC3.items() if name not in optional})
    report = run(f"mimic3:{folder}", tmp_path / "events")
    assert report["missing_tables"] == optional
    assert report["visits"] == 3


# --- a user's mistake gets one sentence, and costs nothing ------------------------------------------------------------


@pytest.mark.parametrize("name", ["PATIENTS", "ADMISSIONS", "DIAGNOSES_ICD"])
def test_a_missing_required_table_raises(mimic3: Path, tmp_path: Path, name: str):
    (mimic3 / f"{name}.csv.gz").unlink()
    with pytest.raises(ValueError, match=rf"holds neither {name}\.csv nor {name}\.csv\.gz"):
        run(f"mimic3:{mimic3}", tmp_path / "events")


@pytest.mark.parametrize(
    ("table", "column"), [("ADMISSIONS", "HADM_ID"), ("DIAGNOSES_ICD", "ICD9_CODE"), ("PRESCRIPTIONS", "STARTDATE")]
)
def test_a_missing_key_column_raises(tmp_path: Path, table: str, column: str):
    cut = [{name: value for name, value in row.items() if name != column} for row in MIMIC3[table]]
    folder = write(tmp_path / "cut", MIMIC3 | {table: cut})
    with pytest.raises(ValueError, match=rf"{table}\.csv\.gz: column {column.lower()} is missing"):
        run(f"mimic3:{folder}", tmp_path / "events")


def test_other_mistakes_raise_one_clear_sentence(mimic3: Path, tmp_path: Path):
    out = tmp_path / "events"
    with pytest.raises(ValueError, match="none of mimic3:DIR, mimic4:DIR, eicu:DIR, meds:DIR"):
        run(str(mimic3), out)
    with pytest.raises(ValueError, match=r"there is no folder .* holds ADMISSIONS\.csv or ADMISSIONS\.csv\.gz$"):
        run(f"mimic3:{tmp_path / 'nowhere'}", out)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="extraction stopped at"):
        run(f"mimic3:{mimic3}", tmp_path / "file" / "events")
    with pytest.raises(ValueError, match=r"column anchor_age, anchor_year is missing"):
        run(f"mimic4:{mimic3}", out)
    with pytest.raises(ValueError, match=r"extract\.memory_gb"):
        run(f"mimic3:{mimic3}", out, memory_gb=0.001)
    (mimic3 / "PROCEDURES_ICD.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"PROCEDURES_ICD\.csv\.gz cannot be read"):
        run(f"mimic3:{mimic3}", out)
    (mimic3 / "PROCEDURES_ICD.csv.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(ValueError, match=r"PROCEDURES_ICD\.csv\.gz is empty"):
        run(f"mimic3:{mimic3}", out)
    (mimic3 / "PROCEDURES_ICD.csv.gz").write_bytes(gzip.compress(b"SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\r\n7,71,1,1\n"))
    with pytest.raises(ValueError, match=r"PROCEDURES_ICD\.csv\.gz cannot be parsed as CSV"):
        run(f"mimic3:{mimic3}", out)
    (mimic3 / "patients.csv").write_text("SUBJECT_ID\n1\n")
    with pytest.raises(ValueError, match="keep one of them"):
        run(f"mimic3:{mimic3}", out)


def test_a_truncated_table_raises_without_a_word_of_it(mimic3: Path, tmp_path: Path):
    drugs = [MIMIC3["PRESCRIPTIONS"][0] | {"DRUG": f"secret {np.random.default_rng(i).random()}"} for i in range(5000)]
    path = write(mimic3, {"PRESCRIPTIONS": drugs}) / "PRESCRIPTIONS.csv.gz"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"PRESCRIPTIONS\.csv\.gz cannot be read to its end") as caught:
        run(f"mimic3:{mimic3}", tmp_path / "events")
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_failed_extraction_leaves_the_old_data_set_and_no_scraps(mimic3: Path, tmp_path: Path):
    out = tmp_path / "events"
    run(f"mimic3:{mimic3}", out)
    before = data_bytes(out)
    (mimic3 / "ADMISSIONS.csv.gz").unlink()
    with pytest.raises(ValueError, match="ADMISSIONS"):
        run(f"mimic3:{mimic3}", out)
    assert data_bytes(out) == before
    assert sorted(path.name for path in out.iterdir()) == ["data", "metadata"]


def failing(con, error: Exception):
    """A source that DuckDB, or Python, cannot read to its end."""
    raise error


FAILS = (OSError, lambda number, why: duckdb.IOException(f'IO Error: Could not read from file "some": {why}'))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("of", FAILS, ids=["python", "duckdb"])
def test_a_file_system_that_fails_is_a_fault_and_the_old_data_set_stays(mimic3, tmp_path, monkeypatch, of, number):
    out = tmp_path / "events"
    run(f"mimic3:{mimic3}", out)
    before = data_bytes(out)
    monkeypatch.setattr("ckd_dist.ehr.staging.create", partial(failing, error=of(number, os.strerror(number))))
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        run(f"mimic3:{mimic3}", out)
    assert raised.value.errno == number and verdict(raised.value)[1] == 85
    assert data_bytes(out) == before


@pytest.mark.parametrize("of", FAILS, ids=["python", "duckdb"])
def test_want_of_room_is_said_as_such_and_nothing_else_is(mimic3, tmp_path, monkeypatch, of):
    full, gone = (of(number, os.strerror(number)) for number in (errno.ENOSPC, errno.ENOENT))
    for error, sentence in ((full, r"out of memory_gb=.* or of disk space"), (gone, "extraction stopped at")):
        monkeypatch.setattr("ckd_dist.ehr.staging.create", partial(failing, error=error))
        with pytest.raises(ValueError, match=sentence) as raised:
            run(f"mimic3:{mimic3}", tmp_path / "events")
        assert verdict(raised.value)[1] == 2


@pytest.mark.parametrize("known", [False, True], ids=["to python", "to duckdb"])
def test_a_table_that_cannot_be_read_now_is_not_called_damaged(mimic3: Path, tmp_path: Path, monkeypatch, known):
    """The memory of this process, from its first byte on, is a file that Linux finds and cannot read: EIO."""
    path = mimic3 / "PROCEDURES_ICD.csv.gz"
    header = read_header(path, ())
    path.unlink()
    path.symlink_to("/proc/self/mem")
    if known:
        monkeypatch.setattr(
            "ckd_dist.ehr.tables.read_header",
            lambda each, needs: header if each == path else read_header(each, needs),
        )
    with pytest.raises(OSError, match=r"Input/output error: '.*PROCEDURES_ICD\.csv\.gz'") as raised:
        run(f"mimic3:{mimic3}", tmp_path / "events")
    assert raised.value.errno == errno.EIO


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_table_larger_than_memory_gives_the_same_bytes(mimic3: Path, tmp_path: Path):
    """200,000 prescriptions, 100 MB, in the 83 MB that DuckDB gets."""
    drug = np.random.default_rng(0).integers(0, 10**9, 200_000)
    drugs = pl.DataFrame({"SUBJECT_ID": 7, "HADM_ID": 71, "STARTDATE": "2101-01-02 00:00:00", "DRUG": drug})
    (mimic3 / "PRESCRIPTIONS.csv.gz").unlink()
    drugs.with_columns(NOTE=pl.lit("x" * 450)).write_csv(mimic3 / "PRESCRIPTIONS.csv")
    large = run(f"mimic3:{mimic3}", tmp_path / "events", memory_gb=2.0)
    small = run(f"mimic3:{mimic3}", tmp_path / "again", memory_gb=0.25)
    assert small == large
    assert large["tables"]["PRESCRIPTIONS"]["kept"] == len(np.unique(drug))
    assert data_bytes(tmp_path / "again") == data_bytes(tmp_path / "events")


def test_the_mimic_iii_demo(open_data, tmp_path: Path):
    report = run(f"mimic3:{open_data('mimic_iii_demo')}", tmp_path)
    assert_adds_up(report)
    events = read_events(tmp_path, "train").collect()
    kinds = events["code"].str.extract(r"^(\w+)").value_counts()
    counts = dict(zip(kinds["code"], kinds["count"], strict=True))
    assert report["subjects"]["train"] == events["subject_id"].n_unique() == 100
    assert report["visits"] == counts["HOSPITAL_ADMISSION"] == counts["HOSPITAL_DISCHARGE"] == 129
    assert counts["DIAGNOSIS"] == 1761
    assert counts["SITE"] == 129
    assert report["tables"]["PRESCRIPTIONS"]["rows"] == 10398
    assert report["tables"]["PROCEDURES_ICD"]["rows"] == 506
    assert report["unknown_diagnosis_codes"]["codes"] == 0
