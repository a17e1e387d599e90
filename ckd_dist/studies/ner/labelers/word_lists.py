"""Read a list of names that a person has written, or a spreadsheet has saved: fields between tabs, each a name.

A field that is quoted as a whole is the name within the quotes.  A line that begins with # is a comment, and so is what
follows " # ".  A first line that holds nothing but words for columns is a header; of its columns those of codes and the
like are no names.  Lines that have no tab but all the same number of commas (semicolons, bars) have two readings and
are refused, and so is a field whose quote is not closed.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ckd_dist.studies.ner.labelers.release_files import open_text

QUOTED = re.compile(r'\s*"((?:[^"]|"")*)"\s*')
COMMENT = re.compile(r"(?:^|\s)#(?:\s.*)?$")
NAME_HEADS = """
    name names term terms label labels synonym synonyms title string concept concept_name preferred_term preferred_name
    preferred_label display display_name description entity entities word words phrase phrases alias aliases
"""
OTHER_HEADS = """
    id ids code codes cui concept_id conceptid rxcui identifier uri iri source vocabulary type semantic_type count
    frequency rank no nr icd icd9 icd10 snomed sctid language status active
"""


def read_words(file: Path, kind: str, left_out: Counter[str]) -> Iterator[str]:
    """Yield every name of a list of type `kind`; count in `left_out` the lines that hold none."""
    with open_text(file) as opened:
        lines = [line.rstrip("\r\n") for line in opened]
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    named = [(number, line) for number, line in rows if not line.lstrip().startswith("#")]
    left_out["comment lines"] += len(rows) - len(named)
    _refuse_other_marks(file, [line for _, line in named])
    chosen = None
    for place, (number, line) in enumerate(named):
        fields = [_unquoted(part, file, number) for part in COMMENT.sub("", line).split("\t")]
        if place == 0 and (columns := _name_columns(fields, kind)):
            chosen = columns
            left_out["header lines"] += 1
            continue
        yield from fields if chosen is None else (fields[column] for column in chosen if column < len(fields))


def _unquoted(field: str, file: Path, number: int) -> str:
    """Return a field without the quotes around all of it."""
    if whole := QUOTED.fullmatch(field):
        return whole[1].replace('""', '"')
    if field.lstrip().startswith('"') and field.count('"') % 2:
        raise ValueError(f"{file} line {number}: a quote is not closed before the field ends")
    return field


def _name_columns(fields: list[str], kind: str) -> list[int]:
    """Return the columns of names where `fields` are a header; none where they are names."""
    words = ["_".join(field.casefold().split()) for field in fields]
    names = {*NAME_HEADS.split(), kind.casefold(), f"{kind.casefold()}s"}
    if not all(word in {"", *names, *OTHER_HEADS.split()} for word in words):
        return []
    return [column for column, word in enumerate(words) if word in names]


def _refuse_other_marks(file: Path, lines: list[str]) -> None:
    """Raise ValueError where fields seem to be parted by another mark than a tab."""
    if len(lines) < 2 or any("\t" in line for line in lines):
        return
    for mark, what in {",": "commas", ";": "semicolons", "|": "bars"}.items():
        numbers = {line.count(mark) for line in lines}
        if len(numbers) == 1 and 0 not in numbers:
            raise ValueError(
                f"{file}: every line has {numbers.pop()} {what} and no tab, so a line could be one name or several: "
                "part names by tabs, or write one a line"
            )
