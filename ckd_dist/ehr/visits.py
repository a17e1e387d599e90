"""Typed tables -> staged events: which row is kept, which is merged into another, which is skipped and why.

Diagnoses and procedures are dated at discharge, when their codes are assigned; a drug at its first start in the visit.
A visit counts when its subject is known and it has both of its times in order; nothing is guessed in place of a time.
It ends in death where the flag, a time of death or the place of discharge says so: each of them is missing at times.
"""

from pathlib import Path

import pyarrow as pa

from ckd_dist.ehr import tables
from ckd_dist.ehr.enough import check_join, count_alone
from ckd_dist.ehr.mimic import Site
from ckd_dist.ehr.spelling import read_spelling
from ckd_dist.ehr.staging import KIND, LAST, Connection, Report, insert, number
from ckd_dist.progress import Track
from ckd_dist.schema import ADMISSION, BIRTH, DEATH, DIAGNOSIS, DIED, DISCHARGE, GENDER, MEDICATION, PROCEDURE, SITE

# A judge adds `reason` to every row of `raw`: null where the row is kept.

PATIENTS = """SELECT *, CASE
    WHEN subject_id IS NULL THEN 'no readable subject_id'
    WHEN row_number() OVER (PARTITION BY subject_id ORDER BY birth, gender, dod) > 1 THEN 'subject_id repeated'
    END AS reason FROM raw"""

SAYS_YES = "coalesce(lower(expired) IN ('1', '1.0', 'y', 'yes', 't', 'true'), false)"
SAYS_NO = "lower(expired) IN ('0', '0.0', 'n', 'no', 'f', 'false')"

VISITS = f"""SELECT raw.*, {SAYS_YES} OR says_died(expired) OR died_at IS NOT NULL OR says_died(discharge_location)
        AS died, CASE
    WHEN raw.subject_id IS NULL OR hadm_id IS NULL THEN 'no readable subject_id or hadm_id'
    WHEN row_number() OVER (PARTITION BY hadm_id ORDER BY (admitted <= discharged) DESC NULLS LAST,
        admitted, discharged, raw.subject_id, died_at, expired, admission_type, discharge_location) > 1
        THEN 'hadm_id repeated'
    WHEN patients.subject_id IS NULL THEN 'subject_id not in PATIENTS'
    WHEN admitted IS NULL OR discharged IS NULL THEN 'no readable time of admission or discharge'
    WHEN discharged < admitted THEN 'discharge before admission'
    END AS reason FROM raw LEFT JOIN patients ON patients.subject_id = raw.subject_id AND patients.reason IS NULL"""

TITLES = "SELECT *, CASE WHEN code IS NULL OR title IS NULL THEN 'no code or title' END AS reason FROM raw"


def _of_visit(own: str) -> str:
    """The judge of a table whose rows belong to visits; `own` are its WHENs."""
    return f"""SELECT raw.*, CASE
        WHEN raw.hadm_id IS NULL THEN 'no readable hadm_id'
        WHEN hadm.hadm_id IS NULL THEN 'hadm_id not in ADMISSIONS'
        WHEN raw.subject_id IS DISTINCT FROM hadm.subject_id THEN 'hadm_id of another subject'
        WHEN hadm.reason IS NOT NULL THEN 'hadm_id of a skipped visit'
        {own} END AS reason, hadm.discharged, hadm.visit FROM raw LEFT JOIN hadm ON hadm.hadm_id = raw.hadm_id"""


CODED = _of_visit("""WHEN code IS NULL THEN 'no code'
    WHEN version IS NULL OR version NOT IN (9, 10) THEN 'icd_version is neither 9 nor 10'""")

NO_DRUG = "'0', '0.0', '-', '.', '?', 'unk', 'unknown'"  # what a drug's cell says where there is none

JUDGES = {
    "patients": PATIENTS,
    "visits": VISITS,
    "diagnoses": CODED,
    "procedures": CODED,
    "medications": _of_visit(
        f"WHEN drug IS NULL OR lower(drug) IN ({NO_DRUG}) THEN 'no drug' WHEN started IS NULL THEN 'no readable start'"
    ),
    "stays": _of_visit("WHEN site IS NULL THEN 'no site'"),
    "diagnosis_titles": TITLES,
    "procedure_titles": TITLES,
}


def _coded(table: str, prefix: str) -> str:
    """A code counts once a visit, at its first SEQ_NUM."""
    return f"""SELECT subject_id, min(discharged), '{prefix}' || version || '//' || bare(code), NULL, hadm_id,
        min(visit), {KIND[prefix]}, min(coalesce(seq, {LAST})) FROM {table} WHERE reason IS NULL
        GROUP BY subject_id, hadm_id, version, bare(code)"""


# Inserted when the table has been judged.  Death comes last, from patients and visits.
EVENTS_OF = {
    "visits": f"""SELECT subject_id, admitted, '{ADMISSION}' || coalesce(admission_type, 'UNKNOWN'), NULL, hadm_id,
            visit, {KIND[ADMISSION]}, 0 FROM hadm WHERE reason IS NULL
        UNION ALL SELECT subject_id, discharged, CASE WHEN died THEN '{DIED}'
            ELSE '{DISCHARGE}' || coalesce(discharge_location, 'UNKNOWN') END, NULL, hadm_id, visit,
            {KIND[DISCHARGE]}, 0 FROM hadm WHERE reason IS NULL""",
    "diagnoses": _coded("diagnoses", DIAGNOSIS),
    "procedures": _coded("procedures", PROCEDURE),
    "medications": f"""SELECT subject_id, min(started), '{MEDICATION}' || lower(drug), NULL, hadm_id, min(visit),
        {KIND[MEDICATION]}, 0 FROM medications WHERE reason IS NULL GROUP BY subject_id, hadm_id, lower(drug)""",
    "stays": f"""SELECT subject_id, NULL, '{SITE}' || CASE count(DISTINCT lower(site)) WHEN 1 THEN min(lower(site))
        ELSE 'both' END, NULL, hadm_id, min(visit), {KIND[SITE]}, 0
        FROM stays WHERE reason IS NULL GROUP BY subject_id, hadm_id""",
    "patients": f"""SELECT subject_id, NULL, '{GENDER}' || sex(gender), NULL, NULL, 0, {KIND[GENDER]}, 0
            FROM patients WHERE reason IS NULL AND gender IS NOT NULL
        UNION ALL SELECT subject_id, birth, '{BIRTH}', NULL, NULL, 0, {KIND[BIRTH]}, 0
            FROM patients WHERE reason IS NULL AND birth IS NOT NULL""",
}

DIED_AT = "coalesce(min(died_at), min(patients.dod), min(visits.discharged) FILTER (died))"
DEATHS = f"""SELECT subject_id, {DIED_AT}, '{DEATH}', NULL, NULL, {LAST}, {KIND[DEATH]}, 0
    FROM patients LEFT JOIN visits USING (subject_id) WHERE patients.reason IS NULL
    GROUP BY subject_id HAVING {DIED_AT} IS NOT NULL"""

TITLES_OF = {"diagnosis_titles": DIAGNOSIS, "procedure_titles": PROCEDURE}
PREFIX_OF = {"diagnoses": DIAGNOSIS, "procedures": PROCEDURE} | TITLES_OF

# One row a hadm_id, skipped visits too, so that their rows differ from rows of no visit.
HADM = """CREATE TABLE hadm AS SELECT subject_id, hadm_id, admitted, discharged, admission_type, discharge_location,
    reason, died,
    row_number() OVER (PARTITION BY subject_id, reason IS NULL ORDER BY admitted, hadm_id) AS visit
    FROM visits WHERE hadm_id IS NOT NULL AND reason IS DISTINCT FROM 'hadm_id repeated'"""

UNREAD = """INSERT INTO unread_visits SELECT subject_id, coalesce(admitted, discharged) AS began FROM visits
    SEMI JOIN patients USING (subject_id) WHERE reason IS NOT NULL AND began IS NOT NULL"""

ODD_FLAGS = f"""SELECT count(*) FROM visits
    WHERE reason IS NULL AND expired IS NOT NULL AND NOT {SAYS_NO} AND NOT died"""

OF_VISITS = (
    "SELECT count(*) FROM hadm WHERE reason IS NULL",
    "SELECT count(DISTINCT hadm_id) FROM {name} WHERE reason IS NULL",
)
MET = {  # table -> how many could have a row of it, and how many have
    "visits": (
        "SELECT count(*) FROM patients WHERE reason IS NULL",
        "SELECT count(DISTINCT subject_id) FROM visits WHERE reason IS NULL",
    ),
    **dict.fromkeys(("diagnoses", "procedures", "medications", "stays"), OF_VISITS),
}

NOTES = {
    "subjects without a readable birth": "SELECT count(*) FROM patients WHERE reason IS NULL AND birth IS NULL",
    "subjects without a gender": "SELECT count(*) FROM patients WHERE reason IS NULL AND gender IS NULL",
    "drugs that start after discharge": f"""SELECT count(*) FROM events JOIN hadm USING (hadm_id)
        WHERE kind = {KIND[MEDICATION]} AND time > discharged""",
}


def stage_tables(con: Connection, folder: Path, site: Site, report: Report, track: Track) -> None:
    """Load every table that the folder has, judge its rows, and stage the events of those that are kept."""
    found = tables.find_tables(folder, site)
    report["missing_tables"] = [site[name].file for name in site if name not in found]
    done, total = 0, sum(path.stat().st_size for path in found.values())
    for name, path in found.items():
        report["tables"][site[name].file] = _stage_table(con, name, site, path)
        done += path.stat().st_size
        track(done, total)
    insert(con, DEATHS)
    report["notes"] = {note: number(con, query) for note, query in NOTES.items()}
    if num_odd := number(con, ODD_FLAGS):
        odd = f"{num_odd:,} visits have a hospital_expire_flag of neither yes nor no, and are taken as survived"
        report.setdefault("remarks", []).append(odd)


def _stage_table(con: Connection, name: str, site: Site, path: Path) -> Report:
    """Stage one table and count what became of its rows."""
    table = tables.load(con, name, site[name], path, JUDGES[name])
    if name == "visits":
        con.execute(HADM)
        con.execute(UNREAD)
    if name in MET and count_alone(table):  # who has a row is counted where somebody may have none
        check_join(path, name, table, *(number(con, query.format(name=name)) for query in MET[name]))
    if name in PREFIX_OF:
        _respell(con, name, path, table)
    if name in TITLES_OF:
        prefix = TITLES_OF[name]
        con.execute(f"""INSERT INTO titles SELECT '{prefix}' || version || '//' || bare(code), min(title) FROM {name}
            WHERE reason IS NULL GROUP BY ALL""")
    if name in EVENTS_OF:
        num_events = insert(con, EVENTS_OF[name])
        if name not in ("patients", "visits"):  # those make two events a row
            table["merged"], table["kept"] = table["kept"] - num_events, num_events
            con.execute(f"DROP TABLE {name}")
    return table


def _respell(con: Connection, name: str, path: Path, table: Report) -> None:
    """Give the codes of a table the spelling of the code tables, and count what was restored."""
    prefix = PREFIX_OF[name]
    rows = con.execute(
        f"SELECT version::VARCHAR, code, count(*) FROM {name} WHERE reason IS NULL GROUP BY ALL"
    ).fetchall()
    rows_of = {(version, code): number for version, code, number in rows if version}

    spelling = read_spelling(rows_of, prefix, str(path))
    if spelling.restored:
        table["restored"] = dict(spelling.restored)
    new = [(*was, *code) for was, code in spelling.codes.items() if code != (was[0], was[1].replace(".", "").upper())]
    if new:
        columns = ("old_version", "old_code", "new_version", "new_code")
        con.register("spelling", pa.table(dict(zip(columns, map(list, zip(*new, strict=True)), strict=True))))
        con.execute(f"""UPDATE {name} SET version = new_version::INTEGER, code = new_code FROM spelling
            WHERE version = old_version::INTEGER AND code = old_code""")
        con.unregister("spelling")
