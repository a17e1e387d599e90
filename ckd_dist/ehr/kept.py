"""What an extraction kept and what it lost, from its report: the line that the screen and the stage's record say.

Every source fills the same report.  `kept` counts events by kind, `tables` says what became of every table's rows,
`lost` (what -> how many) counts what no row of a table stands for, `remarks` says what a number does not.
"""

from collections.abc import Mapping

from ckd_dist.account import Account, counted
from ckd_dist.ehr.staging import KIND, Connection, Report, number
from ckd_dist.schema import (
    ADMISSION,
    ANY_DIAGNOSIS,
    ANY_PROCEDURE,
    DIAGNOSIS,
    DISCHARGE,
    EICU_DIAGNOSIS,
    GENDER,
    HISTORY,
    ICU_ADMISSION,
    MEDICATION,
    PROCEDURE,
    TREATMENT,
)

NAMES = {  # of what the line counts; the first three are said even where there are none
    ADMISSION: "admissions",
    DIAGNOSIS: "diagnoses",
    MEDICATION: "drugs",
    PROCEDURE: "procedures",
    EICU_DIAGNOSIS: "eICU diagnoses",
    TREATMENT: "treatments",
    HISTORY: "past diseases",
    ICU_ADMISSION: "ICU stays",
    ANY_DIAGNOSIS: "diagnoses",  # of whatever vocabulary
    ANY_PROCEDURE: "procedures",
}
MANY_UNKNOWN = 0.05  # share of diagnoses; open data have less, and a site's own version of ICD may have half
WHOLE = ": is their ICD version right, are they whole (no headings), are they a site's own?"
# Above this share of a source's ICD diagnoses no label of ICD can be right: a fault of the column, since a site's own
# version or extension of ICD still has the common codes (half and more are known).  In a few diagnoses it is chance.
# Lost zeros and another version's codes are found before, where they are spelled (spelling.py).
MOST_UNKNOWN, FEWEST_JUDGED = 0.95, 20
ALWAYS = ("admissions", "diagnoses", "drugs")
GIVES = {  # what records hold none of where a table is missing; titles come from the code tables instead
    "PROCEDURES_ICD": "procedures",
    "PRESCRIPTIONS": "drugs",
    "ICUSTAYS": "sites",
    "diagnosis": "diagnoses of the stay",
    "admissionDx": "diagnoses at admission",
    "treatment": "treatments",
    "pastHistory": "past diseases",
    "medication": "drugs",
    "hospital": "regions",
}


def count_kept(con: Connection) -> dict[str, int]:
    """Count the staged events of every kind that the line names, in its order."""
    found = dict(con.execute("SELECT kind, count(*) FROM events GROUP BY kind").fetchall())
    numbers = dict.fromkeys(NAMES.values(), 0)
    for kind, name in NAMES.items():
        numbers[name] += found.get(KIND[kind], 0)
    return {name: num for name, num in numbers.items() if num or name in ALWAYS}


def check_known(codes: int, events: int, num_diagnoses: int) -> None:
    """Raise ValueError where next to no ICD diagnosis is in a table.  codes, events: those that are in none."""
    if num_diagnoses < FEWEST_JUDGED or events < MOST_UNKNOWN * num_diagnoses:
        return
    raise ValueError(
        f"{events:,} of {num_diagnoses:,} ICD diagnoses have one of {counted({'codes': codes})} that no table"
        " of its version knows: is the version right, are the codes whole, are they ICD at all? A site's own codes are"
        " mapped to DIAGNOSIS//OWN// by extract.code_map"
    )


def say_days(con: Connection, report: Report) -> None:
    """Remark where no visit begins or ends at another time than midnight: its times were cut to days."""
    ends = f"{KIND[ADMISSION]}, {KIND[DISCHARGE]}"
    all_days = f"SELECT coalesce(bool_and(time = date_trunc('day', time)), false) FROM events WHERE kind IN ({ends})"
    if number(con, all_days):
        days = "all times of admissions and discharges are days: order within a day is unknown"
        report["remarks"] = [*report.get("remarks", ()), days]


def say_other_sexes(con: Connection, report: Report) -> None:
    """Remark where a gender is said that is neither F nor M: prompts then name no sex."""
    known = f"('{GENDER}F', '{GENDER}M')"
    others = f"SELECT count(DISTINCT subject_id) FROM events WHERE kind = {KIND[GENDER]} AND code NOT IN {known}"
    if num_others := number(con, others):
        said = f"{num_others:,} subjects have a gender that is neither F nor M: prompts name no sex"
        report["remarks"] = [*report.get("remarks", ()), said]


def account_of(report: Report) -> Account:
    """Return what the report of an extraction says was kept and lost, the largest loss first."""
    lost = dict(report.get("lost", {}))
    for name, table in report["tables"].items():
        why = ", ".join(table.get("malformed", ()))
        for reason, num in table["skipped"].items():
            lost[f"rows of {name} ({reason}{f': {why}' if why and reason == 'malformed row' else ''})"] = num
    remarks = [*_missing(report["missing_tables"]), *_restored(report["tables"]), *report.get("remarks", ())]
    for name, kind in (("diagnosis", "diagnoses"), ("procedure", "procedures")):
        if num := report[f"unknown_{name}_codes"]["events"]:
            share = num / max(report["kept"].get(kind, 0), 1)
            codes = counted({"codes": report[f"unknown_{name}_codes"]["codes"]})
            why = WHOLE if share > MANY_UNKNOWN else ""
            remarks.append(f"{num:,} {kind} ({share:.1%}) have one of {codes} that no table knows{why}")
    return Account(report["kept"], dict(sorted(lost.items(), key=lambda item: -item[1])), remarks)


def _missing(tables: list[str]) -> list[str]:
    named = {name: GIVES[name] for name in tables if name in GIVES}
    if not named:
        return []
    return [f"no {', no '.join(named)}: records will hold no {', no '.join(named.values())}"]


def _restored(tables: Mapping[str, Report]) -> list[str]:
    """Say what was mended, and what cells look like that could not be read."""
    said = [
        f"restored in {name}: {counted(table['restored'])}" for name, table in tables.items() if "restored" in table
    ]
    for name, table in tables.items():
        for column, forms in table.get("unreadable", {}).items():
            said.append(f"{name}: {column} not read {sum(forms.values()):,} times, such as {next(iter(forms))}")
    return said
