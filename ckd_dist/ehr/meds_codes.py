"""A code of a MEDS data set -> the event code that we write, or why it is none.  One code at a time, no tables.

Our own spelling (schema.py) comes back as it is.  Besides it are read: MIMIC_IV_MEDS and NWICU_MEDS (0.1 and 0.2),
eICU_MEDS (a diagnosis may hold several codes, "428.0, I50.9"; a discharge begins with its status), and the vocabulary
ids of OMOP that say one thing only: ICD9CM/428.0, ICD10CM/I50.9, ICD9Proc/39.61, ICD10PCS/02HV33Z, Gender/F.  Words of
a prefix count in any case.  A SNOMED or RxNorm code may be a disease, a finding or a family history: it is no diagnosis
by itself.  The codes of ICD-10's national versions (GM, CA, AM) partly mean other things and are not read as ICD-10-CM.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ckd_dist.ehr.meds_drugs import is_nothing, read_drug
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

NO_CODE = "no code"
NO_VERSION = "icd_version is neither 9 nor 10"
NO_PREFIX = "codes without a prefix"


@dataclass(frozen=True)
class Reading:
    """kind + rest is the event code.  reason: why the event is lost, None where it is kept."""

    kind: str  # of staging.KIND
    rest: str
    reason: str | None = None


def read_code(said: str) -> list[Reading]:
    """Return what a code says: nothing where it is of no kind that we know, several where it holds several ICD codes.

    >>> read_code("ICD10CM/I50.9"), read_code("hospital_admission")
    ([Reading(kind='DIAGNOSIS//ICD//', rest='10//I50.9', reason=None)], \
[Reading(kind='HOSPITAL_ADMISSION//', rest='UNKNOWN', reason=None)])
    >>> [reading.rest for reading in read_code("DIAGNOSIS//ICD//9//428.0, I50.9")], read_code("SNOMED/84114007")
    (['9//428.0', '10//I50.9'], [])
    """
    said = said.strip()
    fact, _, detail = said.upper().partition("//")  # MEDS_DEATH//DOD
    if fact in FACTS and detail.strip() not in NO:
        return [Reading(FACTS[fact], "")]
    head, between, rest = re.fullmatch(r"([^/]*)(//|/|)(.*)", said, re.DOTALL).groups()
    word = head.strip().upper()
    if between == "/":
        return OF_OMOP[word](rest) if word in OF_OMOP else []
    if word == "MEDICATION":
        return [Reading(MEDICATION, *read_drug(rest, is_ours=head.strip() == word))]
    if word in READERS:
        return READERS[word](rest)
    return OF_OMOP[word](rest) if between and word in OF_OMOP else []


def prefix_of(said: str) -> str:
    """Return what a code begins with: its kind or vocabulary, and nothing of what it says.

    >>> prefix_of("LAB//50912//mg/dL"), prefix_of("SNOMED/84114007"), prefix_of("PROCEDURE//START//225752")
    ('LAB//', 'SNOMED/', 'PROCEDURE//START//')
    >>> prefix_of("OPS:5-361.03")
    'OPS:'
    >>> prefix_of("84114007//x"), prefix_of("Weight (Lbs)")
    ('codes without a prefix', 'codes without a prefix')
    """
    found = re.match(r"\s*([A-Za-z][\w .+-]{0,29}(?://|[/:|]))([A-Z_]{2,20}//)?", said)
    if not found:
        return NO_PREFIX
    return found[1] + (found[2] or "" if found[1].upper() in (ANY_DIAGNOSIS, ANY_PROCEDURE) else "")


def is_prefix(prefix: str, num_codes: int) -> bool:
    """Say whether a prefix is one, and not the first half of a drug's name, as in oxycodone/acetaminophen.

    num_codes: different codes that begin so.  A kind is in capitals before //; a vocabulary is known, or has many.
    """
    is_kind = re.fullmatch(r"([A-Z][A-Z_]*//)+", prefix) is not None
    return is_kind or prefix.strip("/:|").lower() in VOCABULARIES or num_codes >= MANY


MANY = 11
VOCABULARIES = {  # ids of OMOP's that data sets use most
    *("snomed", "rxnorm", "rxnorm extension", "loinc", "visit", "cpt4", "hcpcs", "ndc", "atc", "cvx", "gender", "race"),
    *("ethnicity", "drg", "icd10gm", "icd10cn", "icdo3", "opcs4", "read", "dm+d", "kcd7", "mesh", "ucum", "hemonc"),
    *("cms place of service", "medicare specialty", "cancer modifier", "omop", "stanford_obs", "stanford_proc"),
}

# --- what stands behind a prefix --------------------------------------------------------------------------------------

READ_AS = {DIAGNOSIS: r"(?:ICD)?(9|10)(?:CM)?", PROCEDURE: r"(?:ICD)?(9|10)(?:CM|PCS|PROC)?"}  # an ICD version's names
ANY_OF = {DIAGNOSIS: ANY_DIAGNOSIS, PROCEDURE: ANY_PROCEDURE}
SPANS = ("START", "END")  # PROCEDURE//START//item of MIMIC-IV's ICU: what is charted, no code
ICD9 = r"(\d{3}|V\d{2}|E\d{3})(\.\d{0,2})?"
THOUSANDS = r"\d{1,2},\d{3}(\.0+)?"  # 4,280 is a number, and no list: codes have three digits at least
DECIMAL = r"(\d{2,3}|[A-Z]\d[0-9A-Z]{1,2}),(\d{1,2}|\d{1,3}[A-Z][0-9A-Z]*)"  # 428,0 and S72,001A
ICD10 = r"[A-Z]\d[0-9A-Z](\.[0-9A-Z]{0,4})?"


def _coded(kind: str, rest: str) -> list[Reading]:
    """What follows DIAGNOSIS// or PROCEDURE//: ICD//9//4280, ICD9CM//428.0, 10//I509, EICU//a path."""
    vocabulary, _, code = rest.partition("//")
    is_icd = vocabulary.strip().upper() == "ICD"
    version, code = code.partition("//")[::2] if is_icd else (vocabulary, code)
    name = re.sub(r"[^A-Z0-9]", "", re.sub(r"\.0+$", "", version.strip()).upper())
    if known := re.fullmatch(READ_AS[kind], name):
        return _of_icd(kind, known[1], code)
    if is_icd:
        return [Reading(kind, f"{version}//{code}", NO_VERSION)]
    word, code = vocabulary.strip().upper(), code.strip()
    if not (word and code) or word in SPANS:
        return []
    if kind == DIAGNOSIS and word == "EICU":
        return [Reading(EICU_DIAGNOSIS, code)]
    beside = code.partition("//")[2]
    return [
        Reading(ANY_OF[kind], f"{word}//{code}", DENIED if DENIES.fullmatch(beside) else None)
    ]  # its own letters, dots and zeros may all mean something


def _of_icd(kind: str, version: str, code: str) -> list[Reading]:
    code, _, beside = code.partition("//")
    if DENIES.fullmatch(beside):
        return [Reading(kind, f"{version}//{code}", DENIED)]
    if re.fullmatch(THOUSANDS, code.strip()):
        code = code.replace(",", "")
    parts = [code] if re.fullmatch(DECIMAL, code.strip().upper()) else code.split(",")
    parts = [part.strip() for part in parts if not is_nothing(part)]
    if len(parts) < 2:
        return [Reading(kind, f"{version}//{''.join(parts)}", None if parts else NO_CODE)]
    return [Reading(kind, f"{_version_of(part) or version}//{part}") for part in dict.fromkeys(parts)]


def _version_of(code: str) -> str | None:
    """Judge by its form, as eICU's own tables are: "428.0, I50.9" holds both versions; E980.2 is taken for ICD-9."""
    forms = {"9": ICD9, "10": ICD10}
    return next((version for version, form in forms.items() if re.fullmatch(form, code.upper())), None)


def _gender(rest: str) -> list[Reading]:
    return [Reading(GENDER, {"FEMALE": "F", "MALE": "M"}.get(rest.strip().upper(), rest))]


def _as_it_is(kind: str) -> Callable[[str], list[Reading]]:
    return lambda rest: [Reading(kind, rest or "UNKNOWN")]


FACTS = {
    BIRTH: BIRTH,
    DEATH: DEATH,
    "SNOMED/3950001": BIRTH,  # as femr and early meds_etl wrote them
    "SNOMED/419620001": DEATH,
    "SNOMED/419099009": DEATH,
    **dict.fromkeys(
        ("DEATH", "DEAD", "DIED", "DECEASED", "DOD", "DATE_OF_DEATH", "DEATH_DATE", "HOSPITAL_DEATH"), DEATH
    ),
    **dict.fromkeys(("DOB", "DATE_OF_BIRTH", "BIRTH_DATE"), BIRTH),
}
NO = {"0", "N", "NO", "F", "FALSE", "ALIVE"}  # behind a fact: it is denied
DENIED = "diagnosis or procedure that is denied"
DENIES = re.compile(
    r".*\b(ruled? out|excluded|refuted|negated|negative|absent|denied|not|no|in error|family|cancell?ed)\b.*",
    re.I | re.S,
)
READERS: dict[str, Callable[[str], list[Reading]]] = {
    **{
        kind.removesuffix("//"): _as_it_is(kind)
        for kind in (SITE, ADMISSION, DISCHARGE, ICU_ADMISSION, ICU_DISCHARGE, TREATMENT, HISTORY)
    },
    "GENDER": _gender,
    "DIAGNOSIS": lambda rest: _coded(DIAGNOSIS, rest),
    "PROCEDURE": lambda rest: _coded(PROCEDURE, rest),
}
OF_OMOP: dict[str, Callable[[str], list[Reading]]] = {
    "GENDER": _gender,
    **{name: lambda rest: _of_icd(DIAGNOSIS, "9", rest) for name in ("ICD9CM", "ICD9")},
    **{name: lambda rest: _of_icd(DIAGNOSIS, "10", rest) for name in ("ICD10CM", "ICD10")},
    "ICD9PROC": lambda rest: _of_icd(PROCEDURE, "9", rest),
    "ICD10PCS": lambda rest: _of_icd(PROCEDURE, "10", rest),
}
