"""Content of a stay -> the pieces of its discharge note: plain text, and names with the type of what they name.

Sentences (sentences.py) are drawn, their gaps filled with names of what the stay has; a name is misspelled now and
then.  Seven sections, and habits that differ from note to note: headings, lists, blanks.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ckd_dist.studies.ner.synthetic import sentences
from ckd_dist.studies.ner.synthetic.diseases import DISEASES, OTHER_DISEASES
from ckd_dist.studies.ner.synthetic.medications import MEDICATIONS
from ckd_dist.studies.ner.synthetic.names import Names, without_mark
from ckd_dist.studies.ner.synthetic.symptoms import SYMPTOMS

MISSPELLED = 0.05  # of names
SHORTNESS = 2.3  # 1: all names of a thing alike; above: those in front more often
MOST_LISTED = 5  # drugs in a list
NUM_TRAPS = 2  # in story and course; the end may have one more

ALL_DISEASES = [names for kinds in DISEASES.values() for names in kinds] + [names for _, names in OTHER_DISEASES]
UNEXPLAINED = ("fall", "pain", "fatigue", "insomnia", "constipation")  # where the stay has no disease
PRONOUNS = {"sex": ("man", "woman"), "he": ("he", "she"), "him": ("him", "her"), "his": ("his", "her")}
WORDS = {
    "side": ("left", "right", "L", "R"),
    "site": ("shoulder", "hip", "knee", "calf", "foot", "wrist", "hand", "neck", "flank", "thigh", "elbow", "ankle"),
}
NUMBERS = {  # lowest, highest, unit
    "few": (2, 9, 1),
    "sat": (90, 99, 1),
    "pressure": (100, 160, 1),
    "low": (50, 90, 1),
    "pulse": (55, 110, 1),
    "small": (21, 49, 0.1),
    "large": (76, 99, 0.1),
}


class Named(NamedTuple):
    """A piece of a note that is an entity."""

    type: str
    text: str


Piece = str | Named


class Problem(NamedTuple):
    """A disease that a visit treats: its names, symptoms and drugs."""

    names: Names
    symptoms: tuple[str, ...]
    drugs: tuple[str, ...]


@dataclass(frozen=True)
class Stay:
    """Content of the note of a visit."""

    age: int
    female: bool
    died: bool
    present: list[Problem]
    past: list[Names]  # diseases that the patient has had, the present ones among them if they are chronic
    home: list[str]  # drugs taken before
    usual: list[str]  # drugs of the stay that no disease asks for


def write_note(stay: Stay, rng: random.Random) -> list[Piece]:
    """Return a note in seven sections, in one of the hospital's habits."""
    mark, gap = rng.choice(("{}. ", "- ", ", ")), rng.choice((":\n", ": "))
    trap, *traps = rng.sample(sentences.TRAPS, NUM_TRAPS)

    def drawn(*kinds: Sequence[str], about: Problem | None = None) -> list[Piece]:
        lines = [_sentence(_possible(kind, stay, about, rng), stay, about, rng) for kind in kinds]
        return [piece for sentence in lines for piece in (*sentence, " ")][:-1]

    opening = sentences.OPENINGS if stay.past else sentences.HEALTHY_OPENINGS
    story = [opening, sentences.STORIES, sentences.DENIALS, rng.choice((sentences.ASIDES, sentences.STORIES)), [trap]]
    course = [drawn(sentences.TREATED if each.drugs else sentences.WATCHED, about=each) for each in stay.present]
    course += [drawn([line]) for line in traps] + [drawn(sentences.FILLERS)]
    rng.shuffle(course)
    ending = (sentences.DEATHS,) if stay.died else (sentences.ENDINGS, sentences.CLOSINGS)
    taken = list(dict.fromkeys([*stay.home, *(drug for each in stay.present for drug in each.drugs), *stay.usual]))
    sections = (
        drawn(sentences.COMPLAINTS),
        drawn(*story),
        _listed([[_called("disease", names, rng)] for names in stay.past], mark),
        _listed([_prescribed(drug, rng) for drug in stay.home[:MOST_LISTED]], mark),
        [piece for sentence in course for piece in (*sentence, " ")][:-1],
        _listed([] if stay.died else [_prescribed(drug, rng) for drug in taken[:MOST_LISTED]], mark),
        drawn(*ending),
    )
    headings = rng.choice(sentences.HEADINGS)
    return [piece for head, body in zip(headings, sections, strict=True) for piece in (head, gap, *body, "\n\n")][:-1]


def _listed(items: list[list[Piece]], mark: str) -> list[Piece]:
    """Return items below each other, numbered or with dashes, or one after the other."""
    if mark == ", ":
        return [*[piece for item in items for piece in (*item, mark)][:-1], "." if items else "None."]
    lines = ([("\n" if i else "") + mark.format(i + 1), *_capital(item)] for i, item in enumerate(items))
    return [piece for line in lines for piece in line] or ["None"]


def _prescribed(drug: str, rng: random.Random) -> list[Piece]:
    dose, names = MEDICATIONS[drug]
    return [_called("medication", names, rng), " " + dose]


def _called(kind: str, names: Names, rng: random.Random) -> Named:
    """Return one of the names, those in front more often, misspelled now and then."""
    name = without_mark(names[int(len(names) * rng.random() ** SHORTNESS)])
    name = re.sub(r"{(\w+)}", lambda gap: _value(gap[1], rng), name) if "{" in name else name
    return Named(kind, misspelled(name, rng) if rng.random() < MISSPELLED else name)


def _capital(pieces: list[Piece]) -> list[Piece]:
    """Return the pieces, the first with a capital."""
    first = pieces[0]
    if isinstance(first, Named):
        return [Named(first.type, first.text[0].upper() + first.text[1:]), *pieces[1:]]
    return [first[:1].upper() + first[1:], *pieces[1:]]


def _possible(templates: Sequence[str], stay: Stay, about: Problem | None, rng: random.Random) -> str:
    """Draw one of the sentences whose gaps this stay can fill."""
    problems = [about] if about else stay.present
    lacking = {
        kind
        for kind, there in (("past", stay.past), ("present", problems), ("drug", any(each.drugs for each in problems)))
        if not there
    }
    return rng.choice([template for template in templates if not lacking & {kind.lower() for kind in _gaps(template)}])


@lru_cache
def _gaps(template: str) -> list[str]:
    return re.findall(r"{(\w+)}", template)


def _sentence(template: str, stay: Stay, about: Problem | None, rng: random.Random) -> list[Piece]:
    """Return the template with its gaps filled: about one disease, its symptoms and one of its drugs."""
    if about is None and stay.present:
        wants_drug = "drug" in template.lower()
        about = rng.choice([each for each in stay.present if each.drugs or not wants_drug])
    drug = rng.choice(about.drugs) if about and about.drugs else ""
    pieces: list[Piece] = []
    for place, part in enumerate(re.split(r"{(\w+)}", template)):
        if place % 2 == 0:
            pieces.append(part)
            continue
        piece = _fill(part.lower(), stay, about, drug, rng)
        for _ in range(3):  # not "cough and cough"
            if piece not in pieces or isinstance(piece, str):
                break
            piece = _fill(part.lower(), stay, about, drug, rng)
        if part.isupper():
            piece = piece.upper()
        pieces += _capital([piece]) if part[0].isupper() else [piece]
    return [piece for piece in pieces if piece]


def _fill(kind: str, stay: Stay, about: Problem | None, drug: str, rng: random.Random) -> Piece:
    """Return what goes into a gap, in small letters."""
    match kind:
        case "present":
            return _called("disease", about.names, rng)
        case "past":
            return _called("disease", rng.choice(stay.past), rng)
        case "anything":
            return _called("disease", rng.choice(ALL_DISEASES), rng)
        case "symptom":
            return _called("symptom", SYMPTOMS[rng.choice(about.symptoms if about else UNEXPLAINED)], rng)
        case "other":
            there = {symptom for each in stay.present for symptom in each.symptoms}
            return _called("symptom", SYMPTOMS[rng.choice([name for name in SYMPTOMS if name not in there])], rng)
        case "drug":
            return _called("medication", MEDICATIONS[drug][1], rng)
        case "dose":
            return MEDICATIONS[drug][0]
        case "home":
            return _called("medication", MEDICATIONS[rng.choice(stay.home)][1], rng)
        case "allergen":
            return _called("medication", MEDICATIONS[rng.choice(list(MEDICATIONS))][1], rng)
        case "age":
            return str(min(stay.age, 89))
        case "sex" | "he" | "him" | "his":
            return PRONOUNS[kind][stay.female]
        case _:
            return _value(kind, rng)


def _value(kind: str, rng: random.Random) -> str:
    """Return a number, a side or a place of the body."""
    if kind in WORDS:
        return rng.choice(WORDS[kind])
    low, high, unit = NUMBERS[kind]
    return f"{rng.randint(low, high) * unit:g}"


def misspelled(name: str, rng: random.Random) -> str:
    """Return the name with a letter of a long word gone, doubled, or swapped; short names stay as they are."""
    places = [match for match in re.finditer(r"[a-z]{6,}", name)]
    if not places:
        return name
    word = rng.choice(places)
    i = rng.randrange(word.start() + 1, word.end() - 1)
    how = rng.randrange(3)
    middle = ("", name[i] * 2, name[i + 1] + name[i])[how]
    return name[:i] + middle + name[i + (2 if how == 2 else 1) :]
