"""eICU-CRD 2.0 -> staged events: many hospitals, no dates, every offset in minutes from a unit admission.

The map is eicu_map.py, the synthetic clock eicu_clock.py, the titles eicu_phrases.py.  Negative offsets, before the
unit, are kept.  A code counts once a hospital stay, at its first time; where diagnoses share a time, primary ones come
first.  icd9code mixes both versions ("401.9, I10"): a part is judged by its form, and the form of V62.84 or E980.2 is
taken for ICD-9.
"""

from pathlib import Path

import pyarrow as pa

from ckd_dist.ehr import eicu_clock, eicu_drugs, eicu_phrases, tables
from ckd_dist.ehr.eicu_clock import WITHIN_A_CENTURY
from ckd_dist.ehr.eicu_map import EICU
from ckd_dist.ehr.staging import KIND, LAST, Connection, Report, insert, number
from ckd_dist.progress import Track
from ckd_dist.schema import (
    ADMISSION,
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
    SITE,
    TREATMENT,
)

# A judge adds `reason` to every row of `raw`: null where the row is kept.

HOSPITALS = """SELECT *, CASE WHEN hospital IS NULL THEN 'no hospitalid'
    WHEN row_number() OVER (PARTITION BY hospital ORDER BY region NULLS LAST) > 1 THEN 'hospitalid repeated'
    END AS reason FROM raw"""


def _of_stay(own: str = "", rows: str = "raw") -> str:
    """The judge of a table whose rows belong to unit stays; `own` are its WHENs, `rows` what stands for `raw`."""
    return f"""SELECT raw.*, CASE
        WHEN raw.stay_id IS NULL THEN 'no readable patientunitstayid'
        WHEN stays.stay_id IS NULL THEN 'patientunitstayid not in patient'
        WHEN stays.reason IS NOT NULL THEN 'patientunitstayid of a skipped stay'
        {own}
        WHEN path IS NULL THEN 'says nothing'
        WHEN minute IS NULL THEN 'no readable offset'
        WHEN minute NOT {WITHIN_A_CENTURY} THEN 'offset of more than a century'
        END AS reason, stays.subject_id, stays.hadm_id, stays.visit,
        CASE WHEN minute {WITHIN_A_CENTURY} THEN stays.began + to_minutes(minute) END AS time
        FROM {rows} LEFT JOIN stays ON stays.stay_id = raw.stay_id"""


JUDGES = {
    "hospitals": HOSPITALS,
    "visits": eicu_clock.JUDGE,
    "diagnoses": _of_stay(),
    "admissions": _of_stay("WHEN NOT contains(lower(path), '|all diagnosis|') THEN 'not under All Diagnosis'"),
    "treatments": _of_stay(),
    "histories": _of_stay(),
    "medications": _of_stay(f"WHEN cancelled = 1 THEN 'order cancelled' {eicu_drugs.REASONS}", eicu_drugs.NAMED),
}

# What a table's paths are called, and how a path becomes a title; a drug's name is its own.
PREFIX_OF = {
    "diagnoses": EICU_DIAGNOSIS,
    "admissions": EICU_DIAGNOSIS,
    "treatments": TREATMENT + "EICU//",
    "histories": HISTORY + "EICU//",
    "medications": MEDICATION,
}
KIND_OF = {"treatments": TREATMENT, "histories": HISTORY}
PHRASE_OF = {
    "diagnoses": eicu_phrases.of_diagnosis,
    "admissions": eicu_phrases.of_admission,
    "treatments": eicu_phrases.of_diagnosis,
    "histories": eicu_phrases.of_history,
}

PRIORITY = "CASE priority WHEN 'primary' THEN 0 WHEN 'major' THEN 1 ELSE 2 END"


def _once(table: str, code: str, kind: str, seq: str = "0") -> str:
    """A code counts once a hospital stay, at its first time."""
    return f"""SELECT subject_id, min(time), {code} AS said, NULL, hadm_id, min(visit), {KIND[kind]}, min({seq})
        FROM {table} WHERE reason IS NULL GROUP BY subject_id, hadm_id, said"""


OF_VISITS = f"""SELECT subject_id, admitted, '{ADMISSION}' || coalesce(source, 'UNKNOWN'), NULL, hadm_id, visit,
        {KIND[ADMISSION]}, 0 FROM hadm
    UNION ALL SELECT subject_id, discharged, CASE WHEN died THEN '{DIED}'
        ELSE '{DISCHARGE}' || coalesce(location, 'UNKNOWN') END, NULL, hadm_id, visit, {KIND[DISCHARGE]}, 0 FROM hadm
    UNION ALL SELECT subject_id, NULL, '{SITE}hospital=' || hospital, NULL, hadm_id, visit, {KIND[SITE]}, 0
        FROM hadm WHERE hospital IS NOT NULL
    UNION ALL SELECT subject_id, began, '{ICU_ADMISSION}' || coalesce(unit, 'UNKNOWN'), NULL, hadm_id, visit,
        {KIND[ICU_ADMISSION]}, 0 FROM stays WHERE reason IS NULL
    UNION ALL SELECT subject_id, ended, '{ICU_DISCHARGE}' || coalesce(unit_location, 'UNKNOWN'), NULL, hadm_id, visit,
        {KIND[ICU_DISCHARGE]}, 0 FROM stays WHERE reason IS NULL AND ended IS NOT NULL"""

REGIONS = f"""SELECT subject_id, NULL, '{SITE}region=' || region, NULL, hadm_id, visit, {KIND[SITE]}, 0
    FROM hadm JOIN hospitals USING (hospital) WHERE reason IS NULL AND region IS NOT NULL"""

SUBJECTS = """CREATE TABLE subjects AS SELECT subject_id, arg_min(birth, visit) AS birth, min(discharged)
        FILTER (died) AS died_at, arg_min(sex(gender), visit) FILTER (sex(gender) IN ('F', 'M')) AS gender
    FROM hadm GROUP BY subject_id"""
OF_SUBJECTS = f"""SELECT subject_id, NULL, '{GENDER}' || gender, NULL, NULL, 0, {KIND[GENDER]}, 0
        FROM subjects WHERE gender IS NOT NULL
    UNION ALL SELECT subject_id, birth, '{BIRTH}', NULL, NULL, 0, {KIND[BIRTH]}, 0
        FROM subjects WHERE birth IS NOT NULL
    UNION ALL SELECT subject_id, died_at, '{DEATH}', NULL, NULL, {LAST}, {KIND[DEATH]}, 0
        FROM subjects WHERE died_at IS NOT NULL"""

ICD9 = "([0-9]{3}|V[0-9]{2}|E[0-9]{3})([.][0-9]{0,2})?|[0-9]{4,5}"  # E and V codes without a dot have two readings
ICD10 = "[A-Z][0-9][0-9A-Z]([.][0-9A-Z]{0,4})?|[A-DF-UW-Z][0-9][0-9A-Z]{2,5}"
ICD = f"""CREATE TABLE icd AS SELECT *, CASE WHEN regexp_full_match(part, '{ICD9}') THEN '9'
        WHEN regexp_full_match(part, '{ICD10}') THEN '10' END AS version,
        CASE WHEN version IS NULL THEN 'no ICD diagnosis' END AS reason
    FROM (SELECT subject_id, hadm_id, visit, time, priority,
            upper(trim(unnest(regexp_split_to_array(icd, '[,;]')))) AS part
        FROM diagnoses WHERE reason IS NULL AND icd IS NOT NULL) WHERE part <> ''"""
NO_ICD = "parts of icd9code that are no ICD diagnosis, left"

SUBJECT_NOTES = {
    "subjects without a readable birth": "SELECT count(*) FROM subjects WHERE birth IS NULL",
    "subjects without a gender": "SELECT count(*) FROM subjects WHERE gender IS NULL",
    "subjects with several hospital stays": """SELECT count(*) FROM (SELECT 1 FROM hadm GROUP BY subject_id
        HAVING count(*) > 1)""",
    "hospital stays without a region": f"""SELECT count(*) FROM hadm ANTI JOIN (SELECT hadm_id FROM events
        WHERE starts_with(code, '{SITE}region=')) AS placed USING (hadm_id)""",
    "drugs that start after discharge": f"""SELECT count(*) FROM events JOIN hadm USING (hadm_id)
        WHERE kind = {KIND[MEDICATION]} AND time > discharged""",
}


def stage_eicu(con: Connection, folder: Path, report: Report, track: Track) -> None:
    """Load every eICU table that the folder has, judge its rows, and stage the events of those that are kept.

    Raises ValueError where `patient` is missing, a column is, or two patients would share a number.
    """
    found = tables.find_tables(folder, EICU)
    report["missing_tables"] = [EICU[name].file for name in EICU if name not in found]
    report["notes"] = {}
    done, total = 0, sum(path.stat().st_size for path in found.values())
    for name, path in found.items():
        report["tables"][EICU[name].file] = _stage_table(con, name, path, report)
        done += path.stat().st_size
        track(done, total)
    if "hospitals" in found:
        insert(con, REGIONS)
    con.execute(SUBJECTS)
    insert(con, OF_SUBJECTS)
    report["notes"] |= {note: number(con, query) for note, query in (eicu_clock.NOTES | SUBJECT_NOTES).items()}
    report["lost"] = {NO_ICD.removesuffix(", left"): report["notes"].get(NO_ICD, 0)}
    report["remarks"] = eicu_drugs.remarks(report)


def _stage_table(con: Connection, name: str, path: Path, report: Report) -> Report:
    """Stage one table and count what became of its rows."""
    table = tables.load(con, name, EICU[name], path, JUDGES[name])
    if name == "visits":
        eicu_clock.place(con)
        insert(con, OF_VISITS)
    if name == "diagnoses":
        _stage_icd(con, report["notes"])
    if name == "medications":
        report["notes"][eicu_drugs.BY_NUMBER] = eicu_drugs.num_named_by_number(con)
        report["unnamed_drugs"] = eicu_drugs.unnamed_by_place(con, with_regions="hospital" in report["tables"])
    if name in PREFIX_OF:
        code = f"'{PREFIX_OF[name]}' || lower(path)"
        seq = PRIORITY if name == "diagnoses" else "0"
        num_events = insert(con, _once(name, code, KIND_OF.get(name, PREFIX_OF[name]), seq))
        table["merged"], table["kept"] = table["kept"] - num_events, num_events
        if name in PHRASE_OF:
            _add_titles(con, name, code)
        con.execute(f"DROP TABLE {name}")
    return table


def _stage_icd(con: Connection, notes: dict[str, int]) -> None:
    """Stage the ICD codes that eICU gives beside its own diagnoses: of the same rows, so they count as notes."""
    con.execute(ICD)
    code = f"'{DIAGNOSIS}' || version || '//' || bare(part)"
    notes["ICD codes beside diagnoses"] = insert(con, _once("icd", code, DIAGNOSIS, PRIORITY))
    notes[NO_ICD] = number(con, "SELECT count(*) FROM icd WHERE version IS NULL")
    con.execute("DROP TABLE icd")


def _add_titles(con: Connection, name: str, code: str) -> None:
    """A readable phrase for every code of the table."""
    rows = con.execute(f"SELECT {code} AS said, min(path) FROM {name} WHERE reason IS NULL GROUP BY said").fetchall()
    phrases = {"code": [said for said, _ in rows], "title": [PHRASE_OF[name](path) for _, path in rows]}
    con.register("phrases", pa.table(phrases, schema=pa.schema([("code", pa.string()), ("title", pa.string())])))
    con.execute("INSERT INTO titles SELECT code, title FROM phrases")
    con.unregister("phrases")
