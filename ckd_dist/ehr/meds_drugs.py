"""What a MEDICATION// code of a MEDS data set says: which drug, and whether it was given.

    MEDICATION//aspirin                                     a name alone: ours
    MEDICATION//START//Aspirin[//NDC or UNK]                MIMIC_IV_MEDS, pharmacy
    MEDICATION//STARTED//Aspirin                            eICU_MEDS
    MEDICATION//Aspirin//Administered[//NDC or UNK]         MIMIC_IV_MEDS, eMAR; with an NDC since 0.2
    MEDICATION//NDC//00409189001                            a code alone, of a vocabulary: the drug's name is both

The words of an eMAR event are those of the MIMIC Implementation Guide (CodeSystem MimicMedicationMethod): a verb, often
with Delayed or Partial before it and a place after it.  A dose that was given, a patch that was put on and an infusion
that began or began again count as given.  A flushed line, a changed rate or a reading is no start of a drug.  A word
that says neither is counted by name and never becomes part of a drug's name.
"""

import re

NO_START = "drug event that is no start"
UNKNOWN = "drug events of unknown kind"
NO_DRUG = "no drug"

NOTHING = {
    "",
    "0",
    "unk",
    "unknown",
    "nan",
    "none",
    "null",
    "na",
    "n/a",
    "<na>",
    "nat",
}  # how tools write an empty cell
STARTS = {"start", "started"}
STOPS = {"stop", "stopped", "end"}
NDC = re.compile(r"\[?(\d{9,11}|\d{4,5}-\d{3,4}-\d{1,2})\]?(\.0+)?")
VOCABULARIES = {"ndc", "rxnorm", "rxcui", "atc", "gsn", "hicl", "snomed", "cvx", "mmx", "dm+d", "pzn", "din", "gtin"}

PLACE = "( in other location)?"
GIVEN = re.compile(
    rf"((delayed|partial) )?(administered|applied|given|(re)?started|removed existing / applied new)"
    rf"( bolus from iv drip)?{PLACE}"
)
NOT_GIVEN = re.compile(
    rf"(delayed )?(not .+|(assessed|confirmed|flushed|read|removed|stopped)( as directed| - unscheduled)?{PLACE}"
    rf"|rate change{PLACE}|infusion reconciliation( not done)?{PLACE})"
    r"|(on )?h[eo]ld|withheld|refused|declined|missed|omitted|skipped|cancell?ed|discontinued|due|pending|primed|wasted"
    r"|returned|(entered )?in error|patient (refused|unavailable)|hold dose"
    r"|tpn rate not changed|documented in o\.r\. holding|pain score re-assess(ment| not done)"
)


def read_drug(said: str, is_ours: bool = True) -> tuple[str, str | None]:
    """Return the drug's name, and why it is no drug that was given (None where it was), of what follows MEDICATION//.

    is_ours: the prefix is written as ours; else a word that we do not know is no part of a lower-case name.

    >>> read_drug("Heparin//Administered//63323054011"), read_drug("START//Digoxin//UNK"), read_drug("d5w")
    (('heparin', None), ('digoxin', None), ('d5w', None))
    >>> read_drug("Morphine//Not Given//UNK")[1], read_drug("Heparin//Vortexed")[1], read_drug("UNK//Administered")[1]
    ('drug event that is no start', 'drug events of unknown kind', 'no drug')
    """
    parts = [part.strip() for part in said.split("//")]
    first = parts[0].lower()
    if len(parts) > 1 and first in STARTS | STOPS:
        return _named(_without_ndc(parts[1:], 1), NO_START if first in STOPS else None)
    *name, event = _without_ndc(parts, 2)
    if not name or (len(name) == 1 and first in VOCABULARIES):
        is_event = bool(name) and _judged(event) != UNKNOWN
        return _named([*name, event], NO_DRUG if is_event or (name and is_nothing(event)) else None)
    reason = _judged(event)
    if reason == UNKNOWN and is_ours and said == said.lower() and not is_nothing(event):
        return _named([*name, event], None)  # our own names are lower case, and may hold a //
    return _named(name, reason)


def _without_ndc(parts: list[str], num_before: int) -> list[str]:
    """Leave out the last part where it is a drug code, or says that there is none behind `num_before` parts.

    >>> _without_ndc(["Heparin", "Started", "UNK"], 2), _without_ndc(["Heparin", "UNK"], 2)
    (['Heparin', 'Started'], ['Heparin', 'UNK'])
    """
    if len(parts) > 1 and parts[0].lower() in VOCABULARIES:  # there is no name besides the code
        return parts[:-1] if len(parts) > num_before + 1 and _is_code(parts[-1]) else parts
    if len(parts) > num_before and _is_code(parts[-1]) and parts[-2].lower() in VOCABULARIES:
        return parts[:-2]
    is_code = len(parts) > 1 and NDC.fullmatch(parts[-1]) is not None
    return parts[:-1] if is_code or (len(parts) > num_before and is_nothing(parts[-1])) else parts


def _is_code(word: str) -> bool:
    return NDC.fullmatch(word) is not None or is_nothing(word)


def _judged(event: str) -> str | None:
    """Why an event is no start of a drug, None where it is one."""
    word = " ".join(event.lower().split())
    if GIVEN.fullmatch(word):
        return None
    return NO_START if NOT_GIVEN.fullmatch(word) else UNKNOWN


def _named(parts: list[str], reason: str | None) -> tuple[str, str | None]:
    name = "//".join(parts).lower()
    return name, reason or (NO_DRUG if all(map(is_nothing, parts)) else None)


def is_nothing(word: str) -> bool:
    """Say whether a part of a code is how some tool writes an empty cell."""
    return word.strip().lower() in NOTHING
