"""What the tags of a corpus say: IOB1, IOB2, BIOES, BILOU, BMEWO and the ways in which they are written.

B-Disease, b_Disease and Disease:B are one tag; B and B- say no type.  Whether the place stands first or last is asked
of all tags of a corpus together, so a type that is one letter is not taken for a place.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

OUTSIDE = ("o", "0", "out", "outside", "o-o", "_", "-")  # in lower case
PLACES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S", "M": "I", "W": "S"}
FIRST, LAST = re.compile(r"([BIESLUMWbieslumw])(?:[-_:.|/](.*))?"), re.compile(r"(.*)[-_:.|/]([BIESLUMWbieslumw])")


class Tag(NamedTuple):
    """A token's place in a mention: B, I, E (ends it), S (is all of it) or O; and the mention's type, "" if unsaid."""

    place: str
    type: str = ""


O = Tag("O")  # noqa: E741  (its name in every scheme)


def tags_of(written: Iterable[str]) -> Mapping[str, Tag]:
    """Return what every written tag says; those that are none are absent.

    >>> tags_of(["O", "B-Disease", "i-Disease", "S", "noun"])["i-Disease"]
    Tag(place='I', type='Disease')
    """
    marks = {tag: tag.strip("\u200b\ufeff\u00ad \t") for tag in set(written)}
    outside = {tag: O for tag, mark in marks.items() if mark.lower() in OUTSIDE}
    inside = {tag: mark for tag, mark in marks.items() if tag not in outside}
    first = {tag: _tag(match[1], match[2]) for tag, mark in inside.items() if (match := FIRST.fullmatch(mark))}
    last = {tag: _tag(match[2], match[1]) for tag, mark in inside.items() if (match := LAST.fullmatch(mark))}
    type_first = len(last) == len(inside) > len(first) and {"B", "I"} & {tag.place for tag in last.values()}
    return outside | (last if type_first else first)


def _tag(place: str, kind: str | None) -> Tag:
    return Tag(PLACES[place.upper()], kind or "")
