"""A model's answer back on the note: every entity it states gets one place or one reason why not, and is counted there.

Placed, as mentions:
    aligned        stands in its line as it is written, and nowhere else in that line unclaimed
    once_of_many   stands in its line more often than it was stated; the next unclaimed place in reading order is taken
    moved          stands unclaimed not in the line that was said, but in one other place only
    respelled      stands there in another spelling (see places.py), in one place only
Dropped:
    overlapping    a longer or earlier mention has all of its places
    surplus        stated more often than it stands
    ambiguous      only in other spellings or other lines, and in more places than it was stated
    invented       stands nowhere
    unknown_type   of no type that was asked for
    malformed      no entity: no text, no type, or an object that does not end
These ten add up to `entities`.  Beside them `broken_answers` counts answers that were not whole, well-formed JSON.

Sure things go first: exact before folded before edited, in the said line before elsewhere, and of each kind the longest
texts first, so that "pain" does not take the place of "chest pain".  An entity without a usable line is looked for in
the whole question.  LangExtract aligns repeated mentions by order alone (a dynamic programme over all of them); lines
make that unnecessary but for repeats within one line.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf

from ckd_dist.notes.note import Mention
from ckd_dist.studies.ner.labelers.answer import Claim, read
from ckd_dist.studies.ner.labelers.places import Page, Span, fold
from ckd_dist.studies.ner.labelers.question import Line

RULES = 1  # of this file, answer.py and places.py: raise it when an old answer would give other mentions
PLACED = ("aligned", "once_of_many", "moved", "respelled")
DROPPED = ("overlapping", "surplus", "ambiguous", "invented", "unknown_type", "malformed")
OUTCOMES = ("entities", *PLACED, *DROPPED)


def align(answer: str, text: str, lines: Sequence[Line], types: Sequence[str]) -> tuple[list[Mention], Counter[str]]:
    """Mentions in order, none overlapping, and the counts above.  Never raises, whatever the answer is.

    text: of the whole note.  lines: those of the question, at least one; mentions are places in `text`.
    """
    entries, whole = read(answer)
    counts = Counter(dict.fromkeys(OUTCOMES, 0))
    counts["entities"], counts["broken_answers"] = len(entries), int(not whole)
    spelling = {kind.casefold(): kind for kind in types}
    claims = []
    for entry in entries:
        if entry is None:
            counts["malformed"] += 1
        elif entry.type.casefold() not in spelling:
            counts["unknown_type"] += 1
        else:
            claims.append(entry._replace(type=spelling[entry.type.casefold()]))
    placed, outcomes = _place(claims, Page(text, lines[0].start, lines[-1].end), lines)
    counts.update(outcomes)
    return sorted(Mention(*span, claims[i].type) for i, span in placed.items()), counts


def _place(claims: Sequence[Claim], page: Page, lines: Sequence[Line]) -> tuple[dict[int, Span], list[str]]:
    """The place of each claim that has one, and what became of every claim."""
    placed: dict[int, Span] = {}
    outcome: dict[int, str] = {}
    scopes = [_scope(claim, lines) for claim in claims]
    longest_first = sorted(range(len(claims)), key=lambda i: -len(claims[i].text))
    for in_line in (True, False):
        for find in (page.exact, page.folded, page.edited):
            sure = in_line and find == page.exact
            waiting = Counter(_same(claims[i], scopes[i], in_line) for i in longest_first if i not in outcome)
            for i in longest_first:
                if i in outcome:
                    continue
                low, high = scopes[i] if in_line else (page.start, page.end)
                free = [s for s in find(claims[i].text) if low <= s.start < high and not _meets(s, placed)]
                if free and (sure or len(free) <= waiting[_same(claims[i], scopes[i], in_line)]):
                    placed[i] = _in_reading_order(free, i, placed)
                    outcome[i] = "aligned" if sure else "moved" if find == page.exact else "respelled"
                    waiting[_same(claims[i], scopes[i], in_line)] -= 1
                elif free:
                    outcome[i] = "ambiguous"
    for i, claim in enumerate(claims):
        if i not in outcome:
            outcome[i] = _why_not(claim, page, claims, placed)
        elif outcome[i] == "aligned":
            low, high = scopes[i]
            if any(low <= s.start < high and not _meets(s, placed) for s in page.exact(claim.text)):
                outcome[i] = "once_of_many"
    return placed, list(outcome.values())


def _scope(claim: Claim, lines: Sequence[Line]) -> Line:
    """The said line; the whole question where none, or none of its lines, was said."""
    known = claim.line is not None and 1 <= claim.line <= len(lines)
    return lines[claim.line - 1] if known else Line(lines[0].start, lines[-1].end)


def _same(claim: Claim, scope: Line, in_line: bool) -> tuple:
    """Claims that may share out the same places among themselves."""
    return fold(claim.text)[0], claim.type, scope if in_line else None


def _meets(span: Span, placed: dict[int, Span]) -> bool:
    return any(span.start < other.end and other.start < span.end for other in placed.values())


def _in_reading_order(free: list[Span], i: int, placed: dict[int, Span]) -> Span:
    """The first place after all that was stated before and before all that was stated after; else the first."""
    low = max((span.end for j, span in placed.items() if j < i), default=0)
    high = min((span.start for j, span in placed.items() if j > i), default=inf)
    return next((span for span in free if low <= span.start and span.end <= high), free[0])


def _why_not(claim: Claim, page: Page, claims: Sequence[Claim], placed: dict[int, Span]) -> str:
    spans = {*page.exact(claim.text), *page.folded(claim.text), *page.edited(claim.text)}
    owners = {
        (fold(claims[j].text)[0], claims[j].type) for j, s in placed.items() if any(_meets(s, {0: t}) for t in spans)
    }
    if not owners:
        return "invented"
    return "surplus" if owners == {(fold(claim.text)[0], claim.type)} else "overlapping"
