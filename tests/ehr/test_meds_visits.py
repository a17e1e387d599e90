"""Visits whose ids, ends or order a tool has blurred: each is found."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from ckd_dist.ehr.kept import account_of
from tests.ehr.test_meds_files import ADMISSION, DISCHARGE, clean, read, two_shards, write

INSIDE = ~(ADMISSION | DISCHARGE).fill_null(True)


@pytest.mark.parametrize("filler", [0, -1, -(2**63), 9999, 2**31 - 1, 2**63 - 1])
@pytest.mark.parametrize("where", [INSIDE, pl.lit(True)], ids=["inside", "everywhere"])
def test_an_id_that_fills_empty_cells_names_no_visit(filler: int, where: pl.Expr, tmp_path: Path):
    rows = clean().with_columns(hadm_id=pl.when(where).then(pl.lit(filler, pl.Int64)).otherwise("hadm_id"))
    events, report = read(write(tmp_path / "meds", [rows]), tmp_path / "events")
    assert events.drop("hadm_id").equals(clean().drop("hadm_id"))
    assert "that fills empty cells" in account_of(report).sentence()


def test_visits_numbered_from_zero_keep_their_names(tmp_path: Path):
    rows = clean().with_columns(hadm_id=pl.col("hadm_id") % 10 - 1)
    events, report = read(write(tmp_path / "meds", [rows]), tmp_path / "events")
    assert events.equals(rows) and "fills" not in account_of(report).sentence()


@pytest.mark.parametrize("name", ["end", "visit_end_datetime"])
def test_a_shard_whose_visits_end_in_a_column_beside_one_of_discharges(name: str, tmp_path: Path):
    ends = pl.col("time").filter(DISCHARGE).first().over("subject_id", pl.col("time").dt.month())

    def other(events: pl.DataFrame) -> pl.DataFrame:
        return events.with_columns(pl.when(ADMISSION).then(ends).alias(name)).filter(~DISCHARGE.fill_null(False))

    for form, change in (("named", other), ("bare", lambda events: other(events).drop("hadm_id"))):
        events, _ = read(write(tmp_path / form, two_shards(change)), tmp_path / f"{form}_events")
        assert events.select("subject_id", "time").equals(clean().select("subject_id", "time"))


@pytest.mark.parametrize("descending", [False, True])
def test_one_visit_begins_when_another_ends_whatever_the_order_of_the_file(descending: bool, tmp_path: Path):
    """HOSPITAL_ADMISSION sorts before HOSPITAL_DISCHARGE: a file in order of code looks like a visit of no length."""
    second = (pl.col("time").dt.month() == 2).fill_null(False)
    rows = (
        clean()
        .drop("hadm_id")
        .with_columns(time=pl.when(second).then(pl.col("time") - timedelta(days=27, hours=-4)).otherwise("time"))
    )
    rows = rows.sort("subject_id", "time", "code", descending=[False, False, descending], nulls_last=False)
    events, report = read(write(tmp_path / "meds", [rows]), tmp_path / "events")
    assert report["visits"] == 8 and report["tables"]["data"]["skipped"] == {}
    counts = events.drop_nulls("hadm_id").group_by("subject_id", "hadm_id").len()["len"]
    assert counts.to_list() == [5] * 8
