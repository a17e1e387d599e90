"""A synthetic hospital of any size, written as MIMIC-III 1.4 tables (.csv.gz, upper-case columns).

    subjects and visits (visits.py) -> tables of a chunk (records.py) -> files

Subjects come in chunks of fixed size with a seed of their own, so a subject's record does not depend on how many there
are, and memory stays flat: 50,000 subjects, 125,000 visits, two million rows take about 5 seconds and 150 MB.
"""

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.hospital import records
from ckd_dist.hospital.visits import simulate

CHUNK = 2000  # subjects that share a seed

TABLES = (
    "PATIENTS",
    "ADMISSIONS",
    "ICUSTAYS",
    "DIAGNOSES_ICD",
    "PROCEDURES_ICD",
    "PRESCRIPTIONS",
    "D_ICD_DIAGNOSES",
    "D_ICD_PROCEDURES",
)


def write_tables(folder: Path, num_subjects: int, seed: int, mean_visits: float = 2.5) -> dict[str, int]:
    """Write the hospital's tables into `folder`; return how many rows each has.

    mean_visits: visits a subject on average, those that end in death included (MIMIC-III has 1.27).
    The same arguments give the same bytes.  Raises ValueError where a number is out of range.
    """
    if num_subjects < 1:
        raise ValueError(f"a synthetic hospital needs at least one subject, got {num_subjects}")
    if not 1 <= mean_visits <= 8:
        raise ValueError(f"mean_visits must lie between 1 and 8 visits a subject, got {mean_visits}")
    folder.mkdir(parents=True, exist_ok=True)
    num_rows = dict.fromkeys(TABLES, 0)
    with _files(folder) as files:
        for chunk in _chunks(num_subjects, seed, mean_visits):
            for name, table in chunk.items():
                _append(files[name], table, num_rows[name])
                num_rows[name] += len(table)
    return num_rows


@contextmanager
def _files(folder: Path) -> Iterator[dict[str, gzip.GzipFile]]:
    """One gzip file a table, written beside its place and moved there when all are whole."""
    places = {name: (folder / f"{name}.csv.gz.part", folder / f"{name}.csv.gz") for name in TABLES}
    with ExitStack() as stack:
        raw = {name: stack.enter_context(open(part, "wb")) for name, (part, _) in places.items()}
        files = {name: gzip.GzipFile("", "wb", compresslevel=3, fileobj=file, mtime=0) for name, file in raw.items()}
        yield files
        for name in TABLES:
            files[name].close()
            raw[name].flush()
            os.fsync(raw[name].fileno())
    for part, place in places.values():
        os.replace(part, place)


def _append(file: gzip.GzipFile, table: pl.DataFrame, num_before: int) -> None:
    """Write the rows of `table`, numbered on from those before; the very first write starts with the header."""
    text = io.BytesIO()
    numbered = table.with_row_index("ROW_ID", offset=num_before + 1)
    numbered.write_csv(text, include_header=file.tell() == 0, datetime_format="%Y-%m-%d %H:%M:%S")
    file.write(text.getvalue())


def _chunks(num_subjects: int, seed: int, mean_visits: float) -> Iterator[dict[str, pl.DataFrame]]:
    """The dictionaries of codes, then the tables of one chunk of subjects after the other."""
    yield records.dictionaries()
    end = records.FIRST_SUBJECT + num_subjects
    for start in range(0, num_subjects, CHUNK):
        rng = np.random.default_rng([seed, start])
        tables = records.tables(simulate(CHUNK, mean_visits, rng), start, rng)
        yield {name: table.filter(pl.col("SUBJECT_ID") < end) for name, table in tables.items()}
