"""How a column spells ICD codes, and what each of its codes is: restored where one reading is left, else refused.

What programs do to codes: 4280.0 (a column read as numbers), 389 for 0389 (leading zeros lost), ="4280", '4280',
4 280, 38.9 for 038.9, codes of both versions told as one.  The tables of codes decide, and the column as a whole: a
code that is in no table but would be with a zero before it shows that zeros were lost; then 4109 may be 04109 as well.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Known = Callable[[str, str], bool]  # whether a table of the version ("9" or "10") has the code, written without a dot
Spelt = tuple[str, str]  # version, code as the column has it

AROUND = re.compile(r"[\s\u200b\ufeff\"'`=\u201c\u201d\u2018\u2019\u00ab\u00bb]+")
FEW = 0.01  # share of a column's codes below which a fault is a slip of single rows, and speaks of no others

OTHER = {"9": "10", "10": "9"}

FLOATS = "codes with .0 behind them, as numbers are written"
ZEROS = "codes without their leading zeros"
VERSIONS = "codes of the other ICD version than was told"


@dataclass(frozen=True)
class Spelling:
    """codes: what was spelt -> version and code without a dot.  restored: what was mended -> rows."""

    codes: Mapping[Spelt, tuple[str, str]]
    restored: Mapping[str, int] = field(default_factory=dict)


def read_spelling(rows_of: Mapping[Spelt, int], known: Known, before_dot: int, where: str) -> Spelling:
    """Say what each code of a column is.

    rows_of: spelt code -> rows.  before_dot: most digits of an ICD-9 code before its dot, 3 of a diagnosis, 2 of a
    procedure.  where: what a refusal names.  Raises ValueError where codes have two readings.

    >>> known = {("9", "4280"), ("9", "4019"), ("10", "I509")}
    >>> read_spelling({("9", "4280.0"): 2, ("9", "I50.9"): 1}, lambda *code: code in known, 3, "DIAGNOSES").codes
    {('9', '4280.0'): ('9', '4280'), ('9', 'I50.9'): ('10', 'I509')}
    """
    cleaned = {spelt: AROUND.sub("", spelt[1]).upper().replace(",", ".") for spelt in rows_of}
    whole = _without_floats(cleaned, known, before_dot, rows_of, where)
    codes = {spelt: (spelt[0], _bare(code, spelt[0], before_dot)) for spelt, code in whole.items()}
    restored = Counter({FLOATS: sum(rows_of[spelt] for spelt in whole if whole[spelt] != cleaned[spelt])})
    for mend, what in ((_with_zeros, ZEROS), (_with_versions, VERSIONS)):
        changed = mend(codes, known, rows_of, where)
        restored[what] = sum(rows_of[spelt] for spelt in changed)
        codes |= changed
    return Spelling(codes, {what: number for what, number in restored.items() if number})


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


def _with_zeros(
    codes: Mapping[Spelt, tuple[str, str]], known: Known, rows_of: Mapping[Spelt, int], where: str
) -> dict[Spelt, tuple[str, str]]:
    """Give back the leading zeros that a column of numbers has lost."""
    lost, twofold, kept = {}, 0, 0
    for spelt, (version, code) in codes.items():
        if not code.isdecimal():
            continue
        longest = 5 if version == "9" else 7  # of ICD-10, only codes of procedures are all digits
        padded = [("0" * n + code) for n in range(1, longest - len(code) + 1) if known(version, "0" * n + code)]
        if known(version, code):
            twofold += rows_of[spelt] * bool(padded)
            kept += rows_of[spelt] * code.startswith("0")
        elif padded:
            lost[spelt] = padded
    num_lost = sum(rows_of[spelt] for spelt in lost)
    several = sum(rows_of[spelt] for spelt, padded in lost.items() if len(padded) > 1)
    if several or (twofold and num_lost > FEW * (num_lost + kept)):
        raise ValueError(
            f"{where}: {num_lost:,} codes are in no table but would be with a zero before them, so the column was"
            f" opened as numbers, and {twofold + several:,} others have two readings: export it again, with the column"
            " read as text"
        )
    return {spelt: (spelt[0], padded[0]) for spelt, padded in lost.items()}


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
