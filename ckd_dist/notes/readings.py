"""The ways in which corpora count characters: from an offset of theirs to a character of the text.

A reading is the width that every character has in the corpus' count (one of UNITS, changed by one of BREAKS), and where
counting begins and ends (ORIGINS).  The first of each is the plain one: characters from 0, end excluded.

    N characters of a text, N1 = N + 1 places between them
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Widths = Callable[[str, np.ndarray], np.ndarray]  # text, code points [N] -> widths [N]


@dataclass(frozen=True, eq=False)
class Reading:
    """How a corpus counts the characters of one text."""

    name: str  # as in "offsets in UTF-16 units"
    place_N1: np.ndarray  # int64, never falling: its number for every place between characters
    shift: tuple[int, int] = (0, 0)  # what is added to its starts and ends

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the characters from a start to an end of the corpus; None where no character begins or ends there."""
        start, end = start + self.shift[0], end + self.shift[1]
        first = int(np.searchsorted(self.place_N1, start, side="right")) - 1
        last = int(np.searchsorted(self.place_N1, end, side="left"))
        if not 0 <= first < last < len(self.place_N1):
            return None
        return (first, last) if (self.place_N1[first], self.place_N1[last]) == (start, end) else None


def readings_of(text: str, joint: int | None = None) -> Iterator[Reading]:
    """Yield every reading of a text but the plain one, the simpler first, of those that count alike the first.

    joint: the character that joins two parts of the text, where corpora differ in how they join them.
    """
    code_N = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    breaks = dict(BREAKS)
    if joint is not None:
        at_N = np.arange(len(text)) == joint
        breaks |= {
            "with nothing between title and abstract": lambda text, code_N: -1 * at_N,
            "with two characters between title and abstract": lambda text, code_N: 1 * at_N,
        }
    units = {name: widths(text, code_N) for name, widths in UNITS.items()}
    changes = {name: widths(text, code_N) for name, widths in breaks.items()}
    seen: dict[bytes, tuple[str, np.ndarray]] = {}
    for unit, width_N in units.items():
        for change, more_N in changes.items():
            place_N1 = np.concatenate([[0], np.cumsum(np.maximum(width_N + more_N, 0))])
            name = ", ".join(part for part in (unit, change) if part)
            seen.setdefault(place_N1.tobytes(), (name, place_N1))
    for origin, shift in ORIGINS.items():
        for name, place_N1 in seen.values():
            if name or origin:
                yield Reading(", ".join(part for part in (name, origin) if part), place_N1, shift)


def _ones(text: str, code_N: np.ndarray) -> np.ndarray:
    return np.ones(len(text), np.int64)


def _normalized(form: str) -> Widths:
    """Return the widths of characters in a Unicode normal form: a letter has those of its marks."""

    def widths(text: str, code_N: np.ndarray) -> np.ndarray:
        width_N = _ones(text, code_N)
        if unicodedata.is_normalized(form, text):
            return width_N
        letters = [place for place, letter in enumerate(text) if not (place and unicodedata.combining(letter))]
        for first, last in pairwise([*letters, len(text)]):
            width_N[first:last] = 0
            width_N[first] = len(unicodedata.normalize(form, text[first:last]))
        return width_N

    return widths


def _where(pattern: str) -> Widths:
    """Return -1 for every character that a pattern matches, else 0: characters that the corpus does not count."""
    compiled = re.compile(pattern)

    def widths(text: str, code_N: np.ndarray) -> np.ndarray:
        more_N = np.zeros(len(text), np.int64)
        for match in compiled.finditer(text):
            more_N[match.start() : match.end()] = -1
        return more_N

    return widths


def _tabs(size: int) -> Widths:
    def widths(text: str, code_N: np.ndarray) -> np.ndarray:
        width_N, column = _ones(text, code_N), 0
        for place in map(re.Match.start, re.finditer("[\t\r\n]", text)):
            before = text.rfind("\n", 0, place) + 1
            column = int(width_N[before:place].sum())
            width_N[place] = size - column % size if text[place] == "\t" else 1
        return width_N

    return widths


def _escaped(text: str, code_N: np.ndarray) -> np.ndarray:
    return 1 + 4 * (code_N == ord("&")) + 3 * (code_N == ord("<")) + 3 * (code_N == ord(">"))


UNITS: dict[str, Widths] = {
    "": _ones,
    "in UTF-16 units": lambda text, code_N: 1 + (code_N > 0xFFFF),
    "in bytes of UTF-8": lambda text, code_N: 1 + (code_N > 0x7F) + (code_N > 0x7FF) + (code_N > 0xFFFF),
    "after NFC": _normalized("NFC"),
    "after NFD": _normalized("NFD"),
    "after NFKC": _normalized("NFKC"),
    "after NFKD": _normalized("NFKD"),
    "with & < > escaped": _escaped,
    "with tabs as 8 columns": _tabs(8),
    "with tabs as 4 columns": _tabs(4),
}
BREAKS: dict[str, Widths] = {  # what is added to the widths
    "": lambda text, code_N: np.zeros(len(text), np.int64),
    "with CRLF as one": _where(r"\r(?=\n)"),
    "with line ends as two": lambda text, code_N: -_where(r"(?<!\r)\n|\r(?!\n)")(text, code_N),
    "without line ends": _where(r"[\r\n]+"),
    "with blanks in a row as one": _where(r"(?<=\s)\s+"),
    "without the blanks before the text": _where(r"\A\s+"),
    "without the mark at its start": _where("\\A\ufeff"),
    "without zero-width characters": _where("[\u00ad\u200b-\u200f\u2060\ufeff]+"),
    "with escapes such as &amp; as one": _where(r"(?<=&)(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z]\w*);"),
}
ORIGINS = {
    "": (0, 0),
    "from 1": (-1, -1),
    "from 1, end included": (-1, 0),
    "end included": (0, 1),
    "after a mark of 3 bytes": (-3, -3),
}
