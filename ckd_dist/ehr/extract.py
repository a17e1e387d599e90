"""Tables to events: open the source (sources.py), judge every row, and write a MEDS data set.

A row is kept, merged into another (a drug's later starts, a repeated code) or skipped for a reason; the report adds up.
Everything is staged in a DuckDB file within the new folder, so memory is bounded by `memory_gb`; equal rows give
equal bytes, whatever the threads or the order of rows.  The new data set is built beside the old and takes its place.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import meds
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import ckd_dist
from ckd_dist.ehr import cells, codes, staging
from ckd_dist.ehr.codemap import CodeMap
from ckd_dist.ehr.events import UNREAD_VISITS, write_events
from ckd_dist.ehr.kept import check_known, count_kept, say_days, say_other_sexes
from ckd_dist.ehr.sources import REAL
from ckd_dist.ehr.staging import Connection, Report, number
from ckd_dist.files import replacing_folder
from ckd_dist.mistakes import is_full_disk, raise_fault
from ckd_dist.progress import Track
from ckd_dist.schema import (
    ADMISSION,
    BIRTH,
    DEATH,
    DIAGNOSIS,
    DISCHARGE,
    GENDER,
    ICU_ADMISSION,
    ICU_DISCHARGE,
    MEDICATION,
    PROCEDURE,
    SITE,
    SPLITS,
)
from ckd_dist.source import find_source
from ckd_dist.study import no_op

SplitOf = Callable[[np.ndarray], np.ndarray]  # subject ids int64 [N] -> split names [N]

PYTHON_GB = 0.35
MB_PER_THREAD = 125  # below that DuckDB's operators cannot spill in time
ROWS_PER_BATCH = 1 << 17


def extract(
    source: str,
    folder: Path,
    split_of: SplitOf,
    memory_gb: float,
    track: Track = no_op,
    code_map: CodeMap | None = None,
) -> Report:
    """Extract `source` ("mimic3:DIR" or another of sources.REAL) into the MEDS data set `folder`; return the report.

    split_of: not asked where a MEDS source names its own splits.  memory_gb: most memory, GB.  code_map: of the site's
    own codes.  Raises ValueError with a sentence for the user, OSError where a file system fails; the data set that was
    there before is then untouched.
    """
    found, place = find_source(source, REAL)
    try:
        with replacing_folder(folder) as new, staging_database(new / ".stage", memory_gb) as con:
            staging.create(con)
            cells.create(con)
            report: Report = {"source": source.partition(":")[0], "tables": {}, "missing_tables": []}
            code_map = code_map or CodeMap()
            found.read(con, Path(place).expanduser(), report, track, code_map)
            code_map.check_met(report)
            say_days(con, report)
            say_other_sexes(con, report)
            _assign_splits(con, split_of)
            _write(con, new, report, track)
    except (duckdb.OutOfMemoryException, duckdb.IOException, OSError) as error:
        raise_fault(error)
        if isinstance(error, duckdb.OutOfMemoryException) or is_full_disk(error):
            raise ValueError(
                f"reading {source} ran out of memory_gb={memory_gb:g} or of disk space in {folder}: raise"
                " extract.memory_gb, or free some space"
            ) from None
        why = getattr(error, "strerror", None) or type(error).__name__
        place = getattr(error, "filename", None) or folder
        raise ValueError(f"extraction stopped at {place}: {why}; mend that, run again") from None
    return report


@contextmanager
def staging_database(place: Path, memory_gb: float) -> Iterator[Connection]:
    """Open a DuckDB file that spills beside itself, with the memory that Python leaves; delete it after."""
    memory_mb = int(1000 * max(memory_gb - PYTHON_GB, memory_gb / 3))
    place.mkdir()
    with duckdb.connect(place / "stage.duckdb") as con:
        con.execute(f"SET memory_limit = '{memory_mb}MB'")
        con.execute(f"SET threads = {min(os.cpu_count() or 1, max(memory_mb // MB_PER_THREAD, 1))}")
        con.execute("SET temp_directory = ?", [str(place / "spill")])
        con.execute("SET enable_progress_bar = false")
        con.execute("SET TimeZone = 'UTC'")  # instants become clock times: equal ones, whatever machine reads them
        yield con
    shutil.rmtree(place)


def _assign_splits(con: Connection, split_of: SplitOf) -> None:
    """Make table `splits`: one split a subject.  Raises ValueError where nothing was extracted."""
    if not number(con, "SELECT count(*) FROM events"):
        raise ValueError("the source has no subject with a readable event: is it of the kind that was named?")
    tables = {name for (name,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "given_splits" in tables:
        con.execute("CREATE TABLE splits AS FROM given_splits SEMI JOIN events USING (subject_id)")
        return
    subject_N = con.execute("SELECT DISTINCT subject_id FROM events ORDER BY subject_id").fetchnumpy()["subject_id"]
    split_N = np.asarray(split_of(np.asarray(subject_N, dtype=np.int64)))
    if split_N.shape != subject_N.shape or not set(split_N.tolist()) <= set(SPLITS):
        raise AssertionError(f"split_of must give one of {SPLITS} for each of {len(subject_N)} subjects")
    given = {"subject_id": pa.array(subject_N), "split": pa.array(split_N.tolist(), pa.string())}
    con.register("given", pa.table(given))
    con.execute("CREATE TABLE splits AS SELECT * FROM given")


def _write(con: Connection, out: Path, report: Report, track: Track) -> None:
    """Write data and metadata, and complete the report."""
    total = number(con, "SELECT count(*) FROM events")
    done = 0
    report["events"], report["subjects"] = {}, {}
    for split in SPLITS:
        rows = con.sql(
            "SELECT subject_id, time, code, numeric_value, hadm_id FROM events JOIN splits USING (subject_id)"
            f" WHERE split = '{split}' ORDER BY {staging.ORDER}"
        )
        report["events"][split] = write_events(out, split, rows.to_arrow_reader(ROWS_PER_BATCH))
        report["subjects"][split] = number(con, f"SELECT count(*) FROM splits WHERE split = '{split}'")
        track(done := done + report["events"][split], total)
    report["kept"] = count_kept(con)
    report["visits"] = report["kept"]["admissions"]
    metadata = out / "metadata"
    metadata.mkdir()
    _write_splits(con, metadata / "subject_splits.parquet")
    _write_unread(con, out / UNREAD_VISITS)
    _write_codes(con, metadata / "codes.parquet", report)
    _write_json(metadata / "dataset.json", _dataset(report["source"]))
    _write_json(metadata / "report.json", report)


def _write_splits(con: Connection, path: Path) -> None:
    table = con.sql("SELECT subject_id, split FROM splits ORDER BY subject_id").to_arrow_table()
    table = meds.SubjectSplitSchema.align(table)
    pq.write_table(table, path)


def _write_unread(con: Connection, path: Path) -> None:
    """When somebody came whose visit cannot be read; no file where all can be."""
    if number(con, "SELECT count(*) FROM unread_visits"):
        unread = con.sql("SELECT DISTINCT subject_id, admitted FROM unread_visits ORDER BY ALL").to_arrow_table()
        pq.write_table(unread, path)


def _write_codes(con: Connection, path: Path, report: Report) -> None:
    """Every code with a description and its CCS categories as parents; count the codes that no table knows."""
    rows = con.execute(
        "SELECT code, count(*), min(title) FROM events LEFT JOIN titles USING (code) GROUP BY code ORDER BY code"
    ).fetchall()
    for name, prefix in (("diagnosis", DIAGNOSIS), ("procedure", PROCEDURE)):
        unknown = [number for code, number, _ in rows if code.startswith(prefix) and not codes.is_known(code)]
        report[f"unknown_{name}_codes"] = {"codes": len(unknown), "events": sum(unknown)}
    num_of_icd = sum(number for code, number, _ in rows if code.startswith(DIAGNOSIS))
    check_known(**report["unknown_diagnosis_codes"], num_diagnoses=num_of_icd)
    table = {
        "code": [code for code, _, _ in rows],
        "description": [described or _describe(code) for code, _, described in rows],
        "parent_codes": [[f"CCS//{category}" for category in codes.ccs_categories(code)] for code, _, _ in rows],
    }
    pq.write_table(meds.CodeMetadataSchema.align(pa.table(table, schema=meds.CodeMetadataSchema.schema())), path)


WORDS = {
    ADMISSION: "Admission: ",
    DISCHARGE: "Discharge: ",
    ICU_ADMISSION: "ICU admission: ",
    ICU_DISCHARGE: "ICU discharge: ",
    GENDER: "Gender: ",
    SITE: "Site: ",
    MEDICATION: "",
}


def _describe(code: str) -> str | None:
    """A description where the source has none."""
    for prefix, words in WORDS.items():
        if code.startswith(prefix):
            return words + code.removeprefix(prefix)
    return {BIRTH: "Birth", DEATH: "Death"}.get(code) or codes.title(code)


def _dataset(source: str) -> dict[str, object]:
    """What MEDS asks of dataset.json, but for the date: equal events are equal bytes."""
    return meds.DatasetMetadataSchema(
        dataset_name=source,
        etl_name="ckd_dist",
        etl_version=ckd_dist.__version__,
        meds_version=meds.__version__,
        raw_source_id_columns=["hadm_id"],
    ).to_dict()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
