"""How a column spells ICD codes, and what each of its codes is: restored where one reading is left, else refused.

What programs do to codes: 4280.0 (a column read as numbers), 389 for 0389 (leading zeros lost), ="4280", '4280',
4 280, 3,961, 38.9 for 038.9, 39.5 for 39.50 (zeros.py), both versions told as one.  The tables of codes decide,
and the column as a whole.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ckd_dist.ehr.codes import is_known
from ckd_dist.ehr.zeros import Spelt, with_zeros_before, with_zeros_behind
from ckd_dist.schema import DIAGNOSIS, PROCEDURE

Known = Callable[[str, str], bool]  # whether a table of the version ("9" or "10") has the code, written without a dot
BEFORE_DOT = {DIAGNOSIS: 3, PROCEDURE: 2}  # most digits of an ICD-9 code before its dot

AROUND = re.compile(r"[\s\u200b\ufeff\"'`=\u201c\u201d\u2018\u2019\u00ab\u00bb]+")
FEW = 0.01  # share of a column's codes below which a fault is a slip of single rows, and speaks of no others

OTHER = {"9": "10", "10": "9"}

FLOATS = "codes with .0 behind them, as numbers are written"
ZEROS = "codes without their leading zeros"
BEHIND = "codes without the zero behind their dot"
VERSIONS = "codes of the other ICD version than was told"


@dataclass(frozen=True)
class Spelling:
    """codes: what was spelt -> version and code without a dot.  restored: what was mended -> rows."""

    codes: Mapping[Spelt, tuple[str, str]]
    restored: Mapping[str, int] = field(default_factory=dict)


def read_spelling(rows_of: Mapping[Spelt, int], prefix: str, where: str) -> Spelling:
    """Say what each code of a column is.

    rows_of: spelt code -> rows.  prefix: DIAGNOSIS or PROCEDURE.  where: what a refusal names.  Raises ValueError where
    codes have two readings.

    >>> read_spelling({("9", "4280.0"): 2, ("9", "I50.9"): 1}, DIAGNOSIS, "DIAGNOSES").codes
    {('9', '4280.0'): ('9', '4280'), ('9', 'I50.9'): ('10', 'I509')}
    """

    def known(version: str, code: str) -> bool:
        return is_known(f"{prefix}{version}//{code}")

    before_dot = BEFORE_DOT[prefix]
    cleaned = {spelt: _cleaned(spelt[1]) for spelt in rows_of}
    whole = _without_floats(cleaned, known, before_dot, rows_of, where)
    codes = {spelt: (spelt[0], _bare(code, spelt[0], before_dot)) for spelt, code in whole.items()}
    floats = [spelt for spelt in whole if whole[spelt] != cleaned[spelt]]
    changed = {FLOATS: floats, BEHIND: with_zeros_behind(codes, whole, prefix, before_dot, bool(floats))}
    codes |= changed[BEHIND]
    complete = {spelt for spelt, code in whole.items() if re.search(r"\.\d", code)}  # before the dot nothing is missing
    undotted = {spelt: code for spelt, code in codes.items() if spelt not in complete}
    changed[ZEROS] = with_zeros_before(undotted, rows_of, prefix, where)
    codes |= changed[ZEROS]
    changed[VERSIONS] = _with_versions(codes, known, rows_of, where)
    codes |= changed[VERSIONS]
    restored = {what: sum(rows_of[spelt] for spelt in spelts) for what, spelts in changed.items()}
    return Spelling(codes, {what: number for what, number in restored.items() if number})


def _cleaned(code: str) -> str:
    """Take away what stands around a code.  A comma is a dot, but where three digits follow it parts thousands.

    >>> _cleaned(' ="428,0"'), _cleaned("25,000"), _cleaned("3,961")
    ('428.0', '25000', '3961')
    """
    code = AROUND.sub("", code).upper()
    return code.replace(",", "" if re.fullmatch(r"\d{1,2},\d{3}", code) else ".")


def _bare(code: str, version: str, before_dot: int) -> str:
    """A code without its dot.  What stands before the dot of an ICD-9 code has a fixed length: 38.9 is 038.9."""
    head, dot, tail = code.partition(".")
    if dot and tail and version == "9" and head.isdecimal():
        head = head.zfill(before_dot)
    return head + tail.replace(".", "")


def _without_floats(
    cleaned: Mapping[Spelt, str], known: Known, before_dot: int, rows_of: Mapping[Spelt, int], where: str
) -> dict[Spelt, str]:
    """Take `.0` from what is a number.  4280.0 can be nothing else; 486.0 is told by the tables and its column."""
    numbers = {spelt: code.partition(".")[0] for spelt, code in cleaned.items() if re.fullmatch(r"\d+\.0+", code)}
    sure = {spelt: head for spelt, head in numbers.items() if len(head) > (before_dot if spelt[0] == "9" else 0)}
    dotted = any(re.fullmatch(r"\d+\.\d*[1-9]\d*", code) for code in cleaned.values())
    taken, unsure = dict(sure), 0
    for spelt, head in numbers.items():
        if spelt in sure:
            continue
        as_code, as_number = (known("9", _bare(code, "9", before_dot)) for code in (cleaned[spelt], head))
        if as_code and as_number and sure and dotted:
            unsure += rows_of[spelt]
        elif (sure and not dotted) or (as_number and not as_code):
            taken[spelt] = head
    if unsure:
        raise ValueError(
            f"{where}: {unsure:,} codes end in .0 and have two readings, since the column holds both codes with a dot"
            " and numbers: export it again as text"
        )
    return dict(cleaned) | taken


def _with_versions(
    codes: Mapping[Spelt, tuple[str, str]], known: Known, rows_of: Mapping[Spelt, int], where: str
) -> dict[Spelt, tuple[str, str]]:
    """Give codes that only the other version has their own version."""

    def in_other(version: str, code: str) -> bool:
        return version in OTHER and known(OTHER[version], code)

    strange = {spelt: code for spelt, code in codes.items() if not known(*code)}  # none: other tables are not read
    other = {spelt: (OTHER[code[0]], code[1]) for spelt, code in strange.items() if in_other(*code)}
    num_other = sum(rows_of[spelt] for spelt in other)
    if num_other > FEW * sum(rows_of.values()):
        twofold = sum(rows_of[spelt] for spelt, code in codes.items() if spelt not in strange and in_other(*code))
        if twofold:
            raise ValueError(
                f"{where}: {num_other:,} codes are told as one ICD version and are of the other, and {twofold:,} are"
                " codes of both: say the version of every row"
            )
    return other
