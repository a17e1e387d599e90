"""eICU-CRD 2.0 as a table map: where each of our columns lies in its tables.

`path` is what a row says, in eICU's own words; `minute` is when, in minutes from the admission to the row's unit stay.
Rows count from when they were written down, where eICU says so; a drug from its start.
"""

from ckd_dist.ehr.mimic import Site, TableMap


def _is_yes(column: str) -> str:
    return f"(lower(trim({column})) IN ('yes', 'y', 'true', '1', '1.0'))::INT"


def _number(column: str) -> str:
    """Spell a number that names something as tables join on it: 59.0 and 059 are 59; other names stay."""
    return f"regexp_replace(trim({column}), '^0*([0-9]+)([.]0*)?$', '\\1')"


def _of_stay(
    file: str, minute: str, path: str, needs: tuple[str, ...] = (), spare: tuple[str, ...] = (), **columns: str
) -> TableMap:
    """The map of a table whose rows belong to unit stays.  `needs`: source columns besides, if not just `path`."""
    own = {"stay_id": "patientunitstayid", "minute": minute, "path": path}
    return TableMap(file, ("patientunitstayid", minute, *(needs or (path,))), own | columns, spare=spare)


PATIENT = {
    "pid": "uniquepid",
    "hadm_id": "patienthealthsystemstayid",
    "stay_id": "patientunitstayid",
    "hospital": _number("hospitalid"),
    "gender": "gender",
    "age": "CASE WHEN starts_with(trim(age), '>') THEN '90' ELSE age END",  # all above 89 are one
    "year": "hospitaldischargeyear",
    "time_of_day": "hospitaladmittime24",
    "hospital_begin": "hospitaladmitoffset",
    "hospital_end": "hospitaldischargeoffset",
    "source": "hospitaladmitsource",
    "location": "hospitaldischargelocation",
    "status": "hospitaldischargestatus",
    "unit": "unittype",
    "unit_end": "unitdischargeoffset",
    "unit_location": "unitdischargelocation",
    "unit_status": "unitdischargestatus",
}
PATIENT_NEEDS = tuple({"age": "age", "hospital": "hospitalid"}.get(ours, theirs) for ours, theirs in PATIENT.items())

HISTORY_TAIL = "(?i)/(?:past history obtain options|organ systems)/+(.+)$"

EICU: Site = {
    "hospitals": TableMap(
        "hospital", ("hospitalid", "region"), {"hospital": _number("hospitalid"), "region": "region"}
    ),
    "visits": TableMap("patient", PATIENT_NEEDS, PATIENT, required=True),
    "diagnoses": _of_stay(
        "diagnosis",
        "diagnosisoffset",
        "diagnosisstring",
        ("diagnosisstring", "icd9code", "diagnosispriority"),
        icd="icd9code",
        priority="lower(trim(diagnosispriority))",
    ),
    "admissions": _of_stay("admissiondx", "admitdxenteredoffset", "admitdxpath"),
    "treatments": _of_stay("treatment", "treatmentoffset", "treatmentstring"),
    "histories": _of_stay(
        "pasthistory",
        "pasthistoryenteredoffset",
        f"coalesce(nullif(regexp_extract(pasthistorypath, '{HISTORY_TAIL}', 1), ''), pasthistorypath)",
        ("pasthistorypath",),
    ),
    "medications": _of_stay(
        "medication",
        "drugstartoffset",
        "drugname",
        ("drugname", "drugordercancelled"),
        ("drughiclseqno",),
        cancelled=_is_yes("drugordercancelled"),
        hicl=f"nullif({_number('drughiclseqno')}, '0')",
    ),
}
