"""What a sentence denies, by NegEx (Chapman et al. 2001): words that deny what follows or what precedes them.

    No fever or chills, but cough.      denied: fever, chills         Pneumonia was ruled out.      denied: pneumonia

A denial of what follows reaches to the end of the sentence, to a word such as "but", or to the next trigger: the paper
stops after five words, its later releases go on, because lists of what a patient denies are long.  A denial of what
precedes keeps the five words, since a sentence may begin with what is there ("fever and cough; three cultures were
negative").  Either ends with its line, unless that is wrapped: it ends open ("fever,"), or is long and the next goes on
in small letters.  What is said to be there behind a comma or a semicolon ("no fever; cough present") ends a denial,
but "no fever; cough" goes on.  A heading ("Negative: fever, cough") denies what follows.  What a checklist answers
("Fever: no, cough: yes") is read first, by checklists.py, and its words deny nothing else.

Words that only look like a denial ("no change in", "not only") deny nothing.  The lists are the common ones of the
paper and of its releases, kept short; `negspacy` has them too, but brings spaCy.  Possibility ("rule out", "cannot
exclude") and what happened to other people is no denial.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from ckd_dist.notes.note import Mention, Note
from ckd_dist.studies.ner.labelers.checklists import Answers, read_answers

RULES = 3  # raise it when a change of the code changes what is denied
WORDS_BEFORE = 5
WRAPPED = 40  # letters of a line that may be wrapped
GOES_ON = re.compile(r"(?:[,;:/?(&-]|\b(?:and|or|nor|with|of|in|the|any|for|to))\s*\Z", re.IGNORECASE)
COMES_AFTER = re.compile(r"(?:and|or|nor)\b|[,;/&]")
ALONE = ("no", "none", "nil", "absent", "neg", "negative", "yes", "positive", "present")  # answers, at a line's end
PARTED = re.compile(
    r"(?P<part>[,;])\s*(?:(?:and|also|now|he|she|pt|patient)\s+)*(?P<has>(?:has|have|having|positive)\s+)?\Z",
    re.IGNORECASE,
)
IS_THERE = re.compile(
    r"\s+(?:(?:is|are|was|were|(?:has|have)\s+been)\s+)?(?:present|noted|positive|yes)\b"
    r"(?!\s+to\b)",
    re.IGNORECASE,
)
HEADING = re.compile(r"\s*:")
TRIGGERS = {
    "before": "no|not|none|never|nil|without|w/o|with no|neither|nor|absent|absence of|lack of|lacks|lacked|free of"
    "|resolution of|denies|denied|denying|deny|declines|declined|didn't|doesn't|fails to reveal|failed to reveal"
    "|negative for|neg|neg for|negatives|unremarkable for|no evidence of|no sign of|no signs of|no history of"
    "|no complaints of|rules out|can rule out|ruled out for|ruled him out for|ruled her out for",
    "after": "ruled out|was ruled out|were ruled out|is ruled out|are ruled out|has been ruled out|have been ruled out"
    "|negative|was negative|were negative|is negative|are negative|was absent|were absent|is absent|are absent"
    "|was denied|were denied|is denied|was excluded|were excluded|unlikely|is unlikely|not present|not seen|not found"
    "|not detected|was not seen|were not seen|was not found|were not found|was not detected|were not detected|free"
    "|resolved|has resolved|have resolved",
    "neither": "no increase|no change|no changes|no significant change|no interval change|no further|no longer|no doubt"
    "|not only|not certain|not necessarily|not cause|not drain|not extend|not exclude|not excluded|not rule out"
    "|not ruled out|not be ruled out|not been ruled out|without difficulty|without further|with or without"
    "|gram negative",
    "stop": "but|however|nevertheless|yet|though|although|still|except|apart from|aside from|other than|secondary to"
    "|due to|because|because of|cause of|causes of|source of|which|who|presents with|presented with|complains of"
    "|reports|reported|admits to|endorses|positive for|pos for|pos|positives|has had|is now|does have|there is"
    "|there are",
    "affirming": "yes|positive|present",  # ends what a later word denies, and as a heading what an earlier one does
}
KINDS = {term: kind for kind, terms in TRIGGERS.items() for term in terms.split("|")}
LONGEST_FIRST = "|".join(r"\s+".join(term.split()) for term in sorted(KINDS, key=len, reverse=True))
PATTERN = re.compile(rf"(?<!\w)(?:{LONGEST_FIRST})(?!\w)", re.IGNORECASE)


def affirmed(note: Note, mentions: Sequence[Mention]) -> list[Mention]:
    """Return the mentions that their sentence does not deny.  mentions: in order, without overlap, each with a word."""
    answers = read_answers(note.text, mentions)
    by_stretch: dict[tuple[int, int], list[int]] = {}
    stretches = _stretches(note)
    starts = [start for start, _ in stretches]
    for number, mention in enumerate(mentions):
        first = int(note.start_U[_unit_after(note, mention.start)])
        by_stretch.setdefault(stretches[bisect_right(starts, first) - 1], []).append(number)
    denied = dict(answers.denied)
    for (start, end), numbers in by_stretch.items():
        scopes = _scopes(note, start, end, [mentions[number] for number in numbers], answers)
        begins = [first for first, *_ in scopes]
        for number in numbers:
            begin, stop, _ = mentions[number]
            near = bisect_right(begins, begin)  # of the scopes, one ahead and one back may hold a place
            denied.setdefault(number, any(after < stop <= last for _, last, after in scopes[max(0, near - 2) : near]))
    return [mention for number, mention in enumerate(mentions) if not denied[number]]


def _stretches(note: Note) -> list[tuple[int, int]]:
    """Return the parts of the text, in order, over which a denial may reach: sentences, cut where a line ends one."""
    firsts = np.flatnonzero(np.diff(note.sentence_U, prepend=-1))
    stretches = []
    for first, last in zip(firsts, [*(firsts[1:] - 1), len(note) - 1], strict=True):
        start, end = int(note.start_U[first]), int(note.end_U[last])
        broken = [match.span() for match in PATTERN.finditer(note.text, start, end) if "\n" in match[0]]
        for newline in re.compile(r"\n\s*").finditer(note.text, start, end):
            if any(first < newline.start() < last for first, last in broken):
                continue
            line = note.text[note.text.rfind("\n", 0, newline.start()) + 1 : newline.start()]
            if not _wrapped(line, note.text[newline.end() : newline.end() + 4]):
                stretches.append((start, newline.start()))
                start = newline.end()
        stretches.append((start, end))
    return stretches


def _wrapped(line: str, following: str) -> bool:
    """Say whether a line goes on in the next, which begins with the letters `following`."""
    if GOES_ON.search(line) or COMES_AFTER.match(following) or (len(line) >= WRAPPED and following[:1].islower()):
        return True
    last = [match for match in PATTERN.finditer(line) if match.end() == len(line.rstrip())]
    return any(match.group().lower() not in ALONE for match in last)  # a denial of what is to come


def _scopes(
    note: Note, start: int, end: int, mentions: Sequence[Mention], answers: Answers
) -> list[tuple[int, int, int]]:
    """Return denied parts of the stretch from start to end: from, to, and what a denied mention must end after.

    A trigger within a mention ("absence epilepsy", "gluten free diet") or an answer does not count.
    """
    mine = answers.taken[bisect_left(answers.taken, (start, 0)) : bisect_left(answers.taken, (end, 0))]
    taken = sorted([*((mention.start, mention.end) for mention in mentions), *mine])
    triggers = [("affirming", *place) for place in mine]
    for match in PATTERN.finditer(note.text, start, end):
        before = bisect_left(taken, (match.end(), 0)) - 1
        if before < 0 or taken[before][1] <= match.start():
            triggers.append((_kind(note.text, match), *match.span()))
    triggers += [
        ("stop", place, place) for place in _affirmed_places(note.text, mentions, sorted(triggers, key=_begin))
    ]
    triggers.sort(key=_begin)
    untils, until = [], end
    for kind, begin, _ in reversed(triggers):
        untils.append(until)
        until = until if kind == "affirming" else begin
    scopes, bound = [], start
    for (kind, begin, stop), until in zip(triggers, reversed(untils), strict=True):
        if kind == "before":
            scopes.append((stop, until, stop))
        elif kind == "after":
            nearest = max(0, _unit_after(note, begin) - WORDS_BEFORE)
            scopes.append((bound, begin, int(note.start_U[nearest])))
        bound = stop
    return scopes


def _begin(trigger: tuple[str, int, int]) -> int:
    return trigger[1]


def _affirmed_places(text: str, mentions: Sequence[Mention], triggers: Sequence[tuple[str, int, int]]) -> Iterator[int]:
    """Yield where a mention is said to be there, in a part of its own: "no fever; cough present".

    The second of its kind of comma goes on with a list: "no fever, chills, cough noted".
    """
    for mention in mentions:
        lead = max(0, mention.start - 40)
        parted = PARTED.search(text[lead : mention.start])
        if parted and (parted["has"] or IS_THERE.match(text, mention.end)):
            part = lead + parted.start()
            before = bisect_left(triggers, part, key=_begin) - 1
            if before >= 0 and text.rfind(parted["part"], triggers[before][2], part) < 0:
                yield mention.start


def _kind(text: str, match: re.Match[str]) -> str:
    """Return the kind of a trigger; as a heading it speaks of what follows."""
    kind = KINDS[" ".join(match.group().lower().split())]
    if HEADING.match(text, match.end()):
        return {"after": "before", "affirming": "stop"}.get(kind, kind)
    return kind


def _unit_after(note: Note, character: int) -> int:
    """Return the word that a character is in, or the next one."""
    return int(np.searchsorted(note.end_U, character, side="right"))
