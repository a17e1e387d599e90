"""Events on disk: nothing lost, one subject in one file, in order, and no dated event without a time."""

from datetime import datetime, timedelta
from pathlib import Path

import meds
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.ehr.events import read_codes, read_events, write_events
from ckd_dist.schema import EVENTS

START = datetime(2100, 1, 1)


def frame(rows: list[tuple]) -> pl.DataFrame:
    """Rows of (subject, day or None, code)."""
    return pl.DataFrame(
        [(s, None if day is None else START + timedelta(days=day), code, None, None) for s, day, code in rows],
        schema=EVENTS,
        orient="row",
    )


def batches(events: pl.DataFrame, size: int):
    return (events.slice(start, size).to_arrow() for start in range(0, events.height, size))


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 7), max_size=8),
    rows_per_file=st.integers(1, 9),
    rows_per_block=st.integers(1, 9),
    size=st.integers(1, 9),
)
def test_nothing_is_lost_and_a_subject_is_in_one_file(tmp_path_factory, lengths, rows_per_file, rows_per_block, size):
    folder = tmp_path_factory.mktemp("events")
    days = [(subject, day) for subject, length in enumerate(lengths) for day in range(length)]
    events = frame([(subject, day or None, f"LAB//{day}" if day else "GENDER//F") for subject, day in days])
    assert write_events(folder, "train", batches(events, size), rows_per_file, rows_per_block) == events.height
    assert read_events(folder, "train").collect().equals(events)
    files = sorted((folder / "data" / "train").glob("*.parquet"))
    subjects = [set(pq.read_table(file)["subject_id"].to_pylist()) for file in files]
    assert sum(map(len, subjects)) == len(lengths), "a subject is in two files"
    assert all(pq.read_metadata(file).num_rows < rows_per_file + 7 for file in files)
    for file in files:
        meds.DataSchema.validate(pq.read_table(file))
    write_events(folder, "tuning", [events.to_arrow()], rows_per_file, rows_per_block)
    again = sorted((folder / "data" / "tuning").glob("*.parquet"))
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in files], "batches show in the bytes"


def test_a_dated_event_without_a_time_raises(tmp_path: Path):
    write_events(tmp_path, "train", [frame([(1, None, "GENDER//F"), (1, None, "SITE//carevue")]).to_arrow()])
    for code in ("DIAGNOSIS//ICD//9//4280", "MEDS_BIRTH", "MEDICATION//aspirin"):
        with pytest.raises(ValueError, match="1 dated events have no time"):
            write_events(tmp_path, "train", [frame([(1, None, "GENDER//F"), (1, None, code)]).to_arrow()])


@pytest.mark.parametrize(
    "rows",
    [
        [(2, 1, "A"), (1, 1, "A")],
        [(1, 2, "A"), (1, 1, "A")],
        [(1, 1, "A"), (1, None, "GENDER//F")],
        [(1, 1, "A"), (2, 1, "A"), (1, 2, "A")],
    ],
)
@pytest.mark.parametrize("size", [1, 10])
def test_events_out_of_order_raise_within_and_across_batches(tmp_path: Path, rows, size):
    with pytest.raises(ValueError, match="out of order"):
        write_events(tmp_path, "train", batches(frame(rows), size))


def test_an_event_without_a_code_raises(tmp_path: Path):
    with pytest.raises(ValueError, match="1 events have no code"):
        write_events(tmp_path, "train", [frame([(1, 1, None)]).to_arrow()])


def test_an_empty_split_reads_as_no_rows_and_a_missing_one_raises(tmp_path: Path):
    write_events(tmp_path, "tuning", [])
    assert read_events(tmp_path, "tuning").collect().schema == EVENTS
    with pytest.raises(ValueError, match="no events of split 'train'"):
        read_events(tmp_path, "train")
    with pytest.raises(ValueError, match=r"codes\.parquet is missing"):
        read_codes(tmp_path)
