"""What a cell of a table says, as SQL over its text: an id, a time, a number, a word, or nothing.

A cell that has one reading is read, whatever program wrote it: 11.0, 1,234 and ="11" are ids, 01-JAN-2100 and
31.12.2100 are times, ICD-10-CM is a version.  One that has two is not: an id 1.23E+08 has lost digits, 01/02/2100 is a
day of January or of February, a year of two digits has no century, a number of days or seconds no beginning.  Such a
cell is empty, its row is marked `unread`, and `forms` says what the column looks like: 9 for a digit, A for a letter.
A table is first read by tests that the usual cell passes (USUAL): only one with a cell that fails is read with care.
"""

import re
from collections.abc import Mapping

from ckd_dist.ehr.staging import Connection

IDS = ("subject_id", "hadm_id", "stay_id")
MOST_FORMS = 6  # of a column that a sentence names
TIMES = ("birth", "dod", "admitted", "discharged", "died_at", "started")
TYPES = {  # of our columns; all others are text
    **dict.fromkeys(("hospital_begin", "hospital_end", "unit_end", "minute"), "BIGINT"),  # eICU's clock
    **dict.fromkeys(("seq", "age", "year", "cancelled"), "INTEGER"),
    "time_of_day": "TIME",
}
NULLS = (  # words for nothing; the last line: what a spreadsheet shows where it could not compute, or had no room
    "NULL|null|Null|NaN|nan|NAN|NaT|None|none|NONE|NA|N/A|n/a|<NA>|[\\\\]N|#N/A|#NV|#[A-ZÄÖÜ/0]+[!?]|#+"
)
BLANKS = r"[ \t\x{a0}\x{2000}-\x{200b}\x{202f}\x{3000}\x{feff}]+"  # all are one blank within a cell; a line end is not
QUOTES = "[\"'`=\u201c\u201d\u2018\u2019\u00ab\u00bb]"  # around a value, or before it, as spreadsheets write ="11"

# One reading each: a month by its name, a day of dots before its month, a year first, a half of the day by its name.
_DAYS = ("%Y%m%d", "%d-%b-%Y", "%d%b%Y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%d.%m.%Y")
_HOURS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S.%f",
    ":%H:%M:%S",
    " %I:%M%p",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %I:%M:%S%p",
)
FORMATS = [
    *(day + hour for day in (*_DAYS, "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d") for hour in _HOURS),
    *("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%dT%H%M%S", "%Y-%m-%dT%H%M%S"),
]

MACROS = (
    rf"""CREATE MACRO cleared(cell) AS nullif(regexp_replace(regexp_replace(regexp_replace(cell,
        '{BLANKS}', ' ', 'g'), '^\s+|\s+$', '', 'g'), '^({NULLS})$', ''), '')""",
    # all digits are there, or the number of digits after the point makes up for the exponent
    f"""CREATE MACRO unwrapped(cell) AS trim(regexp_replace(cell, '{QUOTES.replace("'", "''")}', '', 'g'))""",
    r"""CREATE MACRO exact(cell) AS CASE
        WHEN regexp_full_match(cell, '[+]?[0-9]{1,18}') THEN TRY_CAST(cell AS BIGINT)
        WHEN regexp_full_match(cell, '[0-9]{1,15}[.]0*') THEN TRY_CAST(split_part(cell, '.', 1) AS BIGINT)
        WHEN regexp_full_match(cell, '[0-9]{1,3}(,[0-9]{3})+([.]0*)?')
            THEN TRY_CAST(replace(split_part(cell, '.', 1), ',', '') AS BIGINT)
        WHEN regexp_full_match(cell, '[0-9]([.][0-9]+)?[eE][+]?[0-9]{1,2}')
            AND TRY_CAST(regexp_extract(cell, '([0-9]+)$', 1) AS INTEGER)
                <= length(regexp_extract(cell, '[.]([0-9]+)', 1)) THEN TRY_CAST(TRY_CAST(cell AS DOUBLE) AS BIGINT)
        END""",
    """CREATE MACRO whole(cell) AS exact(unwrapped(cell))""",
    # what ends in a letter is a zone (the clock time is kept) or a half of the day, which a plain cast would drop
    f"""CREATE MACRO moment(cell) AS CASE
        WHEN regexp_matches(cell, '[0-9]{{4}}.*[0-9](Z| ?UTC| ?[A-Z][a-z]+/[A-Z][A-Za-z_]+|[0-9])$')
            AND TRY_CAST(cell AS TIMESTAMP) BETWEEN TIMESTAMP '1000-01-01' AND TIMESTAMP '9999-01-01'
            THEN TRY_CAST(cell AS TIMESTAMP)
        WHEN regexp_matches(cell, '[0-9]{{4}}') AND try_strptime(cell, {FORMATS}) >= TIMESTAMP '1000-01-01'
            THEN try_strptime(cell, {FORMATS}) END""",
    r"""CREATE MACRO icd_version(cell) AS CASE WHEN regexp_full_match(cell, '[0-9]{1,6}([.]0*)?')
            THEN TRY_CAST(split_part(cell, '.', 1) AS INTEGER)
        ELSE TRY_CAST(regexp_extract(cell,
            '^(?:[IC](?:CD|IM)?)?[-_ .]*(?:V|REV|VERSION)?[-_ .]*0?(9|10)(?:[.]0*)?[-_ .]*(?:CM|PCS|PX|DX|PROC)?$', 1)
            AS INTEGER) END""",
)
READ_BY = {
    **dict.fromkeys(IDS, "whole({0})"),
    **dict.fromkeys(TIMES, "moment(unwrapped({0}))"),
    "version": "icd_version(upper(unwrapped({0})))",
    **{ours: f"TRY_CAST({{0}} AS {kind})" for ours, kind in TYPES.items()},
}
USUAL = {  # a test that nearly every cell of a type passes, and how it is then read
    "TIMESTAMP": ("({0} LIKE '____-__-__ __:__:__' OR {0} LIKE '____-__-__')", "TRY_CAST({0} AS TIMESTAMP)"),
    "BIGINT": ("TRY_CAST({0} AS BIGINT)::VARCHAR = {0}", "TRY_CAST({0} AS BIGINT)"),
    "INTEGER": ("TRY_CAST({0} AS INTEGER)::VARCHAR = {0}", "TRY_CAST({0} AS INTEGER)"),
    "TIME": ("{0} LIKE '__:__:__'", "TRY_CAST({0} AS TIME)"),
    "VARCHAR": (
        "{0} >= '!' AND right({0}, 1) > ' ' AND NOT contains({0}, '  ') AND NOT contains({0}, chr(9))"
        " AND strlen({0}) = length({0}) AND (strlen({0}) > 4 OR {0} < ':')",  # no longer word is one for nothing
        "{0}",
    ),
}


def create(con: Connection) -> None:
    """Create the macros that read a cell."""
    for macro in MACROS:
        con.execute(macro)


def read(columns: Mapping[str, str], source: str, also: str, careful: bool) -> str:
    """Return the SELECT that reads our columns (ours -> SQL over the source's), and `unread`: a cell was not read.

    also: SQL over the source's columns, with its name, that is selected besides.  careful: read unusual cells, too.
    """
    texts = ", ".join(f"({expression})::VARCHAR AS {ours}" for ours, expression in columns.items())
    step = f"SELECT {texts}, {also} FROM {source}"
    values = {ours: _usual(ours) for ours in columns}
    if careful:  # a step of its own: within the macros that read, it would be written out anew at each use
        step = f"SELECT * REPLACE ({', '.join(f'cleared({ours}) AS {ours}' for ours in columns)}) FROM ({step})"
        values = {ours: READ_BY.get(ours, "{0}").format(ours) for ours in columns}
    listed = ", ".join(f"{value} AS {ours}" for ours, value in values.items())
    typed = [ours for ours in columns if ours in READ_BY]
    unread = " OR ".join(f"coalesce({ours} <> '' AND {values[ours]} IS NULL, false)" for ours in typed)
    return f"SELECT {listed}, {also.split()[-1]}, {unread or 'false'} AS unread FROM ({step})"


def forms(con: Connection, columns: Mapping[str, str], source: str) -> dict[str, dict[str, int]]:
    """Count the forms of the cells that cannot be read, by the table's own name of their column; the most frequent."""
    found = {}
    for ours, expression in columns.items():
        if ours in READ_BY:
            cell = f"left(trim(({expression})::VARCHAR), 32) AS cell"
            rows = con.execute(
                f"""SELECT regexp_replace(regexp_replace(cell, '[0-9]', '9', 'g'), '\\p{{L}}', 'A', 'g') AS form,
                    count(*) FROM ({read({ours: expression}, source, cell, careful=True)}) WHERE unread
                GROUP BY form ORDER BY count(*) DESC, form LIMIT {MOST_FORMS}"""
            ).fetchall()
            if rows:
                found[expression if re.fullmatch(r"\w+", expression) else ours] = dict(rows)
    return found


def _usual(ours: str) -> str:
    """Read the usual cell; text is cleared of blanks and words for nothing at once."""
    test, value = (each.format(ours) for each in USUAL[_type(ours)])
    other = f" ELSE cleared({ours})" if _type(ours) == "VARCHAR" else ""
    return f"CASE WHEN {test} THEN {value}{other} END"


def _type(ours: str) -> str:
    if ours in IDS:
        return "BIGINT"
    return "TIMESTAMP" if ours in TIMES else TYPES.get(ours, "INTEGER" if ours in READ_BY else "VARCHAR")
