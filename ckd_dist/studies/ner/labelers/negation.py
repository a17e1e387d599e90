"""What a sentence denies, by NegEx (Chapman et al. 2001): words that deny what follows or what precedes them.

    No fever or chills, but cough.      denied: fever, chills         Pneumonia was ruled out.      denied: pneumonia

A denial of what follows reaches to the end of the sentence, to a word such as "but", or to the next trigger: the paper
stops after five words, its later releases go on, because lists of what a patient denies are long.  A denial of what
precedes keeps the five words, since a sentence may begin with what is there ("fever and cough; three cultures were
negative").  Words that only look like a denial ("no change in", "not only") deny nothing.  The lists are the common
ones of the paper and its releases, kept short; `negspacy` has them too, but brings spaCy.  Possibility ("rule out",
"cannot exclude") and what happened to other people is no denial.
"""

import re
from collections.abc import Sequence

import numpy as np

from ckd_dist.notes.note import Mention, Note

RULES = 1  # raise it when a change of the code changes what is denied
WORDS_BEFORE = 5
TRIGGERS = {
    "before": "no|not|none|never|without|with no|neither|nor|absent|absence of|lack of|lacks|lacked|free of"
    "|resolution of|denies|denied|denying|deny|declines|declined|didn't|doesn't|fails to reveal|failed to reveal"
    "|negative for|unremarkable for|no evidence of|no sign of|no signs of|no history of|no complaints of|rules out"
    "|can rule out|ruled out for|ruled him out for|ruled her out for",
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
    "|reports|reported|admits to|endorses|positive for|has had|is now|does have|there is|there are",
}
KINDS = {term: kind for kind, terms in TRIGGERS.items() for term in terms.split("|")}
LONGEST_FIRST = "|".join(r"\s+".join(term.split()) for term in sorted(KINDS, key=len, reverse=True))
PATTERN = re.compile(rf"(?<!\w)(?:{LONGEST_FIRST})(?!\w)", re.IGNORECASE)


def affirmed(note: Note, mentions: Sequence[Mention]) -> list[Mention]:
    """Return the mentions that their sentence does not deny.  mentions: in order, without overlap, each with a word."""
    by_sentence: dict[int, list[Mention]] = {}
    for mention in mentions:
        by_sentence.setdefault(int(note.sentence_U[_unit_after(note, mention.start)]), []).append(mention)
    left: list[Mention] = []
    for sentence, inside in by_sentence.items():
        first, last = np.searchsorted(note.sentence_U, [sentence, sentence + 1])
        scopes = _scopes(note, int(note.start_U[first]), int(note.end_U[last - 1]), inside)
        left += [
            mention
            for mention in inside
            if not any(start <= mention.start and ends_after < mention.end <= end for start, end, ends_after in scopes)
        ]
    return left


def _scopes(note: Note, start: int, end: int, mentions: Sequence[Mention]) -> list[tuple[int, int, int]]:
    """Return denied parts of the sentence from start to end: from, to, and what a denied mention must end after.

    A trigger within a mention ("absence epilepsy", "gluten free diet") does not count.
    """
    triggers = [
        (KINDS[" ".join(match.group().lower().split())], *match.span())
        for match in PATTERN.finditer(note.text, start, end)
        if not any(match.start() < mention.end and mention.start < match.end() for mention in mentions)
    ]
    scopes, bound = [], start
    for place, (kind, begin, stop) in enumerate(triggers):
        if kind == "before":
            until = triggers[place + 1][1] if place + 1 < len(triggers) else end
            scopes.append((stop, until, stop))
        elif kind == "after":
            nearest = max(0, _unit_after(note, begin) - WORDS_BEFORE)
            scopes.append((bound, begin, int(note.start_U[nearest])))
        bound = stop
    return scopes


def _unit_after(note: Note, character: int) -> int:
    """Return the word that a character is in, or the next one."""
    return int(np.searchsorted(note.end_U, character, side="right"))
