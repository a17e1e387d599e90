"""Events on disk: a MEDS 0.4 data set of our columns.

    data/<split>/00000.parquet ...   one subject in one file, sorted by subject, then time, static facts first
    metadata/{codes.parquet, subject_splits.parquet, dataset.json, report.json}
    metadata/unread_visits.parquet      where the source has visits whose times could not be read: whose, and since when

The order of rows within a time is the writer's and is kept: diagnoses and procedures come in SEQ_NUM order.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import meds
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ckd_dist.schema import EVENTS, GENDER, SITE, SPLITS

STATIC = (GENDER, SITE)  # the only codes that may go without a time
UNREAD_VISITS = "metadata/unread_visits.parquet"
ROWS_PER_FILE = 5_000_000
ROWS_PER_BLOCK = 1 << 17  # a row group

ARROW = pa.schema(
    [
        ("subject_id", pa.int64()),
        ("time", pa.timestamp("us")),
        ("code", pa.string()),
        ("numeric_value", pa.float32()),
        ("hadm_id", pa.int64()),
    ]
)


def read_events(folder: Path, split: str) -> pl.LazyFrame:
    """Read the events of a split, in the order of the files.  Raise ValueError where the data set has none."""
    files = sorted((folder / meds.data_subdirectory / split).glob("*.parquet"))
    if not files:
        raise ValueError(f"{folder} has no events of split {split!r}: run the extract stage first")
    return pl.scan_parquet(files).select(EVENTS.names())


def read_codes(folder: Path) -> pl.DataFrame:
    """Read every code of the data set with its description (null where none is known): columns code, description."""
    path = folder / meds.code_metadata_filepath
    if not path.is_file():
        raise ValueError(f"{path} is missing: run the extract stage first")
    return pl.read_parquet(path, columns=["code", "description"])


def read_unread_visits(folder: Path) -> pl.DataFrame:
    """Read whose visits could not be read, and when they began: columns subject_id, admitted."""
    path = folder / UNREAD_VISITS
    wanted = {"subject_id": pl.Int64, "admitted": pl.Datetime("us")}
    return pl.read_parquet(path).cast(wanted) if path.is_file() else pl.DataFrame(schema=wanted)


def write_events(
    folder: Path,
    split: str,
    batches: Iterable[pa.RecordBatch | pa.Table],
    rows_per_file: int = ROWS_PER_FILE,
    rows_per_block: int = ROWS_PER_BLOCK,
) -> int:
    """Write the events of a split, a new file after about `rows_per_file` rows, and return the number of events.

    Raises ValueError where a dated event has no time, a code or subject is missing, or rows are out of order; an
    exception leaves what was written so far.  A split without events is one file without rows.
    """
    assert split in SPLITS, split
    place = folder / meds.data_subdirectory / split
    place.mkdir(parents=True, exist_ok=True)
    last: tuple[int, int] | None = None  # subject and time of the last row
    num_files = num_rows = rows_in_file = 0
    writer = _open(place, num_files)
    try:
        for table in _blocks(batches, rows_per_block):
            before = last and last[0]
            subject_N = table["subject_id"].to_numpy()
            last = _check_order(subject_N, _time_of(table), last)
            start = 0
            while start < len(subject_N):
                if rows_in_file >= rows_per_file and subject_N[start] != before:
                    writer.close()
                    num_files, rows_in_file = num_files + 1, 0
                    writer = _open(place, num_files)
                stop = _end_of_subject(subject_N, start + max(rows_per_file - rows_in_file, 1))
                writer.write_table(table.slice(start, stop - start))
                rows_in_file += stop - start
                start, before = stop, subject_N[stop - 1]
            num_rows += len(subject_N)
    finally:
        writer.close()
    return num_rows


def _open(place: Path, number: int) -> pq.ParquetWriter:
    return pq.ParquetWriter(place / f"{number:05d}.parquet", ARROW, compression="zstd")


def _blocks(batches: Iterable[pa.RecordBatch | pa.Table], size: int) -> Iterator[pa.Table]:
    """Checked tables of `size` rows, the last one fewer: the bytes of a file do not depend on how rows arrive."""
    held: list[pa.Table] = []
    for batch in batches:
        held.append(_checked(batch))
        while sum(table.num_rows for table in held) >= size:
            rows = pa.concat_tables(held)
            yield rows.slice(0, size).combine_chunks()
            held = [rows.slice(size)]
    if held and (rest := pa.concat_tables(held)).num_rows:
        yield rest.combine_chunks()


def _end_of_subject(subject_N: np.ndarray, stop: int) -> int:
    """The first row at or after `stop` where a subject ends."""
    return len(subject_N) if stop >= len(subject_N) else int(np.searchsorted(subject_N, subject_N[stop - 1], "right"))


def _checked(batch: pa.RecordBatch | pa.Table) -> pa.Table:
    table = pa.table({name: batch[name] for name in ARROW.names}).cast(ARROW)
    for name in ("subject_id", "code"):
        if table[name].null_count:
            raise ValueError(f"{table[name].null_count} events have no {name}")
    dateless = table.filter(pc.is_null(table["time"]))
    is_static = np.zeros(dateless.num_rows, dtype=bool)
    for prefix in STATIC:
        is_static |= pc.starts_with(dateless["code"], prefix).to_numpy()
    if not is_static.all():
        raise ValueError(f"{(~is_static).sum()} dated events have no time: only {' and '.join(STATIC)} may go without")
    meds.DataSchema.validate(table)
    return table


def _time_of(table: pa.Table) -> np.ndarray:
    """Microseconds, the smallest integer where there is none: static facts come first."""
    return pc.fill_null(table["time"].cast(pa.int64()), np.iinfo(np.int64).min).to_numpy()


def _check_order(subject_N: np.ndarray, time_N: np.ndarray, last: tuple[int, int] | None) -> tuple[int, int] | None:
    if not len(subject_N):
        return last
    if last is not None:
        subject_N, time_N = np.append(last[0], subject_N), np.append(last[1], time_N)
    back = (subject_N[1:] < subject_N[:-1]) | ((subject_N[1:] == subject_N[:-1]) & (time_N[1:] < time_N[:-1]))
    if back.any():
        raise ValueError(f"{back.sum()} events are out of order: sort by subject_id, then time, null first")
    return int(subject_N[-1]), int(time_N[-1])
