"""Find words in a note: as they are written, in another spelling, or with a slip of the pen.

Three finders, each laxer than the one before, all at word borders only:

    exact    character by character; a run of white space equals a space, as in the question
    folded   letters and digits alone: case, hyphens, accents and Unicode forms may differ ("Covid 19" = "COVID-19"),
             but digits that were apart stay apart ("2.5" is not "25"), and of up to FOLD_CASE letters capitals count
             ("ALL" is not "all")
    edited   word by word, each equal or one insertion, loss, change or swap away; a word so mended has MENDED letters
             or more, no digit, and keeps its first letter ("hypotenison"; but "febrile" is not "afebrile", "type 1" not
             "type 2", and "hypotension", two letters from "hypertension", is never that)

The limits err on the side of not finding: what is missed is counted, what is wrongly found is a wrong label.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from rapidfuzz.distance import OSA

FOLD_CASE = 4
MENDED = 5
WORD = re.compile(r"[^\W_]+")


class Span(NamedTuple):
    """Characters start to end (one past the last) of the note."""

    start: int
    end: int


class Passage:
    """The part of a note that one question showed, made searchable."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text, self.start, self.end = text, start, end

    def exact(self, words: str) -> list[Span]:
        """Find where the words occur as they are written."""
        return list(self._whole_words(*self._flat, words))

    def folded(self, words: str) -> list[Span]:
        """Find where they occur but for case, hyphens, accents and the like; exact places are among them."""
        found = self._whole_words(*self._folded, fold(words)[0])
        return [span for span in found if self._capitals_agree(words, span)]

    def edited(self, words: str) -> list[Span]:
        """Find where each word is at most one letter away."""
        wanted = [fold(word)[0] for word in WORD.findall(words)]
        windows = (self._words[i : i + len(wanted)] for i in range(len(self._words) - len(wanted) + 1))
        near = (
            Span(window[0][1].start, window[-1][1].end)
            for window in windows
            if window and all(_near(want, got) for want, (got, _) in zip(wanted, window, strict=True))
        )
        return [span for span in near if self._whole(span) and self._capitals_agree(words, span)]

    @cached_property
    def _flat(self) -> tuple[str, list[int]]:
        """Return the text with every run of white space as one space, and the place of each character."""
        kept = [
            i
            for i in range(self.start, self.end)
            if not (self.text[i].isspace() and i > self.start and self.text[i - 1].isspace())
        ]
        return "".join(" " if self.text[i].isspace() else self.text[i] for i in kept), kept

    @cached_property
    def _folded(self) -> tuple[str, list[int]]:
        key, origin = fold(self.text[self.start : self.end])
        return key, [self.start + i for i in origin]

    @cached_property
    def _words(self) -> list[tuple[str, Span]]:
        found = WORD.finditer(self.text, self.start, self.end)
        return [(fold(word[0])[0], Span(word.start(), word.end())) for word in found]

    def _whole_words(self, text: str, origin: list[int], words: str) -> Iterator[Span]:
        at = text.find(words) if words else -1
        while at >= 0:
            last = at + len(words) - 1
            span = Span(origin[at], origin[last] + 1)
            half_letter = origin[at] in origin[max(at - 1, 0) : at] or origin[last] in origin[last + 1 : last + 2]
            if not half_letter and self._whole(span):
                yield span
            at = text.find(words, at + 1)

    def _whole(self, span: Span) -> bool:
        """Say whether no word continues beyond either end."""
        return not (
            (span.start > 0 and _of_word(self.text[span.start - 1]) and _of_word(self.text[span.start]))
            or (span.end < len(self.text) and _of_word(self.text[span.end - 1]) and _of_word(self.text[span.end]))
        )

    def _capitals_agree(self, words: str, span: Span) -> bool:
        found = self.text[span.start : span.end]
        return len(fold(words)[0]) > FOLD_CASE or words.isupper() == found.isupper()


def fold(text: str) -> tuple[str, list[int]]:
    """Return letters and digits in one spelling, and the place of each; a dot where something parts two digits.

    >>> fold("Covid-19, 2.5 mg")[0]
    'covid19·2·5mg'
    """
    key: list[str] = []
    origin: list[int] = []
    apart: int | None = None  # place of what parts the letters before from those to come
    for place, letter in enumerate(text):
        for part in unicodedata.normalize("NFKD", letter).casefold():
            if part.isalnum():
                if apart is not None and key and key[-1].isdigit() and part.isdigit():
                    key.append("·")
                    origin.append(apart)
                key.append(part)
                origin.append(place)
                apart = None
            elif not unicodedata.combining(part):
                apart = place
    return "".join(key), origin


def _near(want: str, got: str) -> bool:
    if want == got:
        return True
    mendable = min(len(want), len(got)) >= MENDED and want[0] == got[0] and want.isalpha() and got.isalpha()
    return mendable and OSA.distance(want, got, score_cutoff=1) <= 1


def _of_word(letter: str) -> bool:
    return letter.isalnum() or unicodedata.combining(letter) > 0
