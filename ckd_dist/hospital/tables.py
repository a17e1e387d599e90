"""A synthetic hospital of any size, written as MIMIC-III 1.4 tables (.csv.gz, upper-case columns).

    subjects and visits (visits.py) -> tables of a chunk (records.py) -> files

Subjects come in chunks of fixed size with a seed of their own, so a subject's record does not depend on how many there
are, and memory stays flat: 50,000 subjects, 125,000 visits, two million rows take about 5 seconds and 150 MB.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.hospital import records
from ckd_dist.hospital.files import append, tables_in
from ckd_dist.hospital.visits import simulate

CHUNK = 2000  # subjects that share a seed
MEAN_VISITS = 2.5  # a subject, those that end in death included (MIMIC-III has 1.27)

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


def write_tables(folder: Path, num_subjects: int, seed: int, mean_visits: float = MEAN_VISITS) -> dict[str, int]:
    """Write the hospital's tables into `folder`; return how many rows each has.

    A subject has `mean_visits` visits on average (MIMIC-III: 1.28).  The same arguments give the same bytes.  Raises
    ValueError where there is no subject.
    """
    if num_subjects < 1:
        raise ValueError(f"a synthetic hospital needs at least one subject, got {num_subjects}")
    num_rows = dict.fromkeys(TABLES, 0)
    with tables_in(folder, TABLES) as files:
        for chunk in _chunks(num_subjects, seed, mean_visits):
            for name, table in chunk.items():
                append(files[name], table.with_row_index("ROW_ID", offset=num_rows[name] + 1))
                num_rows[name] += len(table)
    return num_rows


def _chunks(num_subjects: int, seed: int, mean_visits: float) -> Iterator[dict[str, pl.DataFrame]]:
    """The dictionaries of codes, then the tables of one chunk of subjects after the other."""
    yield records.dictionaries()
    end = records.FIRST_SUBJECT + num_subjects
    for start in range(0, num_subjects, CHUNK):
        rng = np.random.default_rng([seed, start])
        tables = records.tables(simulate(CHUNK, mean_visits, rng), start, rng)
        yield {name: table.filter(pl.col("SUBJECT_ID") < end) for name, table in tables.items()}
