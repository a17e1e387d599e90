"""Zeros that a column of ICD codes has lost, before and behind, since a program opened it as numbers.

Before: 389 was 0389, or is the heading of hearing loss.  A column that was opened as numbers has hardly a code that
begins with a zero, and more than a slip of codes that are in no table but would be with a zero before them.  Headings
speak for it only where the column has no others: a column with 428 and 250, which no zero explains, holds categories on
purpose, and then 389 is one.  A code is restored where it has one reading and no valid code of the column (4109, which
may be 04109) has two; else the column is refused.  A slip of single rows is left, and counted as unknown.

Behind: what stands before a dot is complete, so 39.5 lacks a zero behind: 39.50; 3.9 lacks both: 03.90.  Of procedures
that is the one reading, since .x0 says "not otherwise specified" as the heading does.  Of diagnoses 250.0 may be a
heading, written on purpose; it is read as 250.00 where other codes prove that the column was opened as numbers (38.9
for 038.9, 486.0 for 486).  A column that has kept a zero behind its dot (250.00) was not: its 250.0 is left as it is.
"""

import re
from collections.abc import Mapping

from ckd_dist.ehr.codes import is_heading, is_known
from ckd_dist.schema import PROCEDURE

Spelt = tuple[str, str]  # version, code as the column has it
Codes = Mapping[Spelt, tuple[str, str]]  # version, code without a dot

LONGEST = {"9": 5, "10": 7}  # of ICD-10, only codes of procedures are all digits
SLIPS = 0.002  # share of a column's rows that are slips: of MIMIC-III's, opened as numbers, 3.5 % have lost a zero
PART = 0.05  # of the codes that kept their zero: fewer that have not are slips, too
MOST_OTHERS = 0.1  # headings that no zero explains, a heading that a zero does: more hold that they were meant


def with_zeros_before(codes: Codes, rows_of: Mapping[Spelt, int], prefix: str, where: str) -> dict[Spelt, tuple]:
    """Give back the leading zeros.  Raise ValueError where they were lost and a code has two readings."""
    lost: dict[Spelt, tuple[str, str]] = {}
    num = dict.fromkeys(("lost", "several", "either", "headings", "twofold", "kept"), 0)
    for spelt, (version, code) in codes.items():
        if not code.isdecimal() or version not in LONGEST:
            continue
        padded = [zeros for zeros in _padded(code, version) if is_known(f"{prefix}{version}//{zeros}")]
        if is_known(f"{prefix}{version}//{code}"):
            num["twofold"] += rows_of[spelt] * bool(padded)
            num["kept"] += rows_of[spelt] * code.startswith("0")
        elif is_heading(f"{prefix}{version}//{code}"):
            num["either" if padded else "headings"] += rows_of[spelt]
        elif padded:
            num["lost" if len(padded) == 1 else "several"] += rows_of[spelt]
            lost[spelt] = (version, padded[0])
    are_categories = num["headings"] > MOST_OTHERS * num["either"]
    suspects = num["lost"] + num["several"] + (0 if are_categories else num["either"])
    if suspects <= max(SLIPS * sum(rows_of.values()), PART * num["kept"]):
        return {}
    if several := num["several"] + num["either"] + num["twofold"]:
        raise ValueError(
            f"{where}: {suspects:,} codes are in no table but would be with a zero before them, so the column was"
            f" opened as numbers, and {several:,} codes have two readings, such as three digits of a heading: export"
            " it again, with the column read as text"
        )
    return lost


def _padded(code: str, version: str) -> list[str]:
    return ["0" * num + code for num in range(1, LONGEST[version] - len(code) + 1)]


def with_zeros_behind(
    codes: Codes, whole: Mapping[Spelt, str], prefix: str, before_dot: int, has_floats: bool
) -> dict[Spelt, tuple[str, str]]:
    """Give back the zeros behind a dot.  whole: the codes with their dots.  has_floats: the column ended numbers in .0.

    >>> codes, whole = {("9", "39.5"): ("9", "395")}, {("9", "39.5"): "39.5"}
    >>> with_zeros_behind(codes, whole, "PROCEDURE//ICD//", 2, has_floats=False)
    {('9', '39.5'): ('9', '3950')}
    """
    dotted = {spelt: each for spelt, each in whole.items() if spelt[0] == "9" and re.fullmatch(r"\d+\.\d+", each)}
    if any(re.fullmatch(r"0\d+\..*|.*\.\d0", each) for each in dotted.values()):
        return {}
    short = any(len(each.partition(".")[0]) < before_dot for each in dotted.values())
    if prefix != PROCEDURE and not (short or (has_floats and dotted)):
        return {}
    restored = {}
    for spelt in dotted:
        code = codes[spelt][1]
        longer = [code + zeros for zeros in ("0", "00") if is_known(f"{prefix}9//{code}{zeros}")]
        if longer and is_heading(f"{prefix}9//{code}"):
            restored[spelt] = ("9", longer[0])
    return restored
