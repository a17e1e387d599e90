"""An existing MEDS data set -> staged events: DIR/data/**/*.parquet and DIR/metadata/.

Every different code is read once (meds_codes.py, drugs in meds_drugs.py); codes of other kinds, laboratory values and
transfers, are counted by prefix and left.  Columns may have other types than MEDS' (meds_columns.py).  Which visit an
event belongs to is found in meds_visits.py, splits and descriptions in meds_metadata.py.  MEDS has no SEQ_NUM:
diagnoses and procedures of one time keep the order of the file.

A column `site`, `region` or `hospital` of the data says where a visit was: SITE//x, SITE//region=x, SITE//hospital=x.
"""

from collections import Counter
from pathlib import Path

import duckdb
import meds
import pyarrow as pa

from ckd_dist.account import counted
from ckd_dist.ehr import meds_visits
from ckd_dist.ehr.cells import BLANKS
from ckd_dist.ehr.codemap import CodeMap
from ckd_dist.ehr.events import UNREAD_VISITS
from ckd_dist.ehr.meds_codes import NO_PREFIX, is_prefix, prefix_of, read_code
from ckd_dist.ehr.meds_columns import (
    ASKED,
    FILE,
    FLOAT,
    IDS_OF_VISITS,
    Columns,
    blamed,
    check_rounded,
    columns_of,
    count_bad,
    find_files,
    literal,
    with_bounds,
)
from ckd_dist.ehr.meds_metadata import load_splits, load_titles
from ckd_dist.ehr.meds_spelling import respell
from ckd_dist.ehr.meds_visits import CODED, ENDED, FILLED, VISIT_KINDS, ranks
from ckd_dist.ehr.staging import KIND, LAST, Connection, Report, counts, insert, number
from ckd_dist.progress import Track
from ckd_dist.schema import (
    ADMISSION,
    ANY_DIAGNOSIS,
    BIRTH,
    DEATH,
    DIAGNOSIS,
    DIED,
    DISCHARGE,
    EICU_DIAGNOSIS,
    FEWEST_SUBJECTS,
    GENDER,
    ICU_ADMISSION,
    ICU_DISCHARGE,
    MEDICATION,
    PROCEDURE,
    SITE,
)

FILES = f"read_parquet(getvariable('files'), union_by_name = true, filename = '{FILE}', file_row_number = true)"
CODES_AT_ONCE = 1 << 16
ENDS_OF_VISITS = ("end", "visit_end_datetime")
PREFIXES = 8  # that a sentence names

SUBJECT_KINDS = ranks(GENDER, BIRTH, DEATH)  # facts of the subject belong to no visit, whatever the source says
STATIC_KINDS = ranks(GENDER, SITE)
ICU_KINDS = ranks(ICU_ADMISSION, ICU_DISCHARGE)
ICD_KINDS = ranks(DIAGNOSIS, PROCEDURE)
ORDERED_KINDS = ranks(*CODED)

SAID = f"CREATE TABLE said AS SELECT code::VARCHAR AS said, count(*) AS num FROM {FILES} GROUP BY 1"
READINGS = """CREATE TABLE readings (said VARCHAR, prefix VARCHAR, rest VARCHAR, kind TINYINT, reason VARCHAR,
    ours VARCHAR)"""
SPELLED = f"""UPDATE readings SET ours = prefix || CASE
    WHEN kind IN ({ICD_KINDS}) THEN split_part(rest, '//', 1) || '//' || bare(split_part(rest, '//', 2))
    WHEN kind = {KIND[MEDICATION]} THEN trim(regexp_replace(rest, '{BLANKS}', ' ', 'g'))
    WHEN kind = {KIND[DISCHARGE]} AND says_died(rest) THEN '{DIED.removeprefix(DISCHARGE)}' ELSE rest END"""

FOUND = f"""CREATE TABLE found AS SELECT {{subject_id}} AS subject_id, {{time}} AS time, readings.ours AS code,
        readings.kind AS kind, readings.reason AS reason, {{numeric_value}} AS numeric_value,
        CASE WHEN readings.kind NOT IN ({SUBJECT_KINDS}) THEN {{hadm_id}} END AS hadm_id, file_row_number AS row,
        CASE WHEN readings.kind = {KIND[ADMISSION]} THEN {{ended}} END AS ended {{places}}
    FROM {FILES} AS cells JOIN readings ON readings.said = cells.code::VARCHAR {{named}}
    WHERE ({{subject_id}}) IS NOT NULL"""
NAMELESS = f"SELECT count(*) FROM {FILES} WHERE ({{subject_id}}) IS NULL OR code IS NULL"

# The commonest form of the times that cannot be read: nothing of a record.
FORM = f"""SELECT regexp_replace(regexp_replace(left(trim(time::VARCHAR), 30), '[0-9]', '9', 'g'), '\\pL', 'A', 'g')
    FROM {FILES} WHERE {{given}} AND ({{time}}) IS NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"""

# Visits whose ids are no numbers, in the order of their names.
VISIT_NAMES = f"""CREATE TABLE visit_names AS SELECT name, row_number() OVER (ORDER BY name) AS id
    FROM (SELECT DISTINCT {{name}} AS name FROM {FILES} WHERE {{given}})"""

JUDGED = f"""CREATE TABLE judged AS
    WITH here AS (SELECT found.* REPLACE (coalesce(found.hadm_id, placed.hadm_id) AS hadm_id)
        FROM found LEFT JOIN placed USING (subject_id, row))
    SELECT here.* REPLACE (CASE
        WHEN time IS NULL AND kind NOT IN ({STATIC_KINDS}) THEN 'no time'
        WHEN reason IS NOT NULL THEN reason
        WHEN here.hadm_id IS NULL AND kind IN ({VISIT_KINDS}) THEN 'in no visit'
        WHEN NOT hadm.whole THEN 'visit without an admission and a discharge in order'
        END AS reason), hadm.visit, hadm.discharged
    FROM here LEFT JOIN hadm ON hadm.subject_id = here.subject_id AND hadm.hadm_id = here.hadm_id"""

# A code counts once a visit, at its first time (a discharge at its last), but a visit may enter a unit twice; diagnoses
# and procedures of one time keep the order of the source.
FIRST = f"""SELECT subject_id, time, code, numeric_value, hadm_id,
        CASE kind WHEN {KIND[DEATH]} THEN {LAST} ELSE coalesce(visit, 0) END, kind,
        CASE WHEN kind IN ({ORDERED_KINDS}) THEN row ELSE 0 END
    FROM (SELECT * FROM judged WHERE reason IS NULL
        QUALIFY row_number() OVER (PARTITION BY subject_id, hadm_id, code,
            CASE WHEN kind IN ({ICU_KINDS}) THEN row END
            ORDER BY CASE kind WHEN {KIND[DISCHARGE]} THEN -epoch_us(time) ELSE epoch_us(time) END, row) = 1)"""

# Who died in hospital has died, also where that discharge is in no whole visit.
DEATHS = f"""SELECT subject_id, min(time), '{DEATH}', NULL, NULL, {LAST}, {KIND[DEATH]}, 0 FROM found
    ANTI JOIN (SELECT subject_id FROM events WHERE kind = {KIND[DEATH]}) AS dated USING (subject_id)
    WHERE code = '{DIED}' AND time IS NOT NULL GROUP BY subject_id"""

SEVERAL = """SELECT count(*) FROM (SELECT 1 FROM judged WHERE reason IS NULL AND kind = {kind}
    GROUP BY subject_id HAVING count(DISTINCT time::DATE) > 1)"""

UNREAD = f"""INSERT INTO unread_visits SELECT subject_id, time FROM judged
    WHERE kind = {KIND[ADMISSION]} AND reason IS NOT NULL AND time IS NOT NULL"""

# Columns that say where a visit was, and how its SITE code begins.  A visit has each of them once.
PLACES = {"site": SITE, "region": f"{SITE}region=", "hospital": f"{SITE}hospital="}
PLACE = """CREATE TABLE place_{column} AS SELECT subject_id, hadm_id, min(visit) AS visit, min({column}) AS place,
        count(DISTINCT {column}) AS num FROM judged
    WHERE reason IS NULL AND hadm_id IS NOT NULL AND {column} <> '' GROUP BY subject_id, hadm_id"""
SITES = f"""SELECT subject_id, NULL, '{{prefix}}' || place AS said, NULL, hadm_id, visit, {KIND[SITE]}, 0
    FROM place_{{column}} AS here WHERE num = 1 AND NOT EXISTS (FROM events WHERE events.subject_id = here.subject_id
        AND events.hadm_id = here.hadm_id AND events.code = '{{prefix}}' || place)"""

TORN = f"""SELECT count(*) FROM (SELECT subject_id FROM {FILES} WHERE subject_id IS NOT NULL
    GROUP BY subject_id HAVING count(DISTINCT {FILE}) > 1)"""

LATE_DRUGS = f"SELECT count(*) FROM judged WHERE reason IS NULL AND kind = {KIND[MEDICATION]} AND time > discharged"


# Codes that share their event with another: "428.0, I50.9" are two of one row.
SHARED = f"""SELECT code::VARCHAR AS said FROM {FILES} AS cells ANTI JOIN readings ON said = code::VARCHAR
    WHERE code IS NOT NULL GROUP BY said HAVING count(DISTINCT {{subject_id}}) >= {FEWEST_SUBJECTS}
    ORDER BY count(*) DESC, said LIMIT {PREFIXES}"""

BESIDE = """SELECT CASE WHEN (SELECT count(*) > count(DISTINCT said) FROM readings) THEN
    (SELECT count(*) - count(DISTINCT (subject_id, row)) FROM found) ELSE 0 END"""

# What an extraction cannot do without: how it is called, its kinds, how it is written.
NEEDED = (
    ("admission", ranks(ADMISSION), f"{ADMISSION}..., {DISCHARGE}..."),
    (
        "diagnosis",
        ranks(DIAGNOSIS, ANY_DIAGNOSIS, EICU_DIAGNOSIS),
        "DIAGNOSIS//ICD//9|10//..., DIAGNOSIS//SNOMED//..., ICD10CM/...",
    ),
)

REASONS = "SELECT reason, count(*) FROM judged WHERE kind IN ({kinds}) GROUP BY reason ORDER BY count(*) DESC, reason"


def stage_meds(con: Connection, folder: Path, report: Report, track: Track, code_map: CodeMap) -> None:
    """Stage the events of a MEDS data set, its titles, and its own splits where it names MEDS splits (`given_splits`).

    Raises ValueError where there is no data, a file is damaged, a column is missing or holds something else, a subject
    is in two files or in two splits, or no admission or no diagnosis is understood.
    """
    files, num_hidden = find_files(folder)
    place = folder / meds.data_subdirectory
    report["notes"] = {}
    report["remarks"] = [f"{num_hidden} hidden files passed over"] if num_hidden else []
    con.execute("SET VARIABLE files = ?", [[literal(file) for file in files]])
    try:
        columns = with_bounds(columns_of(con, FILES, place, ASKED), files)
        _check_subjects(con, columns)
        columns.check_codes("code")
        others = _read_codes(con, code_map)
        restored = respell(con, place)
        con.execute(SPELLED)
        _find(con, columns, report)
        num_nameless = number(con, NAMELESS.format(subject_id=columns.id_of("subject_id")))
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:  # its message may quote a value
        raise blamed(con, files, place, error) from None
    track(1, 3)
    table = report["tables"]["data"] = _stage(con, "data", num_nameless, report)
    if restored:
        table["restored"] = restored
    _refuse_nothing(con, columns, table["rows"], others)
    if others:
        report["other_codes"] = dict(others.most_common())
        report["remarks"].append(f"codes that are not read: {_by_prefix(others)}")
    for what, kind in (("born", BIRTH), ("dead", DEATH)):
        if num_several := number(con, SEVERAL.format(kind=KIND[kind])):
            report["remarks"].append(f"{num_several:,} subjects are {what} on several days: the first counts")
    con.execute(UNREAD)
    if (unread := folder / UNREAD_VISITS).is_file():  # our own data set says what its source had
        con.execute("INSERT INTO unread_visits SELECT subject_id, admitted FROM read_parquet(?)", [literal(unread)])
    report["notes"] |= {
        "drugs that start after discharge": number(con, LATE_DRUGS),
        "deaths that a discharge alone says": insert(con, DEATHS),
    } | _stage_places(con)
    track(2, 3)
    load_splits(con, folder / meds.subject_splits_filepath, report)
    load_titles(con, folder / meds.code_metadata_filepath)
    track(3, 3)


def _check_subjects(con: Connection, columns: Columns) -> None:
    """Raise ValueError where a subject's id is no number, or a subject is in two files."""
    check_rounded(con, FILES, columns, "subject_id")
    if num_bad := count_bad(con, FILES, columns.is_given("subject_id"), columns.id_of("subject_id")):
        kind = columns.types["subject_id"]
        why = f", or too large for a {kind} to be exact" if FLOAT.fullmatch(kind) else ""
        raise ValueError(
            f"{columns.place}: {num_bad:,} cells of column subject_id are no whole numbers{why}; MEDS has no other ids:"
            " number the subjects"
        )
    if num_torn := number(con, TORN):
        raise ValueError(f"{columns.place}: {num_torn} subjects are in two files or more; MEDS keeps a subject in one")


def _read_codes(con: Connection, code_map: CodeMap) -> Counter[str]:
    """Make table `readings`: what every different code says.  Return the events of other codes, by prefix."""
    con.execute(SAID)
    con.execute(READINGS)
    others: Counter[str] = Counter()
    num_codes: Counter[str] = Counter()
    codes = con.cursor().execute("SELECT said, num FROM said WHERE said IS NOT NULL ORDER BY said")
    while rows := codes.fetchmany(CODES_AT_ONCE):
        read = []
        for said, num in rows:
            readings = read_code(code_map.ours(said))
            read += [(said, known.kind, known.rest, KIND[known.kind], known.reason) for known in readings]
            if not readings:
                others[prefix_of(said)] += num
                num_codes[prefix_of(said)] += 1
        names = ("said", "prefix", "rest", "kind", "reason")
        types = (pa.string(), pa.string(), pa.string(), pa.int8(), pa.string())
        cells = [pa.array([row[k] for row in read], dtype) for k, dtype in enumerate(types)]
        con.register("read", pa.table(dict(zip(names, cells, strict=True))))
        con.execute("INSERT INTO readings SELECT *, NULL FROM read")
        con.unregister("read")
    for prefix, num in num_codes.items():
        if prefix != NO_PREFIX and not is_prefix(prefix, num):
            others[NO_PREFIX] += others.pop(prefix)
    return others


def _find(con: Connection, columns: Columns, report: Report) -> None:
    """Make table `found`: every event of a kind that we know, spelled as we do."""
    hadm_id, named = "NULL::BIGINT", ""
    if column := columns.first_of(IDS_OF_VISITS):
        check_rounded(con, FILES, columns, column)
        hadm_id = columns.id_of(column)
        if count_bad(con, FILES, columns.is_given(column), hadm_id):
            hadm_id, named = _name_visits(con, columns, column, report)
    ends = [columns.time_of(name) for name in ENDS_OF_VISITS if columns.has(name)]  # shards may have either
    ended = f"coalesce({', '.join(ends)})" if ends else "NULL::TIMESTAMP"
    time = columns.time_of("time")
    _check_times(con, columns, time, report)
    places = "".join(f", trim({name}::VARCHAR) AS {name}" for name in PLACES if columns.has(name))
    subject_id, value = columns.id_of("subject_id"), columns.number_of("numeric_value")
    cells = {"subject_id": subject_id, "time": time, "numeric_value": value, "hadm_id": hadm_id, "ended": ended}
    con.execute(FOUND.format(**cells, named=named, places=places))
    if num_filled := number(con, FILLED):
        said = f"{num_filled:,} events have a {column} that fills empty cells (0, -1, 9999): placed by their times"
        report["remarks"].append(said)
    if num_ended := number(con, ENDED):
        report["notes"]["discharges that a column of admissions says"] = num_ended


def _check_times(con: Connection, columns: Columns, time: str, report: Report) -> None:
    """Count the times that cannot be read.  Raise ValueError where they are more than half: then it is their form."""
    given = columns.is_given("time")
    if not (num_bad := count_bad(con, FILES, given, time)):
        return
    form = con.execute(FORM.format(given=given, time=time)).fetchall()[0][0]
    said = f"{num_bad:,} cells of column time cannot be read, such as {form} (A a letter, 9 a digit)"
    if 2 * num_bad > number(con, f"SELECT count(*) FROM {FILES} WHERE {given}"):
        raise ValueError(f"{columns.place}: {said}: write YYYY-MM-DD HH:MM:SS, or timestamps")
    report["notes"]["times that cannot be read"] = num_bad
    report["remarks"].append(said)


def _name_visits(con: Connection, columns: Columns, name: str, report: Report) -> tuple[str, str]:
    """Number the visits whose ids are names; return SQL of a visit's number, and the join that it needs."""
    if columns.types[name] != "VARCHAR":
        raise ValueError(
            f"{columns.place}: column {name} holds numbers that are not whole, or too large for a"
            f" {columns.types[name]} to be exact: write visits' ids as whole numbers or as text"
        )
    given = columns.is_given(name)
    said = f"coalesce(({columns.id_of(name)})::VARCHAR, trim({name}::VARCHAR))"  # 11 and 11.0 are one, V12 another
    con.execute(VISIT_NAMES.format(given=given, name=said))
    report["remarks"].append("ids of visits are no numbers: visits are numbered in the order of their ids")
    return "visit_names.id", f"LEFT JOIN visit_names ON {given} AND visit_names.name = {said}"


def _stage(con: Connection, file: str, num_nameless: int, report: Report) -> Report:
    """Give every found event its visit, judge it, and stage what is kept; return what became of the rows."""
    num_rows = number(con, "SELECT coalesce(sum(num), 0)::BIGINT FROM said")
    num_found = number(con, "SELECT count(*) FROM found WHERE row >= 0")  # a discharge of a column is no row
    if num_beside := number(con, BESIDE):
        report["notes"]["diagnosis codes beside others in one event"] = num_beside
    meds_visits.place(con)
    con.execute(JUDGED)
    table = counts(file, num_rows)
    reasons = dict(con.execute("SELECT reason, count(*) FROM judged GROUP BY reason ORDER BY reason").fetchall())
    num_kept = reasons.pop(None, 0)
    table["kept"] = insert(con, FIRST)
    table["merged"] = num_kept - table["kept"]
    num_other = num_rows - num_nameless - num_found + num_beside
    lost = {"no subject_id or code": num_nameless, "code of another kind": num_other}
    table["skipped"] = {reason: number for reason, number in (lost | reasons).items() if number}
    return table


def _refuse_nothing(con: Connection, columns: Columns, num_rows: int, others: Counter[str]) -> None:
    """Raise ValueError where no admission was understood, or no diagnosis though there are codes that were not, or
    none of them can be used."""
    found = {name: number(con, f"SELECT count(*) FROM found WHERE kind IN ({kinds})") for name, kinds, _ in NEEDED}
    missing, place = [f"no {name}" for name, num in found.items() if not num], columns.place
    if not found["admission"] or (missing and others):
        read = " and ".join(written for name, _, written in NEEDED if not found[name])
        raise ValueError(
            f"{place}: of {num_rows:,} events {' and '.join(missing)} was understood: {read} are read; found:"
            f" {_by_prefix(others) or 'nothing else'}{_shared(con, columns)}; write them so, or map the site's codes"
            " to event codes: extract.code_map"
        )
    for name, kinds, _ in NEEDED:
        reasons = dict(con.execute(REASONS.format(kinds=kinds)).fetchall())
        if reasons and None not in reasons:
            why = counted(reasons)
            raise ValueError(f"{place}: none of {found[name]:,} events of kind {name} can be used: {why}")


def _shared(con: Connection, columns: Columns) -> str:
    """Name the most frequent codes that are not read, of those that too many subjects have to tell of one."""
    rows = con.execute(SHARED.format(subject_id=columns.id_of("subject_id"))).fetchall()
    return f"; among them {', '.join(code for (code,) in rows)}" if rows else ""


def _by_prefix(others: Counter[str]) -> str:
    most = others.most_common(PREFIXES)
    rest = others.total() - sum(num for _, num in most)
    return ", ".join([f"{prefix} {num:,}" for prefix, num in most] + ([f"others {rest:,}"] if rest else []))


def _stage_places(con: Connection) -> dict[str, int]:
    """Stage what the columns of places say of visits; count the visits that a column says two things of, and left."""
    notes = {}
    columns = {name for (name,) in con.execute("SELECT column_name FROM (DESCRIBE judged)").fetchall()}
    for column in [name for name in PLACES if name in columns]:
        con.execute(PLACE.format(column=column))
        notes[f"visits of several values of {column}, left without"] = number(
            con, f"SELECT count(*) FROM place_{column} WHERE num > 1"
        )
        insert(con, SITES.format(column=column, prefix=PLACES[column]))
    return notes
