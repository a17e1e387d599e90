"""What a checklist answers about the mentions in it: the answer belongs to what stands before it, or to its box.

    Fever: no, cough: yes      fever (-), cough (+)      [ ] fever [x] cough      Fever? No.      fever - denies

An answer is a word of ANSWERS behind a mark (a colon, a dash, a bracket, a column of a table ...) with nothing after it
in its field: "Cough: no fever" and "Cough - denies chills" are headings before a denial of what follows, and so no
answers; "Fever: no cough: yes" is two items, because the next one has a mark of its own.  Without a mark a word answers
only where the field ends after it ("fever absent, cough present").  A remark may stand behind an answer: in brackets,
or with a word that stands in no denial of what follows ("no since Monday", "no per wife").  A sign in brackets, a box
or a tick answers what stands before it where the line ends in one, else what stands after it, up to the next.  An
answer holds for a whole "nausea/vomiting" or "nausea and vomiting"; for a list with commas only where nothing stands
before the list.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ckd_dist.notes.note import Mention

ANSWERS = {  # word -> whether it denies
    **dict.fromkeys(("no", "n", "none", "not", "never", "nil", "neg", "negative", "absent", "absence", "false"), True),
    **dict.fromkeys(("0", "denies", "denied", "denying", "deny", "not present", "not seen", "not found"), True),
    **dict.fromkeys(("yes", "y", "pos", "positive", "present", "true", "1", "endorses", "endorsed", "reports"), False),
    **dict.fromkeys(("reported", "admits", "noted", "confirmed", "has", "does", "+"), False),
    **dict.fromkeys(("n/a", "not applicable", "no evidence", "no history", "no hx"), True),
    **dict.fromkeys(("does not", "doesn't", "does not have", "doesn't have", "has not", "hasn't"), True),
}
UNMARKED = ("no", "none", "neg", "negative", "absent", "denied", "denies", "yes", "pos", "positive", "present")
WORDS = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(ANSWERS, key=len, reverse=True))
AFTERTHOUGHT = (
    r"(?:\s+(?:at\s+this\s+time|reported|noted|present|seen|known|found|identified|today|currently|now|at\s+all|recently"
    r"|complaints?))*"
)
FIELD_END = r"(?=\s*(?:$|[,;!)\]}|\"'*<>\n]|\.(?!\d)|\t|\s{2}|\s(?:and|but|or)\b|\s[-–—]))"
# The cells of a table on a page; in bounds here and in MARK, so that a long run of one mark takes no time.
TAGS = r"(?:</?\w[^<>\n]{0,40}>\s{0,60}){1,9}"
MARK = rf"[ *_\"'\]]{{0,9}}(?:[:=?|→]|[ \t][-–—]|[-–—]|\.{{2,99}}|[(\[]|\t|[ ]{{2}}|_|{TAGS})[\s*_\"'<(\[]{{0,60}}"
MARKED = re.compile(
    rf"(?P<mark>{MARK})(?<![^\W_])(?P<word>{WORDS})(?![^\W_]|/|\s+(?:of|for)\b){AFTERTHOUGHT}", re.IGNORECASE
)
REMARK = re.compile(r"\s*(?:\([^()\n]{0,80}\)|\[[^\[\]\n]{0,80}\])")
SINCE = re.compile(  # "no" before one of these denies nothing that follows: "no since Monday"
    r"\s+(?:per|since|at|as|in|on|by|during|according|when|until|after|before|this|today|currently|now)(?![\w-])",
    re.IGNORECASE,
)
BEFORE_SINCE = ("no", "n", "none", "nil", "neg", "negative", "absent", "false", "n/a", "yes", "y", "pos", "positive")
BARE_WORD = rf"(?P<word>{'|'.join(UNMARKED)})(?!\w)"
BARE = re.compile(rf"[ ]{BARE_WORD}(?=\s*(?:$|[,;)\n]|\.(?!\d)))", re.IGNORECASE)
ALONE = re.compile(
    rf"(?:[,;]|[ \t\r]*\n)\s*{BARE_WORD}(?=[ \t\r.]*(?:\n|$))", re.IGNORECASE
)  # on its line, or in its cell
ENDS = re.compile(FIELD_END)
ITEM = re.compile(r"[ *_\"']*(?:[:=?|(\[]|\s[-–—]|[-–—]|\.{2,}|_)")
DENYING = r"\(\s*[-–−]\s*\)|\(\s+\)|\[\s*[-–−]?\s*\]|[☐□⬜✗✘✕✖❌]|(?<!\w)[-−]ve\b"
AFFIRMING = r"\(\s*\+\s*\)|\[\s*[+xX✓✔]\s*\]|\(\s*[xX]\s*\)|[☑☒■✓✔✅]|\+ve\b"
SIGN = re.compile(rf"(?P<no>{DENYING})|(?P<yes>{AFFIRMING})")
PLAIN_SIGN = re.compile(r"[ :=]*(?:(?P<no>[-–−])|(?P<yes>\++))\s*(?=[,;)\n.]|$)")
SIGN_LINE = rf"[ \t]*(?:{DENYING}|{AFFIRMING})[ \t\r]*"
LINE = re.compile(rf"{SIGN_LINE}\n[^\n]+|[^\n]+(?:\n{SIGN_LINE}(?=\n|\Z))?")  # with the sign that has its own line
PREFIX = re.compile(r"(?:^|(?<=[\s,;:(]))(?P<sign>[-+−–])(?P<gap> ?)$")
BLANK = re.compile(r"\s*[/&\\_•·|+]\s*|\s+(?:(?:\d{1,2}|[a-z])[.)]\s+)?")
BETWEEN = re.compile(r"[\s:=–-]*")
JOINED = re.compile(r"\s*(?:/|&|,?\s*\b(?:and|or|nor)\b)\s*")
LISTED = re.compile(r"\s*,\s*")
NOTHING_BEFORE = re.compile(r"(?:^|[.;:\n])[\s*•#\d)-]*$")
FIELD_START = re.compile(r"[,;.\n](?!\d)")
MOST_WORDS = 5  # between a mention and its mark


@dataclass
class Answers:
    """denied: number of a mention -> whether it is.  taken: characters of answers, which deny nothing else."""

    denied: dict[int, bool] = field(default_factory=dict)
    taken: list[tuple[int, int]] = field(default_factory=list)


def read_answers(text: str, mentions: Sequence[Mention]) -> Answers:
    """Return what checklists in a note say of its mentions, which are in order and without overlap."""
    answers = Answers()
    for first, denies, start, stop in sorted(_words(text, mentions), key=lambda each: each[2]):
        answers.taken.append((start, stop))
        if denies is not None:
            for number in _group(text, mentions, first, answers):
                answers.denied.setdefault(number, denies)
    starts = [mention.start for mention in mentions]
    for line in LINE.finditer(text):
        first, last = bisect_left(starts, line.start()), bisect_left(starts, line.end())
        if first < last:
            answers.denied |= dict(_signs(text, mentions, starts, line, range(first, last)))
            answers.denied |= dict(_plus_and_minus(text, mentions, line, range(first, last)))
    return answers


def _words(text: str, mentions: Sequence[Mention]) -> Iterator[tuple[int, bool | None, int, int]]:
    """Yield, for every answer in words: the mention before it, whether it denies that, and its place."""
    starts = {mention.start: number for number, mention in enumerate(mentions)}
    last_of = _last_before(mentions)
    for match in MARKED.finditer(text):
        number = last_of(match.start())
        if number is None or any(other.start < match.end("word") for other in mentions[number + 1 : number + 2]):
            continue
        between = text[mentions[number].end : match.start()]
        loose = any(mark in match["mark"] for mark in ":?=-–—")
        if FIELD_START.search(between) or len(between.split()) > (MOST_WORDS if loose else 0):
            continue
        word, end = " ".join(match["word"].lower().split()), match.end()
        remark = REMARK.match(text, end)
        if remark and all(other.start >= remark.end() for other in mentions[number + 1 : number + 2]):
            end = remark.end()
        since = word in BEFORE_SINCE and SINCE.match(text, end)
        if since or ENDS.match(text, end) or _begins_item(text, end, mentions, starts):
            yield number, ANSWERS[word], match.start("word"), end
    for number, mention in enumerate(mentions):
        if match := BARE.match(text, mention.end) or ALONE.match(text, mention.end):
            word = match["word"].lower()
            denies = None if word in ("positive", "present") else ANSWERS[word]  # "no fever present"
            yield number, denies, match.start("word"), match.end()
        elif match := PLAIN_SIGN.match(text, mention.end):
            yield number, bool(match["no"]), match.start(), match.end()


def _last_before(mentions: Sequence[Mention]):
    """Return a function from a character to the number of the last mention that ends before it; it must not fall."""
    number = -1

    def last(character: int) -> int | None:
        nonlocal number
        while number + 1 < len(mentions) and mentions[number + 1].end <= character:
            number += 1
        return number if number >= 0 else None

    return last


def _begins_item(text: str, at: int, mentions: Sequence[Mention], starts: dict[int, int]) -> bool:
    """Say whether the next item of a checklist begins here: what parts it, a mention, a mark."""
    blank = BLANK.match(text, at)
    return bool(blank) and blank.end() in starts and bool(ITEM.match(text, mentions[starts[blank.end()]].end))


def _group(text: str, mentions: Sequence[Mention], last: int, answers: Answers) -> list[int]:
    """Return the mentions that one answer is about: the last before it, and those that are joined to it."""
    group, listed = [last], None
    while (before := group[-1] - 1) >= 0 and before not in answers.denied:
        between = text[mentions[before].end : mentions[group[-1]].start]
        if not JOINED.fullmatch(between):
            if not LISTED.fullmatch(between):
                break
            listed = listed or len(group)
        group.append(before)
    if listed and not NOTHING_BEFORE.search(text, max(0, mentions[group[-1]].start - 20), mentions[group[-1]].start):
        return group[:listed]
    return group


def _signs(
    text: str, mentions: Sequence[Mention], starts: list[int], line: re.Match[str], mine: range
) -> Iterator[tuple[int, bool]]:
    """Yield the mentions of one line that boxes, ticks and signs in brackets answer, and whether they deny them."""
    signs = list(SIGN.finditer(text, *line.span()))
    if signs and starts[mine[-1]] >= signs[-1].end():  # before what it answers
        for sign, stop in zip(signs, [*(sign.start() for sign in signs[1:]), line.end()], strict=True):
            yield from (
                (n, bool(sign["no"])) for n in range(bisect_left(starts, sign.end()), bisect_left(starts, stop))
            )
        return
    for sign in signs:
        last = bisect_left(starts, sign.start()) - 1
        if last in mine and BETWEEN.fullmatch(text, mentions[last].end, max(mentions[last].end, sign.start())):
            yield from ((number, bool(sign["no"])) for number in _group(text, mentions, last, Answers()))


def _plus_and_minus(
    text: str, mentions: Sequence[Mention], line: re.Match[str], mine: range
) -> Iterator[tuple[int, bool]]:
    """Yield the mentions of one line behind a + or a -, where there is a +: else a - is a bullet or a dash.

    With a space between ("+ cough - fever") the first of the line has one too: else a + may mean "and".
    """
    signs: dict[str, dict[int, bool]] = {"": {}, " ": {}}
    for number in mine if "+" in line[0] else ():
        begin = mentions[number].start
        if sign := PREFIX.search(text[max(line.start(), begin - 3) : begin]):
            signs[sign["gap"]][number] = sign["sign"] != "+"
    for gap, denied in signs.items():
        if not all(denied.values()) and (not gap or mine[0] in denied):
            yield from denied.items()
