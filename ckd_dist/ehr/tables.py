"""A folder of .csv or .csv.gz tables -> typed tables in DuckDB, by a table map, with every lost row counted.

DuckDB streams a gzip file and spills what does not fit, so a table may be larger than memory.  The header is read here,
since the map wants lower-case names and a missing column wants a sentence; rows are read as text and cast after, so
that a bad number costs one cell and is judged where it is used.  A row with too many or too few fields, an open quote
or bytes that are not UTF-8 is counted as malformed.  An open quote may swallow the rows after it: they count as one.
"""

import csv
import gzip
import re
import zlib
from pathlib import Path

import duckdb

from ckd_dist.ehr.mimic import Site, TableMap
from ckd_dist.ehr.staging import Connection, Report, counts, number

BLANKS = "' ' || chr(9) || chr(10) || chr(13)"
TYPES = {  # of our columns; all others are text
    "subject_id": "BIGINT",
    "hadm_id": "BIGINT",
    "seq": "INTEGER",
    "version": "INTEGER",
    **dict.fromkeys(("age", "year", "cancelled"), "INTEGER"),
    **dict.fromkeys(("birth", "dod", "admitted", "discharged", "died_at", "started"), "TIMESTAMP"),
    **dict.fromkeys(("stay_id", "hospital_begin", "hospital_end", "unit_end", "minute"), "BIGINT"),  # eICU's clock
    "time_of_day": "TIME",
}


def find_tables(folder: Path, site: Site) -> dict[str, Path]:
    """Find every table of the site that the folder holds.  Raise ValueError where a required one is missing."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: give the folder that holds {_names(site['visits'], 'or')}")
    by_name: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        by_name.setdefault(path.name.lower(), []).append(path)
    found = {}
    for name, table in site.items():
        paths = [path for ending in (".csv", ".csv.gz") for path in by_name.get(table.file.lower() + ending, [])]
        if len(paths) > 1:
            raise ValueError(f"{folder} holds {' and '.join(path.name for path in paths)}: keep one of them")
        if not paths and table.required:
            raise ValueError(f"{folder} holds neither {_names(table, 'nor')} (upper or lower case): add the table")
        if paths:
            found[name] = paths[0]
    return found


def load(con: Connection, name: str, table: TableMap, path: Path, judge: str) -> Report:
    """Make DuckDB table `name` and count its rows: kept, or skipped for the reason that the judge gives.

    judge: a SELECT on the map's columns in `raw` that adds `reason`, null where a row is kept.  Raises ValueError where
    a needed column is missing or the file is damaged; the message holds nothing of the file.
    """
    num_rows, num_malformed = _load(con, name, table, path, judge)
    report = counts(path.name, num_rows)
    if num_malformed:
        report["skipped"]["malformed row"] = num_malformed
    reasons = dict(con.execute(f"SELECT reason, count(*) FROM {name} GROUP BY reason ORDER BY reason").fetchall())
    report["kept"] = reasons.pop(None, 0)
    report["skipped"] |= reasons
    return report


def _load(con: Connection, name: str, table: TableMap, path: Path, judge: str) -> tuple[int, int]:
    """Make the table; return (rows, malformed)."""
    header = _header(path)
    if missing := [column for column in table.needs if column not in header]:
        raise ValueError(f"{path}: column {', '.join(missing)} is missing from the header (upper or lower case)")
    columns = ", ".join(f"{_text(column)}: 'VARCHAR'" for column in header)
    source = f"""read_csv({_text(_literal_path(path))}, columns = {{{columns}}}, auto_detect = false, header = true,
        delim = ',', quote = '"', escape = '"', store_rejects = true,
        rejects_table = 'rejects_{name}', rejects_scan = 'rejects_scan_{name}')"""
    absent = "".join(f", NULL::VARCHAR AS {column}" for column in table.spare if column not in header)
    picked = ", ".join(f"{_cast(ours, expression)} AS {ours}" for ours, expression in table.columns.items())
    try:
        con.execute(
            f"CREATE TABLE {name} AS WITH raw AS (SELECT {picked} FROM (SELECT *{absent} FROM {source})) {judge}"
        )
    except duckdb.IOException:  # messages may quote a row: none is passed on
        raise ValueError(f"{path} cannot be read to its end: is the file whole, is there room on the disk?") from None
    except duckdb.InvalidInputException:
        raise ValueError(
            f"{path} cannot be parsed as CSV: write it anew, with one kind of line end throughout"
        ) from None
    num_good = number(con, f"SELECT count(*) FROM {name}")
    num_malformed = number(con, f"SELECT count(DISTINCT (file_id, line)) FROM rejects_{name}")
    con.execute(f"DROP TABLE rejects_{name}; DROP TABLE rejects_scan_{name}")
    return num_good + num_malformed, num_malformed


def _names(table: TableMap, between: str) -> str:
    return f"{table.file}.csv {between} {table.file}.csv.gz"


def _header(path: Path) -> list[str]:
    """Column names in lower case."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            line = file.readline().decode("utf-8-sig", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): is the file whole?") from None
    names = [name.strip().lower() for name in next(csv.reader([line]), [])]
    if not names:
        raise ValueError(f"{path} is empty: a table begins with a line of column names")
    if len(set(names)) < len(names) or "" in names:
        raise ValueError(f"{path}: a column has no name, or two have the same, in its first line")
    return names


def _cast(ours: str, expression: str) -> str:
    text = f"nullif(trim(({expression})::VARCHAR, {BLANKS}), '')"
    return f"TRY_CAST({text} AS {TYPES[ours]})" if ours in TYPES else text


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _literal_path(path: Path) -> str:
    """DuckDB takes a path as a glob: a bracket or star in a folder's name stands for itself only within brackets."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
