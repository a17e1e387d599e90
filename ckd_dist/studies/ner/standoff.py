"""Write entities to files: JSON lines for programs, brat stand-off for people who correct them.

Both are written note by note, so a million notes take the memory of one.  A file is written beside its place and
renamed, so whoever finds it finds all of it; of a brat pair the .ann comes last.  JSON lines carry the confidence;
brat has no place for it but comments, so there it is left out.

The name of a note becomes a place under the folder that no other name has: "ward 3/note 7" stays as it is, "../x" and
whatever else a file system may not hold is written as %2E%2E and the like.  Left out: folders that hold `A` and `a` as
one file (the default of macOS and Windows), where names must differ by more than capitals.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ckd_dist.notes.note import Mention, Prediction

LONGEST = 200  # bytes of a file name; most file systems hold 255
BREAKS = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")  # what ends a field, or a line for str.splitlines
ESCAPED_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}  # those that JSON does not escape


def write_jsonl(path: Path, rows: Iterable[tuple[str, str, Sequence[Prediction]]]) -> int:
    """Write a line for every (name, text, found) as it comes; return how many.

    A line is {"name", "text", "entities": [{"start", "end", "type", "text", "score"}]}, offsets in characters.  Raises
    ValueError where an entity lies outside its note; then nothing is at `path` that was not there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    num_notes = 0
    with published(path) as file:
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


def write_brat(folder: Path, name: str, text: str, entities: Sequence[Prediction]) -> Path:
    """Write one note as NAME.txt and NAME.ann under `folder`; return where the .ann is.

    A line of the .ann: T1, tab, type and places, tab, words.  The words stay on one line, so an entity that goes over a
    line's end (or a tab) is written in pieces, as brat does it and checks it: `disease 0 5;6 10`.  Raises ValueError
    where an entity lies outside the note.
    """
    check(entities, text, "a note")
    place = folder / place_of(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    annotations = place.with_name(place.name + ".ann")
    with published(place.with_name(place.name + ".txt")) as file:
        file.write(encoded(text))
    with published(annotations) as file:
        for number, (mention, _) in enumerate(entities, 1):
            parts = pieces(text, mention.start, mention.end)
            places = ";".join(f"{start} {end}" for start, end in parts)
            words = " ".join(text[start:end] for start, end in parts)
            kind = re.sub(r"\s+", "_", mention.type)  # a space would end brat's type
            file.write(encoded(f"T{number}\t{kind} {places}\t{words}\n"))
    return annotations


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


@contextmanager
def published(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is at `path` once the block ends well, and leaves nothing behind where it does not."""
    temporary = path.with_name(f".{hashlib.sha256(path.name.encode()).hexdigest()[:16]}.writing")
    try:
        with open(temporary, "wb") as file:
            yield file  # no fsync: it would be most of the time of a small note, and all of it can be made again
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
