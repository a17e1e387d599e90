"""Label sets: K names in order, and the columns that a diagnosis code sets.  phenotypes25, or a user's YAML file.

    Heart failure:
      type: chronic
      codes: ["428.0", "4281"]          # ICD-9
      codes10: ["I50.9"]                # ICD-10
    Asthma:
      codes: {ICD9: ["493.90"], SNOMED: ["195967001"]}     # by vocabulary: DIAGNOSIS//SNOMED//195967001
    Shock: {id: 249}                    # a CCS category, for its ICD-9 codes

ICD codes are written with or without dots, in any case; codes of other vocabularies exactly as events have them.  Where
a label names no ICD-10 code, those count whose equivalence map leads to its ICD-9 codes.  What can be read in two ways
is refused: a number that is no text has lost its leading zeros already.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ckd_dist.ehr.codes import ccs_names, ccs_of_icd9, icd9_of_icd10
from ckd_dist.ehr.yamlmap import load_mapping
from ckd_dist.schema import ANY_DIAGNOSIS, DIAGNOSIS, EICU_DIAGNOSIS

TYPES = ("acute", "chronic", "mixed", "unknown")
FIELDS = {"use_in_benchmark", "type", "id", "codes", "codes10"}
TAKEN = ("sample_id", "subject_id", "prediction_time")
EXAMPLE = 'a list of quoted codes, like ["0031", "4280"]'
ICD9, ICD10 = f"{DIAGNOSIS}9//", f"{DIAGNOSIS}10//"
ICD_NAMES = re.compile(r"ICD[ /-]*(9|10)[ -]*(CM)?")  # of a vocabulary: ICD9, ICD-10-CM, ICD//10


@dataclass(frozen=True)
class LabelSet:
    """K labels in order, and the columns that each diagnosis code sets."""

    names: tuple[str, ...]
    types: tuple[str, ...]  # acute, chronic, mixed or unknown
    columns: Mapping[str, tuple[int, ...]] = field(repr=False, hash=False)  # event code -> label columns
    written: tuple[frozenset[str], ...] = field(default=(), repr=False, compare=False)  # event codes each label lists

    def columns_of(self, code: str) -> tuple[int, ...]:
        """Return the label columns of an event code, () where it sets none.

        >>> labels = load_label_set("phenotypes25")
        >>> [labels.names[k] for k in labels.columns_of("DIAGNOSIS//ICD//9//4280")]
        ['Congestive heart failure; nonhypertensive']
        """
        return self.columns.get(code, ())


def load_label_set(name_or_path: str) -> LabelSet:
    """Load "phenotypes25" or a user's YAML file of the same form.  Raise ValueError where it is not of that form.

    name: {use_in_benchmark, type, id, codes, codes10}, see above.  `id` is a CCS category and stands for its ICD-9
    codes where `codes` lists none.
    """
    if name_or_path == "phenotypes25":
        return _label_set(files("ckd_dist.ehr").joinpath("phenotypes25.yaml").read_text("utf-8"), "phenotypes25")
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"label set {name_or_path!r} is neither phenotypes25 nor a file: give the path of a YAML file")
    try:
        return _label_set(path.read_text("utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise ValueError(f"label set {path} is not UTF-8 text: save it as UTF-8") from None


def event_code(vocabulary: str, code: str) -> str:
    """Return the event code of a diagnosis as a label set writes it.

    >>> event_code("ICD-10-CM", "i50.9"), event_code("ICD9", "4280.0"), event_code("Snomed", " 84114007")
    ('DIAGNOSIS//ICD//10//I509', 'DIAGNOSIS//ICD//9//4280', 'DIAGNOSIS//SNOMED//84114007')
    """
    if code.startswith(ANY_DIAGNOSIS):  # in full
        whole = code.removeprefix(ANY_DIAGNOSIS)
        vocabulary, _, code = whole.removeprefix("ICD//").partition("//")
        vocabulary = f"ICD{vocabulary}" if whole.startswith("ICD//") else vocabulary
    vocabulary = vocabulary.strip().upper()
    if not (icd := ICD_NAMES.fullmatch(vocabulary)):
        return f"{ANY_DIAGNOSIS}{vocabulary}//{code.strip()}"
    bare = re.sub(r"\s", "", code).upper()
    if icd[1] == "9" and re.fullmatch(r"\d{4,5}\.0", bare):  # no code has so many digits before a dot: a float's
        bare = bare.removesuffix(".0")
    return f"{DIAGNOSIS}{icd[1]}//{bare.replace('.', '')}"


def _label_set(text: str, source: str) -> LabelSet:
    where = f"label set {source}"
    try:
        groups = load_mapping(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not isinstance(groups, dict) or not all(isinstance(group, dict) for group in groups.values()):
        raise ValueError(f"{where} must map names to {{use_in_benchmark, type, id, codes, codes10}}")
    for name, group in groups.items():
        _check_group(name, group, f"{where}, label {name!r}")
    used = {name: group for name, group in groups.items() if group.get("use_in_benchmark", True)}
    if not used:
        raise ValueError(f"{where} has no label with use_in_benchmark: True")
    types = tuple(group.get("type", "unknown") for group in used.values())
    written = tuple(frozenset(_written(group)) for group in used.values())
    return LabelSet(tuple(used), types, _columns_of_codes(list(used.values()), written), written)


def _check_group(name: Any, group: Mapping[str, Any], where: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{where}: a label's name must be text: put it in quotes")
    if name in TAKEN:
        raise ValueError(f"{where}: {name} is a column of every table of predictions: name the label otherwise")
    if unknown := set(group) - FIELDS:
        raise ValueError(f"{where}: unknown field {sorted(map(str, unknown))}, expected some of {sorted(FIELDS)}")
    if group.get("type", "unknown") not in TYPES:
        raise ValueError(f"{where}: type {group['type']!r} is none of {TYPES}")
    if not isinstance(group.get("use_in_benchmark", True), bool):
        raise ValueError(f"{where}: use_in_benchmark must be True or False, without quotes")
    if not {"id", "codes", "codes10"} & set(group):
        raise ValueError(f"{where}: give codes, codes10, or the id of a CCS category")
    if "codes" not in group and "id" in group and group["id"] not in ccs_names():
        raise ValueError(f"{where}: there is no CCS single-level category {group['id']!r}")
    by_vocabulary = group.get("codes") if isinstance(group.get("codes"), dict) else {"codes": group.get("codes", [""])}
    for key, codes in {**by_vocabulary, "codes10": group.get("codes10", [""])}.items():
        if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
            raise ValueError(f"{where}: {key} must be {EXAMPLE}")
    if any(code.startswith(EICU_DIAGNOSIS) for code in _written(group)):
        raise ValueError(f"{where}: eICU's own paths are dated when they were written: list the ICD codes beside them")
    if not _written(group) and "id" not in group:
        raise ValueError(f"{where} lists no code: give {EXAMPLE}")


def _written(group: Mapping[str, Any]) -> set[str]:
    """Return the event codes that a label lists."""
    codes = group.get("codes", [])
    by_vocabulary = codes if isinstance(codes, dict) else {"ICD9": codes}
    pairs = [*((str(name), code) for name, codes in by_vocabulary.items() for code in codes)]
    pairs += [("ICD10", code) for code in group.get("codes10", [])]
    return {event_code(vocabulary, code) for vocabulary, code in pairs if code.strip(" .")}


def _columns_of_codes(
    groups: list[Mapping[str, Any]], written: tuple[frozenset[str], ...]
) -> dict[str, tuple[int, ...]]:
    """Event code -> label columns, for every code that sets any."""
    columns: dict[str, set[int]] = {}
    for column, (group, listed) in enumerate(zip(groups, written, strict=True)):
        for code in listed | _of_category(group, listed):
            columns.setdefault(code, set()).add(column)
    by_map = {column for column, listed in enumerate(written) if not any(code.startswith(ICD10) for code in listed)}
    for code, targets in icd9_of_icd10().items():
        if mapped := by_map.intersection(column for target in targets for column in columns.get(ICD9 + target, ())):
            columns.setdefault(ICD10 + code, set()).update(mapped)
    return {code: tuple(sorted(of_code)) for code, of_code in columns.items()}


def _of_category(group: Mapping[str, Any], listed: Iterable[str]) -> set[str]:
    """Return the ICD-9 codes of a label's CCS category, where it lists none of its own."""
    if "id" not in group or isinstance(group.get("codes"), list) or any(code.startswith(ICD9) for code in listed):
        return set()
    return {ICD9 + code for code, category in ccs_of_icd9().items() if category == group["id"]}
