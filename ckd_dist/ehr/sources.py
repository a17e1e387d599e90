"""The kinds of hospital records, each with its reader and its title.  A study may add kinds of its own.

    mimic3:DIR  mimic4:DIR   CSV -> typed tables (tables.py, maps in mimic.py) -> staged events (visits.py)
    eicu:DIR                 CSV -> typed tables -> staged events (eicu.py)
    meds:DIR                 parquet -> staged events (meds_source.py)
    synthetic:N              a synthetic hospital's tables, which are MIMIC-III's; MIMIC-IV's where it writes ICD-10

A reader is called with a database connection, a folder, the report to fill, a callback of progress and the map of the
site's own codes (codemap.py).
"""

from pathlib import Path

from ckd_dist.ehr.codemap import CodeMap, map_staged
from ckd_dist.ehr.eicu import stage_eicu
from ckd_dist.ehr.meds_source import stage_meds
from ckd_dist.ehr.mimic import MIMIC3, MIMIC4
from ckd_dist.ehr.staging import Connection, Report
from ckd_dist.ehr.visits import stage_tables
from ckd_dist.hospital.tables import write_tables
from ckd_dist.progress import Track
from ckd_dist.source import SYNTHETIC, Source, find_source, num_subjects


def _stage_mimic3(con: Connection, folder: Path, report: Report, track: Track, code_map: CodeMap) -> None:
    stage_tables(con, folder, MIMIC3, report, track)
    map_staged(con, code_map, report)


def _stage_mimic4(con: Connection, folder: Path, report: Report, track: Track, code_map: CodeMap) -> None:
    stage_tables(con, folder / "hosp" if (folder / "hosp").is_dir() else folder, MIMIC4, report, track)
    map_staged(con, code_map, report)


def _stage_eicu(con: Connection, folder: Path, report: Report, track: Track, code_map: CodeMap) -> None:
    stage_eicu(con, folder, report, track)
    map_staged(con, code_map, report)


SOURCES = {
    "mimic3": Source(_stage_mimic3, "MIMIC-III tables"),
    "mimic4": Source(_stage_mimic4, "MIMIC-IV tables"),
    "eicu": Source(_stage_eicu, "eICU tables"),
    "meds": Source(stage_meds, "a MEDS data set"),
    SYNTHETIC: Source(
        _stage_mimic3, "a synthetic hospital of {:,} subjects, whose law is known", "N", make=write_tables
    ),
}
REAL = {kind: source for kind, source in SOURCES.items() if not source.make}


SYNTHETIC_KINDS = {"icd9": "mimic3", "icd10": "mimic4"}  # codes that a synthetic hospital writes -> its tables' kind


def with_tables(source: str, folder: Path, seed: int, codes: str = "icd9") -> str:
    """Return a source of REAL for any of SOURCES: a synthetic hospital's tables are written into `folder` first.

    codes: of SYNTHETIC_KINDS, what a synthetic hospital writes; other sources have their own.
    """
    found, _ = find_source(source, SOURCES)
    if not found.make:
        return source
    write_tables(folder, num_subjects(source), seed, codes=codes)
    return f"{SYNTHETIC_KINDS[codes]}:{folder}"
