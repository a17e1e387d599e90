"""Write a page of notes with their entities marked, for a clinician to look at before anyone trusts the numbers.

One self-contained file: no script, nothing fetched, so it opens on a ward's computer and can be printed.  A type has
its colour (Okabe and Ito's, which colour-blind eyes tell apart), its line under the text, and letters after it, so
black and white will do.  The surer, the darker; the number appears where the pointer rests.  Where gold is given, what
was missed is framed and what is not gold bears a cross.  Control characters are shown as one � each.

One sweep over a note's text, so its time grows with the entities and their depth; of a very long note the beginning is
shown, and the page says how much is not.

The page holds patients' text: it is for those who may read the notes.  Left out: editing (that is what brat is for).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ckd_dist.files import write
from ckd_dist.notes.note import Mention, Prediction
from ckd_dist.report.page import render
from ckd_dist.studies.ner.standoff import check, encoded

MOST_NOTES = 50
MOST_CHARACTERS = 50_000  # of a note: five long discharge summaries; a browser is slow with a page of millions
COLOURS = ("230,159,0", "86,180,233", "0,158,115", "204,121,167", "240,228,66", "213,94,0", "0,114,178")
LINES = ("solid", "dashed", "dotted", "double")
PALEST, DARKEST = 0.15, 0.6  # opacity behind black letters
UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


class Marked(NamedTuple):
    """A note to be shown.  gold: what should have been found; None: not annotated."""

    name: str
    text: str
    predictions: Sequence[Prediction]
    gold: Sequence[Mention] | None = None


class Piece(NamedTuple):
    """Text between two places where a mention begins or ends, and how it is shown."""

    text: str = ""
    style: str = ""  # CSS classes
    shade: float = 0.0
    colour: str = ""
    hint: str = ""  # shown where the pointer rests
    ends: str = ""  # letters after it


def write_page(path: Path, notes: Sequence[Marked], types: Sequence[str], *, title: str) -> str:
    """Write at most MOST_NOTES of the notes, evenly chosen, as one HTML file; return what is not on it, or nothing.

    types: in the order of the legend; others that occur come after.  Raises ValueError where a mention lies
    outside its note.
    """
    whole = [notes[number] for number in evenly(len(notes), MOST_NOTES)]
    for number, note in enumerate(whole, 1):
        check(
            [*note.predictions, *(Prediction(mention, 1.0) for mention in note.gold or ())],
            note.text,
            f"shown note {number}",
        )
    chosen = list(map(beginning, whole))
    counts = Counter(mention.type for note in chosen for mention, _ in note.predictions)
    occurring = {m.type for note in chosen for m in (*(p.mention for p in note.predictions), *(note.gold or ()))}
    types = [*types, *sorted(occurring - set(types))]
    letters = dict(zip(types, abbreviations(types), strict=True))
    page = render(
        __package__,
        "highlight.html.jinja",
        title=title,
        choice=choice_in_words(len(chosen), len(notes)),
        legend=[
            {"type": kind, "count": counts[kind], "letters": letters[kind], **look_of(kind, types)} for kind in types
        ],
        with_gold=any(note.gold is not None for note in chosen),
        notes=[
            {
                "name": shown(note.name),
                "pieces": pieces_of(note, types, letters),
                "counts": counts_in_words(all_of_it),
                "rest": rest_in_words(all_of_it, note),
            }
            for all_of_it, note in zip(whole, chosen, strict=True)
        ],
    )
    write(path, encoded(page))
    not_shown = [choice_in_words(len(chosen), len(notes))] if len(chosen) < len(notes) else []
    if cut := sum(len(note.text) < len(all_of_it.text) for all_of_it, note in zip(whole, chosen, strict=True)):
        not_shown.append(f"Of {cut:,} long notes the first {MOST_CHARACTERS:,} characters or fewer are shown.")
    return " ".join(not_shown)


def beginning(note: Marked) -> Marked:
    """Return as much of a note as the page shows: at most MOST_CHARACTERS, no word and no entity cut in two."""
    if len(note.text) <= MOST_CHARACTERS:
        return note
    mentions = [*(mention for mention, _ in note.predictions), *(note.gold or ())]
    end = max(note.text.rfind(blank, 0, MOST_CHARACTERS) for blank in " \n") + 1 or MOST_CHARACTERS
    for mention in sorted(mentions, reverse=True):  # from the last on: a cut that moves back may meet an earlier one
        if mention.start < end < mention.end:
            end = mention.start
    end = end or MOST_CHARACTERS
    return Marked(
        note.name,
        note.text[:end],
        [prediction for prediction in note.predictions if prediction.mention.end <= end],
        None if note.gold is None else [mention for mention in note.gold if mention.end <= end],
    )


def rest_in_words(note: Marked, part: Marked) -> str:
    """Say how much of a note is not shown; nothing where all of it is."""
    characters, found = len(note.text) - len(part.text), len(note.predictions) - len(part.predictions)
    return f"The rest is left out: {characters:,} characters with {found:,} found." if characters else ""


def evenly(total: int, most: int) -> list[int]:
    """Return the numbers of at most `most` of `total` notes, at even steps from the first on.

    >>> evenly(3, 50), evenly(1000, 4)
    ([0, 1, 2], [0, 250, 500, 750])
    """
    num = min(total, most)
    return [place * total // num for place in range(num)]


def choice_in_words(num: int, total: int) -> str:
    """Say how many of the notes are shown.

    >>> choice_in_words(2, 2), choice_in_words(50, 1234)
    ('All 2 notes.', '50 of 1,234 notes, chosen at even steps; the others are not on this page.')
    """
    if num == total:
        return "The only note." if total == 1 else f"All {total:,} notes."
    return f"{num:,} of {total:,} notes, chosen at even steps; the others are not on this page."


def pieces_of(note: Marked, types: Sequence[str], letters: dict[str, str]) -> list[Piece]:
    """Return the whole text, cut where mentions begin and end."""
    text = shown(note.text)
    gold = None if note.gold is None else set(note.gold)
    missed = sorted((gold or set()) - {mention for mention, _ in note.predictions})
    missed = [Prediction(mention, 0.0) for mention in missed]
    places = (place for mention, _ in (*note.predictions, *missed) for place in (mention.start, mention.end))
    cuts = sorted({0, len(text), *places})
    result = []
    over_each, lacking_each = lying_over(note.predictions, cuts), lying_over(missed, cuts)
    for (start, end), over, lacking in zip(pairwise(cuts), over_each, lacking_each, strict=True):
        not_found = [mention for mention, _ in lacking]
        marked = piece_of(start, end, over, not_found, gold, types, letters) if over or lacking else Piece()
        result.append(marked._replace(text=text[start:end]))
    return result


def lying_over(predictions: Sequence[Prediction], cuts: Sequence[int]) -> Iterator[list[Prediction]]:
    """Yield what lies over each piece between two cuts, shortest first: what goes on, and what begins there."""
    begin_at: dict[int, list[Prediction]] = {}
    for prediction in predictions:
        begin_at.setdefault(prediction.mention.start, []).append(prediction)
    over: list[Prediction] = []
    for start in cuts[:-1]:
        over = [each for each in over if each.mention.end > start] + begin_at.get(start, [])
        over.sort(key=lambda prediction: shortest_first(prediction.mention))
        yield over


def piece_of(
    start: int,
    end: int,
    over: Sequence[Prediction],
    lacking: Sequence[Mention],
    gold: set[Mention] | None,
    types: Sequence[str],
    letters: dict[str, str],
) -> Piece:
    """Return how a part of the text under these mentions is marked; the first of them, the shortest, colours it."""
    mentions = [*(mention for mention, _ in over), *lacking]
    wrong = [mention for mention, _ in over if gold is not None and mention not in gold]
    kind = look_of(mentions[0].type, types)
    styles = {
        "found": over,
        "wrong": wrong,
        "missed": lacking,
        "first": any(mention.start == start for mention in mentions),
        "last": any(mention.end == end for mention in mentions),
        kind["line"]: True,
    }
    hints = [f"{m.type}, {confidence:.2f}{', not in gold' if m in wrong else ''}" for m, confidence in over]
    ends = [letters[m.type] + ("✗" if m in wrong else "?" if m in lacking else "") for m in mentions if m.end == end]
    return Piece(
        style=" ".join(style for style, given in styles.items() if given),
        shade=round(PALEST + (DARKEST - PALEST) * over[0].confidence, 2) if over else 0.0,
        colour=kind["colour"],
        hint="; ".join([*hints, *(f"{mention.type}, missed" for mention in lacking)]),
        ends=" ".join(ends),
    )


def shortest_first(mention: Mention) -> tuple[int, Mention]:
    """Return a mention's length and itself, to sort by."""
    return mention.end - mention.start, mention


def counts_in_words(note: Marked) -> str:
    """Return how many were found, right and missed: the line under the note's name."""
    found = f"{len(note.predictions):,} found"
    if note.gold is None:
        return found
    right = len({prediction.mention for prediction in note.predictions} & set(note.gold))
    return f"{found}, {right:,} of them as annotated; {len(set(note.gold)) - right:,} missed"


def look_of(kind: str, types: Sequence[str]) -> dict[str, str]:
    """Return colour and line of a type: 28 pairs, then they repeat."""
    place = list(types).index(kind)
    return {"colour": COLOURS[place % len(COLOURS)], "line": LINES[place % len(LINES)]}


def abbreviations(types: Sequence[str]) -> list[str]:
    """Return the shortest beginning of each type that no other has, in capitals.

    >>> abbreviations(["disease", "symptom", "drug", "dis"])
    ['DISE', 'S', 'DR', 'DIS']
    """
    result = []
    for kind in types:
        others = [other for other in types if other != kind]
        lengths = range(1, len(kind) + 1)
        own = (n for n in lengths if not any(other.upper().startswith(kind[:n].upper()) for other in others))
        result.append(kind[: next(own, len(kind))].upper())
    return result


def shown(text: str) -> str:
    """Replace what a browser would drop, refuse, or let turn the text around, by one � each."""
    return UNSHOWN.sub("\ufffd", text.replace("\r\n", " \n").replace("\r", "\n"))
