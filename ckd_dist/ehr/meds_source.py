"""An existing MEDS data set -> staged events: DIR/data/**/*.parquet and DIR/metadata/.

Codes are read as schema.py spells them; codes of other kinds (laboratory values, transfers) are counted and left.
MIMIC-IV-MEDS says a drug as MEDICATION//START//name or MEDICATION//name//Administered: a table of three aliases.

An event belongs to the visit that its hadm_id names.  Where it names none, it belongs to the visit during which it
happens: the earlier one for codes of discharge, the later one for drugs; a drug dated at midnight may precede its
admission on the same day.  Where no admission carries a hadm_id, a visit is an admission and the discharge that follows
it next, numbered over all subjects in order of subject and time.

A column `site`, `region` or `hospital` of the data says where a visit was: SITE//x, SITE//region=x, SITE//hospital=x.
"""

from pathlib import Path

import duckdb
import meds

from ckd_dist.ehr.staging import KIND, LAST, Connection, Report, counts, insert, number
from ckd_dist.progress import Track
from ckd_dist.schema import (
    ADMISSION,
    ANY_DIAGNOSIS,
    ANY_PROCEDURE,
    BIRTH,
    DEATH,
    DIAGNOSIS,
    DIED,
    DISCHARGE,
    EICU_DIAGNOSIS,
    GENDER,
    HISTORY,
    ICU_ADMISSION,
    ICU_DISCHARGE,
    MEDICATION,
    PROCEDURE,
    SITE,
    SPLITS,
    TREATMENT,
)

GIVEN = "Administered|Applied|Started|Restarted|Delayed Administered"  # event_txt of MIMIC-IV's eMAR
ALIASES = (
    (f"^{MEDICATION}START//(.+)$", rf"{MEDICATION}\1"),
    (f"^{MEDICATION}(.+)//({GIVEN})$", rf"{MEDICATION}\1"),
)
NOT_GIVEN = f"^{MEDICATION}(STOP//.*|.+//[A-Z][A-Za-z ]*)$"  # after the aliases; our own drug names are lower case

FILES = "read_parquet(getvariable('files'), union_by_name = true, filename = true, file_row_number = true)"


def _ranks(*kinds: str) -> str:
    return ", ".join(str(KIND[kind]) for kind in kinds)


SUBJECT_KINDS = _ranks(GENDER, BIRTH, DEATH)
STATIC_KINDS = _ranks(GENDER, SITE)
ICU_KINDS = _ranks(ICU_ADMISSION, ICU_DISCHARGE)
ICD_KINDS = _ranks(DIAGNOSIS, PROCEDURE)
ANY = (ANY_DIAGNOSIS, ANY_PROCEDURE)
ANY_KINDS = _ranks(*ANY)
ORDERED_KINDS = _ranks(EICU_DIAGNOSIS, DIAGNOSIS, PROCEDURE, *ANY)
EICU_KINDS = _ranks(EICU_DIAGNOSIS, TREATMENT, HISTORY)
VISIT_KINDS = f"{_ranks(ADMISSION, MEDICATION, DISCHARGE)}, {ICD_KINDS}, {ANY_KINDS}, {ICU_KINDS}, {EICU_KINDS}"

# A code of a vocabulary that we have no table of: its own letters, dots and zeros may all mean something.
CODED = "^(?:DIAGNOSIS|PROCEDURE)//[^/]+//(.+)$"
SPANS = "^PROCEDURE//(?:START|END)//"  # of MIMIC-IV's ICU: what is charted, no code

SPELLED = f"""CREATE MACRO spelled(code) AS CASE
    WHEN starts_with(code, '{DIAGNOSIS}') OR starts_with(code, '{PROCEDURE}') THEN concat_ws('//',
        split_part(code, '//', 1), 'ICD', split_part(code, '//', 3), bare(split_part(code, '//', 4)))
    WHEN starts_with(code, '{MEDICATION}') THEN '{MEDICATION}' || lower(trim(substr(code, {len(MEDICATION) + 1})))
    WHEN starts_with(code, '{EICU_DIAGNOSIS}') THEN code
    WHEN starts_with(code, '{ANY_DIAGNOSIS}') OR starts_with(code, '{ANY_PROCEDURE}') THEN concat_ws('//',
        split_part(code, '//', 1), upper(trim(split_part(code, '//', 2))), trim(regexp_extract(code, '{CODED}', 1)))
    WHEN starts_with(code, '{DISCHARGE}') AND says_died(code) THEN '{DIED}'
    ELSE code END"""

# Facts of the subject (gender, birth, death) belong to no visit, whatever the source says.
KIND_OF = (
    f"CASE WHEN regexp_matches(code, '{SPANS}') THEN NULL "
    + " ".join(
        f"WHEN starts_with(code, '{kind}')"
        + (f" AND regexp_matches(code, '{CODED}')" if kind in ANY else "")
        + f" THEN {rank}"
        for kind, rank in KIND.items()
    )
    + " END"
)
FOUND = f"""CREATE TABLE found AS
    WITH known AS (SELECT subject_id::BIGINT AS subject_id, {{time}} AS time, code, {KIND_OF} AS kind,
            {{numeric_value}}::FLOAT AS numeric_value, {{hadm_id}}::BIGINT AS hadm_id, file_row_number AS row
            {{places}}
        FROM {FILES} WHERE kind IS NOT NULL AND subject_id IS NOT NULL),
    renamed AS (SELECT * REPLACE (aliased(code) AS code) FROM known)
    SELECT * REPLACE (spelled(code) AS code, CASE WHEN kind NOT IN ({SUBJECT_KINDS}) THEN hadm_id END AS hadm_id),
        regexp_matches(code, '{NOT_GIVEN}') AS not_given FROM renamed"""

# One row a visit.  `admission_row`, `discharge_row`: only where visits are found from these events.
NAMED_VISITS = f"""SELECT subject_id, hadm_id, min(time) FILTER (kind = {KIND[ADMISSION]}) AS admitted,
        max(time) FILTER (kind = {KIND[DISCHARGE]}) AS discharged, NULL AS admission_row, NULL AS discharge_row
    FROM found WHERE hadm_id IS NOT NULL GROUP BY subject_id, hadm_id"""

FOUND_VISITS = f"""SELECT subject_id, row_number() OVER (ORDER BY subject_id, time, row) AS hadm_id, time AS admitted,
        next_time AS discharged, row AS admission_row, next_row AS discharge_row
    FROM (SELECT *, lead(kind) OVER steps AS next_kind, lead(time) OVER steps AS next_time,
            lead(row) OVER steps AS next_row
        FROM found WHERE kind IN ({KIND[ADMISSION]}, {KIND[DISCHARGE]}) AND time IS NOT NULL
        WINDOW steps AS (PARTITION BY subject_id ORDER BY time, row))
    WHERE kind = {KIND[ADMISSION]} AND next_kind = {KIND[DISCHARGE]}"""

HADM = """CREATE TABLE hadm AS
    SELECT *, row_number() OVER (PARTITION BY subject_id, whole ORDER BY admitted, hadm_id) AS visit
    FROM (SELECT *, coalesce(admitted <= discharged, false) AS whole FROM ({visits}))"""

WITHIN = f"""CASE found.kind WHEN {KIND[ADMISSION]} THEN found.row = hadm.admission_row
    WHEN {KIND[DISCHARGE]} THEN found.row = hadm.discharge_row
    ELSE found.time <= hadm.discharged AND (found.time >= hadm.admitted
        OR (found.kind = {KIND[MEDICATION]} AND found.time = date_trunc('day', hadm.admitted))) END"""

# The visit that an event without a hadm_id happens in.
PLACED = f"""CREATE TABLE placed AS SELECT found.subject_id, found.row,
        CASE WHEN any_value(found.kind) = {KIND[MEDICATION]} THEN arg_max(hadm.hadm_id, hadm.visit)
        ELSE arg_min(hadm.hadm_id, hadm.visit) END AS hadm_id
    FROM found JOIN hadm ON hadm.subject_id = found.subject_id AND hadm.whole AND ({WITHIN})
    WHERE found.hadm_id IS NULL AND found.kind IN ({VISIT_KINDS}) GROUP BY found.subject_id, found.row"""

JUDGED = f"""CREATE TABLE judged AS
    WITH here AS (SELECT found.* REPLACE (coalesce(found.hadm_id, placed.hadm_id) AS hadm_id)
        FROM found LEFT JOIN placed USING (subject_id, row))
    SELECT here.*, hadm.visit, hadm.discharged, CASE
        WHEN time IS NULL AND kind NOT IN ({STATIC_KINDS}) THEN 'no time'
        WHEN not_given THEN 'drug event that is no start'
        WHEN kind IN ({ICD_KINDS}) AND split_part(code, '//', 3) NOT IN ('9', '10')
            THEN 'icd_version is neither 9 nor 10'
        WHEN here.hadm_id IS NULL AND kind IN ({VISIT_KINDS}) THEN 'in no visit'
        WHEN NOT hadm.whole THEN 'visit without an admission and a discharge in order'
        END AS reason
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

# Columns that say where a visit was, and how its SITE code begins.  A visit has each of them once.
PLACES = {"site": SITE, "region": f"{SITE}region=", "hospital": f"{SITE}hospital="}
PLACE = """CREATE TABLE place_{column} AS SELECT subject_id, hadm_id, min(visit) AS visit, min({column}) AS place,
        count(DISTINCT {column}) AS num FROM judged
    WHERE reason IS NULL AND hadm_id IS NOT NULL AND {column} <> '' GROUP BY subject_id, hadm_id"""
SITES = f"""SELECT subject_id, NULL, '{{prefix}}' || place AS said, NULL, hadm_id, visit, {KIND[SITE]}, 0
    FROM place_{{column}} AS here WHERE num = 1 AND NOT EXISTS (FROM events WHERE events.subject_id = here.subject_id
        AND events.hadm_id = here.hadm_id AND events.code = '{{prefix}}' || place)"""

TORN = f"""SELECT count(*) FROM (SELECT subject_id FROM {FILES} WHERE subject_id IS NOT NULL
    GROUP BY subject_id HAVING count(DISTINCT filename) > 1)"""

LATE_DRUGS = f"SELECT count(*) FROM judged WHERE reason IS NULL AND kind = {KIND[MEDICATION]} AND time > discharged"


def stage_meds(con: Connection, folder: Path, report: Report, track: Track) -> None:
    """Stage the events of a MEDS data set, its titles, and its own splits where it names MEDS splits (`given_splits`).

    Raises ValueError where there is no data, a column is missing, or a subject is in two files or in two splits.
    """
    files = sorted((folder / meds.data_subdirectory).rglob("*.parquet"))
    if not files:
        raise ValueError(f"{folder} holds no data/**/*.parquet: give the folder above data/ of a MEDS data set")
    try:
        _load(con, folder, files)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:  # its message may quote a value
        kind = type(error).__name__
        raise ValueError(
            f"{folder}/data cannot be read as MEDS ({kind}): is every file whole and of its types?"
        ) from None
    track(1, 3)
    report["tables"]["data"] = _stage(con, f"{len(files)} parquet files")
    report["notes"] = {
        "drugs that start after discharge": number(con, LATE_DRUGS),
        "deaths that a discharge alone says": insert(con, DEATHS),
    } | _stage_places(con)
    track(2, 3)
    _load_splits(con, folder / meds.subject_splits_filepath, report)
    _load_titles(con, folder / meds.code_metadata_filepath)
    track(3, 3)


def _load(con: Connection, folder: Path, files: list[Path]) -> None:
    """Make table `found`: every event of a kind that we know, spelled as we do."""
    con.execute("SET VARIABLE files = ?", [[str(file) for file in files]])
    con.execute(f"CREATE MACRO aliased(code) AS {_aliased()}")
    con.execute(SPELLED)
    columns = {row[0]: row[1] for row in con.execute(f"DESCRIBE SELECT * FROM {FILES}").fetchall()}
    if missing := [column for column in ("subject_id", "time", "code") if column not in columns]:
        raise ValueError(f"{folder}/data: column {', '.join(missing)} is missing, which every MEDS data set has")
    if num_torn := number(con, TORN):
        raise ValueError(f"{folder}/data: {num_torn} subjects are in two files or more; MEDS keeps a subject in one")
    optional = {name: name if name in columns else "NULL" for name in ("numeric_value", "hadm_id")}
    places = "".join(f", trim({name}::VARCHAR) AS {name}" for name in PLACES if name in columns)
    con.execute(FOUND.format(**optional, time=_clock_time(columns["time"]), places=places))


def _clock_time(kind: str) -> str:
    """SQL of an event's clock time: an instant's in UTC, as `meds` has it; a text's as it stands, as in CSV tables."""
    is_instant = kind.startswith("TIMESTAMPTZ") or kind.endswith("WITH TIME ZONE")
    return "time::TIMESTAMPTZ::TIMESTAMP" if is_instant else "time::TIMESTAMP"  # DuckDB casts no ns instant at once


def _aliased() -> str:
    """SQL that applies the aliases, one within the other."""
    expression = "code"
    for pattern, ours in ALIASES:
        expression = f"regexp_replace({expression}, '{pattern}', '{ours}')"
    return expression


def _stage(con: Connection, file: str) -> Report:
    """Give every found event its visit, judge it, and stage what is kept; return what became of the rows."""
    num_rows = number(con, f"SELECT count(*) FROM {FILES}")
    num_nameless = number(con, f"SELECT count(*) FROM {FILES} WHERE subject_id IS NULL OR code IS NULL")
    num_found = number(con, "SELECT count(*) FROM found")
    num_named = number(con, f"SELECT count(hadm_id) FROM found WHERE kind = {KIND[ADMISSION]}")
    if not num_named:
        con.execute("UPDATE found SET hadm_id = NULL")
    con.execute(HADM.format(visits=NAMED_VISITS if num_named else FOUND_VISITS))
    con.execute(PLACED)
    con.execute(JUDGED)
    table = counts(file, num_rows)
    reasons = dict(con.execute("SELECT reason, count(*) FROM judged GROUP BY reason ORDER BY reason").fetchall())
    num_kept = reasons.pop(None, 0)
    table["kept"] = insert(con, FIRST)
    table["merged"] = num_kept - table["kept"]
    lost = {"no subject_id or code": num_nameless, "code of another kind": num_rows - num_nameless - num_found}
    table["skipped"] = {reason: number for reason, number in (lost | reasons).items() if number}
    return table


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


def _load_splits(con: Connection, path: Path, report: Report) -> None:
    """Make table `given_splits` where the source splits its subjects as MEDS names it."""
    if not path.is_file():
        return
    con.execute(
        "CREATE TABLE named AS SELECT DISTINCT subject_id::BIGINT AS subject_id, split FROM read_parquet(?)",
        [str(path)],
    )
    if num_twice := number(con, "SELECT count(*) - count(DISTINCT subject_id) FROM named"):
        raise ValueError(f"{path}: {num_twice} subjects are in two splits; name one split a subject")
    names = {name for (name,) in con.execute("SELECT DISTINCT split FROM named").fetchall()}
    if not names <= set(SPLITS):
        report["notes"]["splits of other names than MEDS', not used"] = len(names - set(SPLITS))
    elif num_missing := number(con, "SELECT count(DISTINCT subject_id) FROM events ANTI JOIN named USING (subject_id)"):
        raise ValueError(f"{path}: {num_missing} subjects of the data have no split; complete the file, or remove it")
    else:
        con.execute("CREATE TABLE given_splits AS FROM named")


def _load_titles(con: Connection, path: Path) -> None:
    """Take over the source's descriptions."""
    if path.is_file():
        con.execute(
            "INSERT INTO titles SELECT spelled(aliased(code)), min(description::VARCHAR) FROM read_parquet(?)"
            " WHERE code IS NOT NULL AND description IS NOT NULL GROUP BY ALL",
            [str(path)],
        )
