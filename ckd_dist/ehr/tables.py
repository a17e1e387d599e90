"""A folder of .csv or .csv.gz tables -> typed tables in DuckDB, by a table map, with every lost row counted.

DuckDB streams a gzip file and spills what does not fit, so a table may be larger than memory.  The first line is read
by header.py; rows are read as text, and their cells by cells.py after, so that a bad cell costs one cell and is judged
where it is used.  A row with too many or too few fields, a broken quote or bytes that are not UTF-8 is malformed; a
quote that takes other rows with it (quoting.py) and a table that gives next to nothing (enough.py) are refused.
"""

import re
from pathlib import Path

import duckdb

from ckd_dist.ehr import cells
from ckd_dist.ehr.enough import UNMISSED, check_enough, check_unmissed
from ckd_dist.ehr.header import read_header
from ckd_dist.ehr.mimic import Site, TableMap
from ckd_dist.ehr.quoting import check_quoting
from ckd_dist.ehr.staging import Connection, Report, counts, number
from ckd_dist.mistakes import raise_fault

MALFORMED = {  # DuckDB's words for what is wrong with a row -> ours
    "INVALID ENCODING": "not UTF-8",
    "UNQUOTED VALUE": "a broken quote",
    "MISSING COLUMNS": "too few fields",
    "TOO MANY COLUMNS": "too many fields",
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
            raise ValueError(
                f"{folder} holds neither {_names(table, 'nor')} (upper or lower case): add the table"
                f"{_seen(folder, table)}"
            )
        if paths:
            found[name] = paths[0]
    return found


def load(con: Connection, name: str, table: TableMap, path: Path, judge: str) -> Report:
    """Make DuckDB table `name` and count its rows: kept, or skipped for the reason that the judge gives.

    judge: a SELECT on the map's columns in `raw` that adds `reason`, null where a row is kept.  Raises ValueError where
    a needed column is missing, the file is damaged, or too little of it can be used; the message holds nothing of it.
    """
    header = read_header(path, table.needs)
    columns = ", ".join(f"{_text(column)}: 'VARCHAR'" for column in _distinct(header.names))
    scan = f"""read_csv({_text(_literal_path(path))}, columns = {{{columns}}}, auto_detect = false, header = true,
        delim = {_text(header.separator)}, quote = '"', escape = '"', store_rejects = true, rejects_table = 'rejects',
        rejects_scan = 'rejects_scan')"""
    absent = "".join(f", NULL::VARCHAR AS {column}" for column in table.spare if column not in header.names)
    source = f"(SELECT *{absent} FROM {scan})" if absent else scan
    over_lines = " OR ".join(f'contains("{column}", chr(10))' for column in _distinct(header.names))
    also = f"coalesce({over_lines}, false) AS over_lines"
    try:
        for careful in (False, True):
            raw = cells.read(table.columns, source, also, careful)
            con.execute(f"CREATE OR REPLACE TABLE {name} AS WITH raw AS ({raw}) {judge}")
            malformed = _malformed(con)
            num_unread = number(con, f"SELECT count(*) FROM {name} WHERE unread")
            if not num_unread:
                break
        report = _count(con, name, path, sum(malformed.values()))
        if malformed or number(con, f"SELECT count(*) FROM {name} WHERE over_lines"):
            check_quoting(path, header, report["rows"])
        if num_unread:
            report["unreadable"] = cells.forms(con, table.columns, source)
            _malformed(con)
            _check_unmissed(con, name, table, path, report["unreadable"])
    except duckdb.IOException as error:  # messages may quote a row: none is passed on
        raise_fault(error)
        raise ValueError(f"{path} cannot be read to its end: is the file whole, is there room on the disk?") from None
    except duckdb.InvalidInputException:
        raise ValueError(
            f"{path} cannot be parsed as CSV: write it anew, with one kind of line end throughout"
        ) from None
    if malformed:
        report["malformed"] = malformed
    check_enough(path, table.required, report, {theirs: ours for ours, theirs in table.columns.items()})
    return report


def _check_unmissed(con: Connection, name: str, table: TableMap, path: Path, unreadable: Report) -> None:
    """Refuse births and deaths that cannot be read; the columns are named as the table does, where it is one."""
    named = {expression if expression in unreadable else ours: ours for ours, expression in table.columns.items()}
    unmissed = {column: ours for column, ours in named.items() if ours in UNMISSED and column in unreadable}
    num_read = {column: number(con, f"SELECT count({ours}) FROM {name}") for column, ours in unmissed.items()}
    check_unmissed(path, {column: sum(unreadable[column].values()) for column in unmissed}, num_read)


def _count(con: Connection, name: str, path: Path, num_malformed: int) -> Report:
    """Count what became of the rows of a table."""
    reasons = dict(con.execute(f"SELECT reason, count(*) FROM {name} GROUP BY reason ORDER BY reason").fetchall())
    report = counts(path.name, sum(reasons.values()) + num_malformed)
    report["kept"] = reasons.pop(None, 0)
    report["skipped"] = ({"malformed row": num_malformed} if num_malformed else {}) | reasons
    return report


def _malformed(con: Connection) -> dict[str, int]:
    """Count the rejected rows by what is wrong with them, the first fault of a row, and forget them."""
    rows = con.execute("""SELECT fault, count(*) FROM (SELECT min_by(error_type::VARCHAR, error_type) AS fault
        FROM rejects GROUP BY file_id, line) GROUP BY fault ORDER BY count(*) DESC, fault""").fetchall()
    con.execute("DROP TABLE rejects; DROP TABLE rejects_scan")
    return {MALFORMED.get(fault, fault.lower()): number for fault, number in rows}


def _distinct(names: tuple[str, ...]) -> list[str]:
    """Return names that differ: a column without a name, or of a name that was there, is numbered; nobody needs it.

    >>> _distinct(("", "code", "note", "note"))
    ['column 0', 'code', 'note', 'column 3']
    """
    return [
        f"column {nth}" if not name or name in names[:nth] or '"' in name else name for nth, name in enumerate(names)
    ]


def _seen(folder: Path, table: TableMap) -> str:
    """Say where a missing table lies after all: in a folder near by (MIMIC-IV 1.0's core/), or in another form."""
    near = [folder, *(each for each in [*folder.parent.iterdir(), *folder.iterdir()] if each.is_dir())]
    named = [path for each in near for path in each.glob("*") if path.name.lower().startswith(table.file.lower() + ".")]
    for path in sorted(named):
        if path.name.lower() in (table.file.lower() + ".csv", table.file.lower() + ".csv.gz"):
            return f"; it lies in {path.parent}: copy it into {folder}"
        return f"; {path.name} is not read: write it as .csv or .csv.gz"
    return ""


def _names(table: TableMap, between: str) -> str:
    return f"{table.file}.csv {between} {table.file}.csv.gz"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _literal_path(path: Path) -> str:
    """DuckDB takes a path as a glob: a bracket or star in a folder's name stands for itself only within brackets."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
