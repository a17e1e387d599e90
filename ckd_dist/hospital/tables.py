"""A synthetic hospital of any size, written as MIMIC-III 1.4 tables (.csv.gz, upper-case columns).

    subjects and visits (visits.py) -> tables of a chunk (records.py), or the same in ICD-10 (icd10.py) -> files

Subjects come in chunks of fixed size with a seed of their own, so a subject's record does not depend on how many there
are, and memory stays flat: 50,000 subjects, 125,000 visits, two million rows take about 5 seconds and 150 MB.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.hospital import icd10, records
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


@dataclass(frozen=True)
class Form:
    """How a hospital's tables are called and spelled."""

    tables: tuple[str, ...]
    row_id: str  # name of the running number
    spell: Callable[[dict[str, pl.DataFrame]], dict[str, pl.DataFrame]]  # tables of records.py -> those of this form


FORMS = {
    "icd9": Form(TABLES, "ROW_ID", lambda tables: tables),  # MIMIC-III's
    "icd10": Form(icd10.TABLES, "row_id", icd10.respell),  # MIMIC-IV's
}


def write_tables(
    folder: Path, num_subjects: int, seed: int, mean_visits: float = MEAN_VISITS, codes: str = "icd9"
) -> dict[str, int]:
    """Write the hospital's tables into `folder`; return how many rows each has.

    A subject has `mean_visits` visits on average (MIMIC-III: 1.28).  codes: of FORMS; subjects and visits are the same
    in each.  The same arguments give the same bytes.  Raises ValueError where there is no subject.
    """
    if num_subjects < 1:
        raise ValueError(f"a synthetic hospital needs at least one subject, got {num_subjects}")
    form = FORMS[codes]
    num_rows = dict.fromkeys(form.tables, 0)
    with tables_in(folder, form.tables) as files:
        for chunk in _chunks(num_subjects, seed, mean_visits):
            for name, table in form.spell(chunk).items():
                append(files[name], table.with_row_index(form.row_id, offset=num_rows[name] + 1))
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
