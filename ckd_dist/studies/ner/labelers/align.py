"""Align a model's answer with the note: every entity it states gets one place, or one reason why not, and is counted.

Placed, as mentions:
    aligned        occurs in its line as it is written, and nowhere else in that line where no mention is yet
    once_of_many   occurs in its line more often than it was stated; the next free place in reading order is taken
    moved          occurs not in the stated line, but in one other free place only
    respelled      occurs in another spelling (see places.py), in one place only
Dropped:
    overlapping    a longer or earlier mention has all of its places
    extra          stated more often than it occurs
    ambiguous      only in other spellings or other lines, and in more places than it was stated
    invented       occurs nowhere
    unknown_type   of no type that was asked for
    malformed      no entity: no text, no type, or an object that does not end
These ten add up to `entities`.  Beside them `broken_answers` counts answers that were not whole, well-formed JSON, and
`unread_answers` those of them from which nothing could be read.

Unknown is not "no".  Of a stated mention that has no place here the words that it may have meant are unknown: the
places of one that is ambiguous or of an unknown type; where there are none, the words of its line between the entries
around it, and the whole line where these leave none ("SOB" stated as shortness of breath is a mention all the same);
the words between the entries around one that is malformed, and those after the last entry of an answer whose end was
not seen; all of them where entries come in no reading order.

Sure places go first: exact before folded before edited, in the stated line before elsewhere, and of each kind the
longest texts first, so that "pain" does not take the place of "chest pain".  An entity without a usable line is looked
for in the whole question.  LangExtract aligns repeated mentions by order alone (a dynamic programme over all of them);
lines make that unnecessary but for repeats within one line.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from ckd_dist.notes.note import Mention
from ckd_dist.studies.ner.labelers.answer import ExtractedEntity, read_answer
from ckd_dist.studies.ner.labelers.places import Passage, Span, fold
from ckd_dist.studies.ner.labelers.question import Line

RULES = 3  # of this file, answer.py and places.py: raise it when an old answer would give other mentions
PLACED = ("aligned", "once_of_many", "moved", "respelled")
DROPPED = ("overlapping", "extra", "ambiguous", "invented", "unknown_type", "malformed")
OUTCOMES = ("entities", *PLACED, *DROPPED)


class Aligned(NamedTuple):
    """An answer's mentions in order, none overlapping; the parts of the note that it says nothing of; the counts.

    vague: those of the unknown parts where an entity may stand that was read, but has no place or no type here.
    """

    mentions: list[Mention]
    unknown: list[Span]
    counts: Counter[str]
    vague: list[Span]


def align(answer: str, text: str, lines: Sequence[Line], types: Sequence[str], cut: bool = False) -> Aligned:
    """Return an answer's mentions, what stays unknown, and the counts above.  Never raises, whatever the answer is.

    text: of the whole note.  lines: those of the question, at least one; mentions are places in `text`.  cut: whether
    the answer did not end by itself.
    """
    stated = read_answer(answer, types, cut)
    counts = Counter(dict.fromkeys(OUTCOMES, 0))
    counts["entities"], counts["broken_answers"] = len(stated.entries), int(not stated.whole)
    counts["unread_answers"] = int(stated.unread)
    spelling = {kind.casefold(): kind for kind in types}
    read = {number: entry for number, entry in enumerate(stated.entries) if entry is not None}
    known = {number: entry for number, entry in read.items() if entry.type.casefold() in spelling}
    counts["malformed"], counts["unknown_type"] = len(stated.entries) - len(read), len(read) - len(known)
    entities = [entry._replace(type=spelling[entry.type.casefold()]) for entry in known.values()]
    passage = Passage(text, lines[0].start, lines[-1].end)
    found, outcomes = _place(entities, passage, lines)
    counts.update(outcomes)
    placed = {number: found[i] for i, number in enumerate(known) if i in found}
    lost = {n: entities[i] for i, n in enumerate(known) if outcomes[i] in ("ambiguous", "invented")}
    lost |= {number: entry for number, entry in read.items() if number not in known}
    vague = [span for number, entity in lost.items() for span in _places(entity, number, placed, passage, lines)]
    gaps = [number for number in range(len(stated.entries)) if number not in read]
    gaps += [] if stated.ended else [len(stated.entries)]
    whole = Span(passage.start, passage.end)
    unknown = [*vague, *(_between(gap, placed, whole) for gap in gaps)]
    mentions = sorted(Mention(*span, entities[i].type) for i, span in found.items())
    return Aligned(mentions, unknown, counts, vague)


def _places(
    entity: ExtractedEntity, number: int, placed: dict[int, Span], passage: Passage, lines: Sequence[Line]
) -> list[Span]:
    """Return where an entity may stand: in its line, or else anywhere in the question, or else around its number."""
    line = Span(*_scope(entity, lines))
    spans = {*passage.exact(entity.text), *passage.folded(entity.text), *passage.edited(entity.text)}
    if found := [span for span in spans if line.start <= span.start < line.end] or list(spans):
        return found
    between = _between(number, placed, line)
    return [between if any(map(str.isalnum, passage.text[between.start : between.end])) else line]


def _between(number: int, placed: dict[int, Span], scope: Span) -> Span:
    """Return what of a scope lies between the places of the entries before and after a number; all without an order."""
    starts = [placed[each].start for each in sorted(placed)]
    if starts != sorted(starts):
        return scope
    start = max((span.end for each, span in placed.items() if each < number), default=scope.start)
    end = min((span.start for each, span in placed.items() if each > number), default=scope.end)
    return Span(max(start, scope.start), min(end, scope.end))


def _place(
    entities: Sequence[ExtractedEntity], passage: Passage, lines: Sequence[Line]
) -> tuple[dict[int, Span], list[str]]:
    """Return the place of each entity that has one, and the outcome of every entity."""
    placed: dict[int, Span] = {}
    outcome: dict[int, str] = {}
    scopes = [_scope(entity, lines) for entity in entities]
    longest_first = sorted(range(len(entities)), key=lambda i: -len(entities[i].text))
    for in_line in (True, False):
        for find in (passage.exact, passage.folded, passage.edited):
            sure = in_line and find == passage.exact
            waiting = Counter(_same(entities[i], scopes[i], in_line) for i in longest_first if i not in outcome)
            for i in longest_first:
                if i in outcome:
                    continue
                low, high = scopes[i] if in_line else (passage.start, passage.end)
                free = [s for s in find(entities[i].text) if low <= s.start < high and not _meets(s, placed)]
                if free and (sure or len(free) <= waiting[_same(entities[i], scopes[i], in_line)]):
                    placed[i] = _in_reading_order(free, i, placed)
                    outcome[i] = "aligned" if sure else "moved" if find == passage.exact else "respelled"
                    waiting[_same(entities[i], scopes[i], in_line)] -= 1
                elif free:
                    outcome[i] = "ambiguous"
    for i, entity in enumerate(entities):
        if i not in outcome:
            outcome[i] = _why_not(entity, passage, entities, placed)
        elif outcome[i] == "aligned":
            low, high = scopes[i]
            if any(low <= s.start < high and not _meets(s, placed) for s in passage.exact(entity.text)):
                outcome[i] = "once_of_many"
    return placed, [outcome[i] for i in range(len(entities))]


def _scope(entity: ExtractedEntity, lines: Sequence[Line]) -> Line:
    """Return the stated line; the whole question where none, or none of its lines, was stated."""
    known = entity.line is not None and 1 <= entity.line <= len(lines)
    return lines[entity.line - 1] if known else Line(lines[0].start, lines[-1].end)


def _same(entity: ExtractedEntity, scope: Line, in_line: bool) -> tuple:
    """Return what is equal for entities that may share the same places among themselves."""
    return fold(entity.text)[0], entity.type, scope if in_line else None


def _meets(span: Span, placed: dict[int, Span]) -> bool:
    return any(span.start < other.end and other.start < span.end for other in placed.values())


def _in_reading_order(free: list[Span], i: int, placed: dict[int, Span]) -> Span:
    """Return the first place after all that was stated before and before all that was stated after; else the first."""
    low = max((span.end for j, span in placed.items() if j < i), default=0)
    high = min((span.start for j, span in placed.items() if j > i), default=inf)
    return next((span for span in free if low <= span.start and span.end <= high), free[0])


def _why_not(
    entity: ExtractedEntity, passage: Passage, entities: Sequence[ExtractedEntity], placed: dict[int, Span]
) -> str:
    spans = {*passage.exact(entity.text), *passage.folded(entity.text), *passage.edited(entity.text)}
    owners = {
        (fold(entities[j].text)[0], entities[j].type)
        for j, s in placed.items()
        if any(_meets(s, {0: t}) for t in spans)
    }
    if not owners:
        return "invented"
    return "extra" if owners == {(fold(entity.text)[0], entity.type)} else "overlapping"
