"""Write entities to files: JSON lines for programs, brat stand-off for people who correct them.

Both are written note by note, so a million notes take the memory of one.  Whoever finds a file finds all of it; brat's
are written all together, and the .ann come last: two small files a note, each by itself on disk before the next, would
be most of the time.  JSON lines carry the confidence;
brat has no place for it but comments, so there it is left out.

The name of a note becomes a place under the folder that no other name has: "ward 3/note 7" stays as it is, "../x" and
whatever else a file system may not hold is written as %2E%2E and the like.  Left out: folders that hold `A` and `a` as
one file (the default of macOS and Windows), where names must differ by more than capitals.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ckd_dist.files import filling, replacing
from ckd_dist.notes.note import Mention, Prediction

LONGEST = 200  # bytes of a file name; most file systems hold 255
BREAKS = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")  # what ends a field, or a line for str.splitlines
ESCAPED_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}  # those that JSON does not escape


def write_jsonl(path: Path, rows: Iterable[tuple[str, str, Sequence[Prediction]]]) -> int:
    """Write a line for every (name, text, found) as it comes; return how many.

    A line is {"name", "text", "entities": [{"start", "end", "type", "text", "score"}]}, offsets in characters.  Raises
    ValueError where an entity lies outside its note; then nothing is at `path` that was not there before.
    """
    num_notes = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        for number, (name, text, found) in enumerate(rows, 1):
            check(found, text, f"note {number}")
            line = {"name": name, "text": text, "entities": [json_of(text, *prediction) for prediction in found]}
            # In JSON a line end can only be in a string; escaped, no reader takes it for the end of the object.
            file.write(encoded(json.dumps(line, ensure_ascii=False).translate(ESCAPED_ENDS) + "\n"))
            num_notes += 1
    return num_notes


def json_of(text: str, mention: Mention, score: float) -> dict[str, object]:
    """Return an entity as its line of JSON holds it."""
    start, end = int(mention.start), int(mention.end)
    return {
        "start": start,
        "end": end,
        "type": mention.type,
        "text": text[start:end],
        "score": float(f"{score:.4g}"),
    }


def write_brat(folder: Path, rows: Iterable[tuple[str, str, Sequence[Prediction]]]) -> None:
    """Write every (name, text, found) as NAME.txt and NAME.ann under `folder`.

    A line of the .ann: T1, tab, type and places, tab, words.  The words stay on one line, so an entity that goes over a
    line's end (or a tab) is written in pieces, as brat does it and checks it: `disease 0 5;6 10`.  Raises ValueError
    where an entity lies outside the note.
    """
    with filling(folder, last=lambda path: path.suffix == ".ann") as temporary:
        for name, text, found in rows:
            check(found, text, "a note")
            place = temporary / place_of(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(f"{place}.txt", "wb") as file:
                file.write(encoded(text))
            with open(f"{place}.ann", "wb") as file:
                for number, (mention, _) in enumerate(found, 1):
                    file.write(encoded(f"T{number}\t{brat_of(text, mention)}\n"))


def brat_of(text: str, mention: Mention) -> str:
    """Return type and pieces of an entity, a tab, and its words, as brat writes them."""
    parts = pieces(text, mention.start, mention.end)
    places = ";".join(f"{start} {end}" for start, end in parts)
    kind = re.sub(r"\s+", "_", mention.type)  # a space would end brat's type
    return f"{kind} {places}\t{' '.join(text[start:end] for start, end in parts)}"


def place_of(name: str) -> Path:
    """Return the relative path, without ending, that this name has and no other.

    >>> place_of("ward 3/note 7").as_posix(), place_of("../é?").as_posix()
    ('ward 3/note 7', '%2E%2E/é%3F')
    """
    *folders, last = name.split("/")
    # A folder "a.txt" could be in the way of the note "a".
    folders = [re.sub(r"\.(?=(txt|ann)$)", "%2E", safe(part)) for part in folders]
    return Path(*folders, safe(last))


def safe(part: str) -> str:
    """Return one step of a path: letters, digits, few marks, the rest percent-encoded; a long one ends in a hash."""
    if not part:
        return "%"
    kept = "".join(c if c.isalnum() or c in " _-.,+=()" else escaped(c) for c in part)
    kept = re.sub(r"^[. ]|[. ]$", lambda match: escaped(match[0]), kept)  # hidden on Unix, cut off on Windows
    if len(encoded(kept)) <= LONGEST:
        return kept
    start = encoded(kept)[: LONGEST - 34].decode("utf-8", "ignore")
    return f"{start}%-{hashlib.sha256(part.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def escaped(character: str) -> str:
    """Percent-encode a character."""
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the parts of a span that lie on one line each, and in one field.

    >>> pieces("chest\\npain", 0, 10)
    [(0, 5), (6, 10)]
    """
    breaks = [(match.start(), match.end()) for match in BREAKS.finditer(text, start, end)]
    cuts = [start, *(place for both in breaks for place in both), end]
    return [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True) if a < b]


def check(found: Sequence[Prediction], text: str, which: str) -> None:
    """Raise ValueError where an entity is not a piece of the note; the message does not quote it."""
    for mention, score in found:
        if not (0 <= mention.start < mention.end <= len(text) and text[mention.start : mention.end].strip()):
            raise ValueError(
                f"{which}: an entity from character {mention.start} to {mention.end} is not in its "
                f"{len(text)} characters, or is white space alone; offsets count characters, not bytes"
            )
        if not 0 < score <= 1:
            raise ValueError(f"{which}: an entity has the confidence {score}; it must be above 0 and at most 1")


def encoded(text: str) -> bytes:
    """Encode as UTF-8; half a character (a lone surrogate, from broken JSON) becomes one "?", so offsets stay true."""
    return text.encode("utf-8", "replace")
