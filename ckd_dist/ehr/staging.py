"""The staged events: one DuckDB table that every source fills and the writer reads in order.

`visit` is the visit's number within its subject (by admission, then hadm_id), 0 before and LAST after all visits;
`kind` ranks what happens at one time; `seq` is SEQ_NUM, 0 where there is none.  Ordering by all of them is a total
order, so neither threads nor the order of rows in a source file shows in the result.
"""

from typing import Any

import duckdb

from ckd_dist.schema import (
    ADMISSION,
    ANY_DIAGNOSIS,
    ANY_PROCEDURE,
    BIRTH,
    DEATH,
    DIAGNOSIS,
    DISCHARGE,
    EICU_DIAGNOSIS,
    GENDER,
    HISTORY,
    ICU_ADMISSION,
    ICU_DISCHARGE,
    MEDICATION,
    PROCEDURE,
    SITE,
    TREATMENT,
)

Connection = duckdb.DuckDBPyConnection
Report = dict[str, Any]

LAST = 2**31 - 1
KINDS = (  # in order within a time
    *(GENDER, SITE, BIRTH, ADMISSION, ICU_ADMISSION, HISTORY, MEDICATION, TREATMENT),
    *(EICU_DIAGNOSIS, DIAGNOSIS, ANY_DIAGNOSIS, PROCEDURE, ANY_PROCEDURE, ICU_DISCHARGE, DISCHARGE, DEATH),
)  # a longer prefix before the shorter one that it starts with
KIND = {prefix: rank for rank, prefix in enumerate(KINDS)}
DEAD = "(died|dead|death|expired|deceased|morgue|mortuary|coroner|medical examiner)"
SAYS_DIED = rf"""(regexp_matches(lower(place), '(^|[^a-z]){DEAD}([^a-z]|$)')
    AND NOT regexp_matches(lower(place), '(^|[^a-z])((not|never|non|no)[^a-z]+{DEAD}|alive)([^a-z]|$)'))
    OR regexp_full_match(trim(place), '(20|40|41|42)([.]0*)?')"""  # UB-04's status of a discharge: expired
ORDER = "subject_id, time NULLS FIRST, visit, kind, seq, code"


def create(con: Connection) -> None:
    """Create the empty tables, and the macros that all sources share.

    bare(code): an ICD code as event codes spell it, without dot or blank.  says_died(place): whether a discharge's
    status or place says that the subject died, so that death is alike in every source: DEAD/EXPIRED, DIED, Expired,
    Death; a hospice is for the living.  sex(word): F or M, and any other word as it stands.
    """
    con.execute("""CREATE TABLE events (subject_id BIGINT, time TIMESTAMP, code VARCHAR, numeric_value FLOAT,
                                        hadm_id BIGINT, visit INTEGER, kind TINYINT, seq BIGINT)""")
    con.execute("CREATE TABLE titles (code VARCHAR, title VARCHAR)")
    con.execute("CREATE TABLE unread_visits (subject_id BIGINT, admitted TIMESTAMP)")  # begun, but no visit of ours
    con.execute(f"CREATE MACRO says_died(place) AS coalesce({SAYS_DIED}, false)")
    con.execute("""CREATE MACRO sex(word) AS CASE upper(word) WHEN 'FEMALE' THEN 'F' WHEN 'MALE' THEN 'M'
        ELSE upper(word) END""")
    con.execute("CREATE MACRO bare(code) AS upper(replace(replace(code, '.', ''), ' ', ''))")


def counts(file: str, num_rows: int) -> Report:
    """Start the counts of what becomes of a table's rows: rows = kept + merged + all skipped."""
    return {"file": file, "rows": num_rows, "kept": 0, "merged": 0, "skipped": {}}


def number(con: Connection, query: str) -> int:
    """Return the one number that `query` gives."""
    return con.execute(query).fetchall()[0][0]


def insert(con: Connection, select: str) -> int:
    """Insert events (all eight columns, in order) and return their number."""
    return number(con, f"INSERT INTO events {select}")
