"""The codes that a hospital's own MEDS data set may have, with an example row each: the table of this folder's README.

A test reads every example as a data set and finds nothing lost, and holds the README against the table.
"""

from typing import NamedTuple

from ckd_dist.schema import (
    ADMISSION,
    ANY_DIAGNOSIS,
    ANY_PROCEDURE,
    BIRTH,
    DEATH,
    DIAGNOSIS,
    DIED,
    DISCHARGE,
    GENDER,
    HISTORY,
    ICU_ADMISSION,
    ICU_DISCHARGE,
    MEDICATION,
    PROCEDURE,
    SITE,
    TREATMENT,
)


class Pattern(NamedTuple):
    """One row of the table.  example: time (empty: none), code, hadm_id (empty: of no visit)."""

    pattern: str
    example: tuple[str, str, str]
    meaning: str


PATTERNS = (
    Pattern(BIRTH, ("2040-05-01", BIRTH, ""), "birth: ages come from it"),
    Pattern(f"{GENDER}<F or M>", ("", f"{GENDER}F", ""), "sex, without a time"),
    Pattern(
        f"{SITE}<name>", ("", f"{SITE}north", "11"), "part of the hospital, without a time; of a visit or a subject"
    ),
    Pattern(f"{ADMISSION}<kind>", ("2100-01-01 08:00", f"{ADMISSION}EMERGENCY", "11"), "admission: **needed**"),
    Pattern(f"{ICU_ADMISSION}<unit>", ("2100-01-01 09:30", f"{ICU_ADMISSION}MICU", "11"), "begin of a stay in a unit"),
    Pattern(f"{MEDICATION}<name>", ("2100-01-01 10:00", f"{MEDICATION}aspirin", "11"), "drug, at a start or a dose"),
    Pattern(f"{TREATMENT}<system>//<path>", ("2100-01-01 11:00", f"{TREATMENT}OWN//dialysis", "11"), "treatment"),
    Pattern(f"{HISTORY}<system>//<path>", ("2100-01-01 11:00", f"{HISTORY}OWN//asthma", "11"), "past disease"),
    Pattern(f"{ICU_DISCHARGE}<where>", ("2100-01-02 15:00", f"{ICU_DISCHARGE}Floor", "11"), "its end"),
    Pattern(f"{DIAGNOSIS}9//<code>", ("2100-01-05 12:00", f"{DIAGNOSIS}9//428.0", "11"), "diagnosis by ICD-9-CM"),
    Pattern(f"{DIAGNOSIS}10//<code>", ("2100-01-05 12:00", f"{DIAGNOSIS}10//I50.9", "11"), "diagnosis by ICD-10-CM"),
    Pattern(
        f"{ANY_DIAGNOSIS}<vocabulary>//<code>",
        ("2100-01-05 12:00", f"{ANY_DIAGNOSIS}SNOMED//84114007", "11"),
        "diagnosis by any other vocabulary, or a list of your own; one kind of diagnosis is **needed**",
    ),
    Pattern(f"{PROCEDURE}9//<code>", ("2100-01-05 12:00", f"{PROCEDURE}9//39.61", "11"), "procedure by ICD-9-CM"),
    Pattern(f"{PROCEDURE}10//<code>", ("2100-01-05 12:00", f"{PROCEDURE}10//02HV33Z", "11"), "procedure by ICD-10-PCS"),
    Pattern(
        f"{ANY_PROCEDURE}<vocabulary>//<code>",
        ("2100-01-05 12:00", f"{ANY_PROCEDURE}CPT//33405", "11"),
        "procedure by any other vocabulary",
    ),
    Pattern(f"{DISCHARGE}<where>", ("2100-01-05 12:00", f"{DISCHARGE}HOME", "11"), "discharge alive: **needed**"),
    Pattern(DIED, ("2100-03-02 04:00", DIED, "12"), "discharge that is a death in hospital"),
    Pattern(DEATH, ("2100-03-02 04:00", DEATH, ""), "death, in hospital or after"),
)


def table() -> str:
    """Return the table as Markdown."""
    rows = [("code", "example: time, code, hadm_id", "meaning")]
    rows += [(f"`{each.pattern}`", f"`{', '.join(each.example)}`", each.meaning) for each in PATTERNS]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|---|---|", *lines[1:]])
