"""Write one sample as text in CKD-EHR's wording, with a span for everything that is named.

A record is a tuple of sections and a section a tuple of items, so that a shorter text is the same record with fewer
items (`cut`), never a string cut in the middle.  The three sentences of the index visit, the question and the answer
are worded as published (github.com/209506702/CKD_EHR); age and sex, efficacies and earlier visits are ours, in
sentences of their own.  Nothing here reads `labels` but `answer`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

KINDS = ("visit", "section", "diagnosis", "medication", "procedure", "efficacy")  # a span's kind; nested in this order
QUESTION = "Determine that the patient has one or more of the following diseases at the next visit: "
SHORT_QUESTION = "Which diseases will the patient have at the next visit?"
ANSWER = "Disease that the patient may acquire: "
NONE = "None"  # as published, for no disease and for an empty section

OLDEST_AGE = 89  # a greater age identifies a person, and MIMIC shifts it by centuries


class Span(NamedTuple):
    """Characters [start, end) of a text.  `visit` 0 is the index visit, 1 the one before."""

    kind: str
    start: int
    end: int
    visit: int


@dataclass(frozen=True, slots=True)
class Section:
    """One sentence: `lead`, then items.  `items_have_spans` is False where the items are no part of the span map."""

    kind: str  # of its items
    visit: int
    lead: str
    items: tuple[str, ...]
    opening: str = ""  # written once, before the first section of an earlier visit
    items_have_spans: bool = True

    @property
    def joint(self) -> str:
        """What parts the items."""
        return "; " if self.kind == "efficacy" else ", "


Record = tuple[Section, ...]


class Page(NamedTuple):
    """A record laid out: its text, the columns of its span map, and what a budget needs to know."""

    text: str
    kinds: list[int]  # of every span, into KINDS
    starts: list[int]
    ends: list[int]
    visits: list[int]
    ends_of_items: list[int]  # characters, in reading order
    pieces: list[str]  # the text, cut where pieces.py may tokenize it apart

    @property
    def spans(self) -> list[Span]:
        """The span map, a span a row."""
        columns = zip(self.kinds, self.starts, self.ends, self.visits, strict=True)
        return [Span(KINDS[kind], start, end, visit) for kind, start, end, visit in columns]


def question(names: Sequence[str], form: str = "names") -> str:
    """Return the instruction: the published one, or the short one that leaves the names to the answer.

    The published one is joined as published: names contain semicolons, so a comma parts them.
    """
    return {"names": QUESTION + ", ".join(names), "short": SHORT_QUESTION}[form]


def answer(labels: Sequence[int], names: Sequence[str]) -> str:
    """Return the published answer sentence.

    >>> answer([1, 0, 1], ["Shock", "Pneumonia", "Septicemia"])
    'Disease that the patient may acquire: Shock, Septicemia'
    >>> answer([0, 0, 0], ["Shock", "Pneumonia", "Septicemia"])
    'Disease that the patient may acquire: None'
    """
    return ANSWER + (", ".join(name for name, bit in zip(names, labels, strict=True) if bit) or NONE)


Namer = Callable[[str], str]


def record_of(row: Mapping[str, Any], code: Namer, drug: Namer, efficacies: Sequence[str] = ()) -> Record:
    """Return a row of schema.SAMPLES as sections in reading order.

    code: names a diagnosis or procedure.  drug: names a medication.  efficacies: lines that follow the index visit.
    """
    patient = _age_and_sex(row["age"], row["sex"])
    sections = [Section("section", 0, "The patient is ", (patient,), items_have_spans=False)] if patient else []
    for kind, lead, items in _published_sentences(row, "is", code, drug):
        sections.append(Section(kind, 0, lead, items or (NONE,), items_have_spans=bool(items)))
    if efficacies:
        lead = "Treatments that were often followed by resolution: "
        sections.append(Section("efficacy", 0, lead, tuple(dict.fromkeys(efficacies))))
    for number, visit in enumerate(row["history"] or (), start=1):
        opening = f"At an earlier visit{_days_before(visit['days_before'])}, "
        for kind, lead, items in _published_sentences(visit, "was", code, drug):
            if items:
                sections.append(Section(kind, number, lead, items, opening))
    return tuple(sections)


def efficacy_line(treatment: str, disease: str, efficacy: float) -> str:
    """Return the item that names a treatment and its efficacy.

    >>> efficacy_line("furosemide", "Shock", 0.718)
    'furosemide for Shock (72%)'
    """
    return f"{treatment} for {disease} ({efficacy:.0%})"


def num_items(record: Record) -> int:
    """Count the items of all sections."""
    return sum(len(section.items) for section in record)


def order_of_cut(record: Record) -> list[int]:
    """Return the sections in the order in which a budget empties them, each from its last item to its first.

    Oldest visit first: procedures, medications, diagnoses.  Then the index visit: efficacies, medications, procedures,
    diagnoses, and age and sex last.
    """
    rank = {"efficacy": 0, "procedure": 2, "medication": 1, "diagnosis": 3, "section": 4}
    old = {"procedure": 0, "medication": 1, "diagnosis": 2}

    def key(number: int) -> tuple[int, int]:
        section = record[number]
        return (-section.visit, old[section.kind] if section.visit else rank[section.kind])

    return sorted(range(len(record)), key=key)


def cut(record: Record, num: int) -> Record:
    """Return the record without the first `num` items of the order of cut; an emptied section is left out."""
    kept = list(record)
    for number in order_of_cut(record):
        if num <= 0:
            break
        section = record[number]
        gone = min(num, len(section.items))
        kept[number] = replace(section, items=section.items[: len(section.items) - gone])
        num -= gone
    return tuple(section for section in kept if section.items)


def lay_out(record: Record) -> Page:
    """Return the record's text, a visit a paragraph and a section a sentence, with spans of visits, sections, items."""
    page = _PageWriter()
    for visit, sections in groupby(record, key=attrgetter("visit")):
        if page.at:
            page.write("\n")
        page.breaks.append(page.at)
        with page.span("visit", visit):
            for position, section in enumerate(sections):
                if position:
                    page.breaks.append(page.at)
                    page.write(" ")
                with page.span("section", visit):
                    opening = "" if position else section.opening
                    page.write(opening + section.lead[0].lower() + section.lead[1:] if opening else section.lead)
                    page.write_items(section)
    return page.page()


def _published_sentences(
    visit: Mapping[str, Any], verb: str, code: Namer, drug: Namer
) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the published three sentences of a visit: kind of item, lead, items."""
    return [
        ("diagnosis", f"The patient-acquired disease {verb} ", _distinct_names(visit["diagnoses"], code)),
        ("medication", "The patient had used the following medication: ", _distinct_names(visit["medications"], drug)),
        ("procedure", "The surgical operation performed by the patient: ", _distinct_names(visit["procedures"], code)),
    ]


def _distinct_names(codes: Sequence[str] | None, name_of: Namer) -> tuple[str, ...]:
    """Return names in order of their codes; two codes of one name give it once."""
    return tuple(dict.fromkeys(filter(None, map(name_of, codes or ()))))


def _age_and_sex(age: float | None, sex: str | None) -> str:
    """Return who the patient is; an empty text where neither age nor sex is known.

    >>> _age_and_sex(67.4, "F"), _age_and_sex(83, "M"), _age_and_sex(301, "F")
    ('a 67-year-old woman', 'an 83-year-old man', 'a woman older than 89')
    >>> _age_and_sex(None, "M"), _age_and_sex(5, None), _age_and_sex(None, None)
    ('a man', 'a 5-year-old person', '')
    """
    who = {"F": "woman", "M": "man"}.get(sex or "", "person")
    if age is None or math.isnan(age):
        return "" if who == "person" else f"a {who}"
    years = int(age)
    if years > OLDEST_AGE:
        return f"a {who} older than {OLDEST_AGE}"
    article = "an" if years in (8, 11, 18) or 80 <= years <= 89 else "a"
    return f"{article} {years}-year-old {who}"


def _days_before(days: float | None) -> str:
    """Return how long before the index visit an earlier one ended; an empty text where that is unknown.

    >>> _days_before(120.3), _days_before(1.2), _days_before(0.2), _days_before(None)
    (', 120 days before', ', 1 day before', ', less than a day before', '')
    """
    if days is None or math.isnan(days):
        return ""
    whole = round(days)
    if whole < 1:
        return ", less than a day before"
    return f", {whole} day{'s' if whole > 1 else ''} before"


class _PageWriter:
    """Writes a page and keeps the places of its spans."""

    def __init__(self) -> None:
        self.at = 0  # characters written
        self.parts: list[str] = []
        self.kinds: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.visits: list[int] = []
        self.ends_of_items: list[int] = []
        self.breaks: list[int] = []

    def page(self) -> Page:
        """Return what was written."""
        text = "".join(self.parts)
        pieces = [text[start:end] for start, end in pairwise((*self.breaks, len(text)))]
        return Page(text, self.kinds, self.starts, self.ends, self.visits, self.ends_of_items, pieces)

    def write(self, text: str) -> None:
        """Add text at the end."""
        self.parts.append(text)
        self.at += len(text)

    @contextmanager
    def span(self, kind: str, visit: int) -> Iterator[None]:
        """Put a span around what is written inside."""
        place = len(self.kinds)
        self._spans(kind, visit, [self.at], [self.at])
        yield
        self.ends[place] = self.at

    def write_items(self, section: Section) -> None:
        """Write the items and the full stop.  Every name passes through this loop, so it is written flat."""
        at, starts, ends = self.at, [], []
        for item in section.items:
            starts.append(at)
            at += len(item)
            ends.append(at)
            at += 2  # the joint
        self.breaks += [start - 1 for start in starts]  # the space before an item
        self.ends_of_items += ends
        if section.items_have_spans:
            self._spans(section.kind, section.visit, starts, ends)
        self.write(section.joint.join(section.items))
        self.write(".")

    def _spans(self, kind: str, visit: int, starts: list[int], ends: list[int]) -> None:
        """Keep spans of one kind and visit."""
        self.kinds += [KINDS.index(kind)] * len(starts)
        self.visits += [visit] * len(starts)
        self.starts += starts
        self.ends += ends
