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
These ten add up to `entities`.  Beside them `broken_answers` counts answers that were not whole, well-formed JSON.

Sure places go first: exact before folded before edited, in the stated line before elsewhere, and of each kind the
longest texts first, so that "pain" does not take the place of "chest pain".  An entity without a usable line is looked
for in the whole question.  LangExtract aligns repeated mentions by order alone (a dynamic programme over all of them);
lines make that unnecessary but for repeats within one line.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf

from ckd_dist.notes.note import Mention
from ckd_dist.studies.ner.labelers.answer import ExtractedEntity, read_answer
from ckd_dist.studies.ner.labelers.places import Passage, Span, fold
from ckd_dist.studies.ner.labelers.question import Line

RULES = 1  # of this file, answer.py and places.py: raise it when an old answer would give other mentions
PLACED = ("aligned", "once_of_many", "moved", "respelled")
DROPPED = ("overlapping", "extra", "ambiguous", "invented", "unknown_type", "malformed")
OUTCOMES = ("entities", *PLACED, *DROPPED)


def align(answer: str, text: str, lines: Sequence[Line], types: Sequence[str]) -> tuple[list[Mention], Counter[str]]:
    """Return mentions in order, none overlapping, and the counts above.  Never raises, whatever the answer is.

    text: of the whole note.  lines: those of the question, at least one; mentions are places in `text`.
    """
    entries, whole = read_answer(answer)
    counts = Counter(dict.fromkeys(OUTCOMES, 0))
    counts["entities"], counts["broken_answers"] = len(entries), int(not whole)
    spelling = {kind.casefold(): kind for kind in types}
    entities = []
    for entry in entries:
        if entry is None:
            counts["malformed"] += 1
        elif entry.type.casefold() not in spelling:
            counts["unknown_type"] += 1
        else:
            entities.append(entry._replace(type=spelling[entry.type.casefold()]))
    placed, outcomes = _place(entities, Passage(text, lines[0].start, lines[-1].end), lines)
    counts.update(outcomes)
    return sorted(Mention(*span, entities[i].type) for i, span in placed.items()), counts


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
    return placed, list(outcome.values())


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
