"""The tables have MIMIC-III's form, hold together, and are the same for the same seed."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ckd_dist.hospital import tables
from ckd_dist.hospital.tables import TABLES, write_tables
from ckd_dist.hospital.visits import simulate
from tests.data import DATA
from tests.hospital.by_seed import three_hospitals


def read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(folder / f"{name}.csv.gz", try_parse_dates=True, schema_overrides={"ICD9_CODE": pl.String})


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hospital")
    write_tables(folder, 500, seed=1)
    return folder


def test_same_seed_same_bytes_other_seed_other_patients(tmp_path):
    a, b, c = three_hospitals(write_tables, tmp_path, TABLES)
    assert a == b
    assert all(a[name] != c[name] for name in TABLES if not name.startswith("D_"))


def test_a_subject_does_not_depend_on_how_many_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK", 40)
    few, many = tmp_path / "few", tmp_path / "many"
    write_tables(few, 90, seed=3)
    write_tables(many, 200, seed=3)
    for name in TABLES:
        rows = read(few, name)
        assert len(rows) and rows.equals(read(many, name).head(len(rows)))
    assert read(few, "PATIENTS")["SUBJECT_ID"].n_unique() == 90


def test_counts_and_row_ids(tmp_path):
    num_rows = write_tables(tmp_path, 30, seed=0)
    for name in TABLES:
        assert read(tmp_path, name)["ROW_ID"].to_list() == list(range(1, num_rows[name] + 1))


def test_columns_are_those_of_the_real_tables(hospital):
    demo = DATA / "mimic_iii_demo"
    if not demo.is_dir():
        pytest.skip("no MIMIC-III demo: set CKD_DATA to a folder that holds mimic_iii_demo")
    for name in TABLES:
        with gzip.open(demo / f"{name}.csv.gz", "rt") as real, gzip.open(hospital / f"{name}.csv.gz", "rt") as ours:
            assert ours.readline() == real.readline().upper()


def test_rows_hold_together(hospital):
    patients, visits = read(hospital, "PATIENTS"), read(hospital, "ADMISSIONS")
    assert visits["HADM_ID"].is_unique().all()
    assert set(visits["SUBJECT_ID"]) == set(patients["SUBJECT_ID"])
    assert (visits["DISCHTIME"] > visits["ADMITTIME"]).all()
    for name in ("DIAGNOSES_ICD", "PROCEDURES_ICD", "PRESCRIPTIONS", "ICUSTAYS"):
        rows = read(hospital, name)
        assert rows.join(visits, on=["SUBJECT_ID", "HADM_ID"], how="anti").is_empty()
    codes = read(hospital, "DIAGNOSES_ICD")
    assert set(codes["HADM_ID"]) == set(visits["HADM_ID"])
    assert codes.select("HADM_ID", "ICD9_CODE").is_unique().all()
    assert codes.join(read(hospital, "D_ICD_DIAGNOSES"), on="ICD9_CODE", how="anti").is_empty()
    drugs = read(hospital, "PRESCRIPTIONS").join(visits, on="HADM_ID")
    assert drugs.select((pl.col("STARTDATE") <= pl.col("DISCHTIME")).all()).item()


def test_visits_follow_each_other_and_death_is_the_last(hospital):
    visits = read(hospital, "ADMISSIONS").sort("SUBJECT_ID", "ADMITTIME")
    following = visits.with_columns(pl.all().shift(-1).over("SUBJECT_ID").name.prefix("NEXT_")).drop_nulls(
        "NEXT_HADM_ID"
    )
    assert len(following) > 400
    assert (following["NEXT_ADMITTIME"] > following["DISCHTIME"]).all()
    assert not following["HOSPITAL_EXPIRE_FLAG"].sum() and visits["HOSPITAL_EXPIRE_FLAG"].sum() > 20
    same_day = following["NEXT_ADMITTIME"].dt.date() == following["DISCHTIME"].dt.date()
    assert 0 < same_day.sum() < 0.1 * len(following)
    dead = visits.filter(pl.col("HOSPITAL_EXPIRE_FLAG") == 1)
    assert (dead["DEATHTIME"] == dead["DISCHTIME"]).all()
    assert set(dead["SUBJECT_ID"]) == set(read(hospital, "PATIENTS").filter(pl.col("EXPIRE_FLAG") == 1)["SUBJECT_ID"])


@pytest.mark.parametrize("mean_visits", [1.0, 1.28, 2.5])
def test_mean_visits(mean_visits):
    subjects = simulate(4000, mean_visits, np.random.default_rng(0))
    assert len(subjects.visits.subject_V) / 4000 == pytest.approx(mean_visits, rel=0.04)


def test_records_are_short_and_sick_enough(hospital):
    """The tiny recipe's prompts must fit 512 tokens, and the labels' density is the published one (4.7 of 25)."""
    num_visits = len(read(hospital, "ADMISSIONS"))
    drugs = read(hospital, "PRESCRIPTIONS").select("HADM_ID", "DRUG").unique()
    assert 6 < len(read(hospital, "DIAGNOSES_ICD")) / num_visits < 8
    assert 6 < len(drugs) / num_visits < 8


def test_an_empty_hospital_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 0"):
        write_tables(tmp_path, 0, seed=0)
