"""Where the mentions of a corpus lie in its text, whatever its offsets count.

Offsets count characters from 0, end excluded: the plain reading.  A corpus that writes a mention's characters beside
its offsets says by itself whether that is its reading: where another one (readings.py) fits all that the plain one fits
in a document, and more, and no other fits as many at other places, the document is read so, and counted.  A corpus
that writes none is read otherwise only where that puts every mention of a document between words and the plain reading
puts two or more into them; offsets that are merely shifted are not looked for there.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ckd_dist.notes.document import in_order
from ckd_dist.notes.note import Mention
from ckd_dist.notes.readings import readings_of

OFFSETS = "offsets "  # begins the name of a count: documents that were read by another reading
Pieces = tuple[tuple[int, int], ...]  # start and end of each


class Claim(NamedTuple):
    """A mention as its corpus says it."""

    pieces: Pieces  # as the corpus counts
    type: str
    written: str | None = None  # its characters, pieces joined by blanks; none: the corpus does not say


class Place(NamedTuple):
    """A claim's pieces in characters of the text, and whether the text bears it out."""

    pieces: Pieces
    fits: bool


def mentions_of(
    text: str, claims: Sequence[Claim], counts: Counter[str], joint: int | None = None
) -> tuple[Mention, ...]:
    """Return the mentions of a document, in order; count those in pieces, and those that are not in its text.

    joint: the character that joins two parts of the text, where corpora differ in how they join them.
    """
    places = [Place(claim.pieces, _fits(text, claim.pieces, claim.written, _exactly)) for claim in claims]
    if not all(place.fits for place in places) and (
        found := _read_otherwise(text, claims, places, joint, _exactly)
        or _read_otherwise(text, claims, places, joint, _loosely)
    ):
        name, places = found
        counts[OFFSETS + name] += 1
    mentions = []
    for claim, place in zip(claims, places, strict=True):
        if len(place.pieces) > 1 and any(text[a:b].strip() or a > b for (_, a), (b, _) in pairwise(place.pieces)):
            counts["discontinuous"] += 1
        elif place.fits or (claim.written is None and _is_inside(text, place.pieces)):
            mentions.append(Mention(place.pieces[0][0], place.pieces[-1][1], claim.type))
        else:
            counts["out_of_text"] += 1
    return in_order(mentions)


def _read_otherwise(
    text: str, claims: Sequence[Claim], plain: Sequence[Place], joint: int | None, alike: Callable[[str], str]
) -> tuple[str, list[Place]] | None:
    """Return the reading that fits best, by its name, and its places; None where none fits better, or two differ."""
    unwritten = any(claim.written is None for claim in claims)
    if unwritten and sum(not place.fits for place in plain) < 2:
        return None
    most = len(claims) if unwritten else 1 + sum(place.fits for place in plain)
    best: dict[tuple[Place, ...], str] = {}
    for reading in readings_of(text, joint):
        if unwritten and reading.shift != (0, 0):
            continue
        places = []
        for claim, before in zip(claims, plain, strict=True):
            spans = [reading.span(start, end) for start, end in claim.pieces]
            pieces = () if None in spans else tuple(spans)
            places.append(Place(pieces, _fits(text, pieces, claim.written, alike)))
            if before.fits and not places[-1].fits:
                break
        else:
            num_fits = sum(place.fits for place in places)
            if num_fits > most:
                most, best = num_fits, {}
            if num_fits == most and [place.pieces for place in places] != [place.pieces for place in plain]:
                best.setdefault(tuple(place if place.fits else Place((), False) for place in places), reading.name)
    if len(best) != 1:
        return None
    [(places, name)] = best.items()
    return name, list(places)


def _is_inside(text: str, pieces: Pieces) -> bool:
    return bool(pieces) and 0 <= pieces[0][0] < pieces[-1][1] <= len(text)


def _fits(text: str, pieces: Pieces, written: str | None, alike: Callable[[str], str]) -> bool:
    """Say whether the text has these characters there; where none are written, whether it has whole words there."""
    if not _is_inside(text, pieces):
        return False
    if written is not None:
        return alike(" ".join(text[start:end] for start, end in pieces)) == alike(written)
    return not any(
        text[start].isspace()
        or text[end - 1].isspace()
        or (start > 0 and text[start - 1 : start + 1].isalnum())
        or (end < len(text) and text[end - 1 : end + 1].isalnum())
        for start, end in pieces
    )


def _exactly(characters: str) -> str:
    """Return what two spellings of the same characters share, whatever their case and kind of blank."""
    return unicodedata.normalize("NFC", re.sub(r"\s", " ", characters)).casefold()


def _loosely(characters: str) -> str:
    """Return what two conversions of one text share: neither escapes, nor compatible forms, nor kinds of blanks."""
    plain = "".join(c for c in html.unescape(characters) if unicodedata.category(c) != "Cf")
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", plain)).casefold()
