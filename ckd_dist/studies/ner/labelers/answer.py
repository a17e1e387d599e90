"""A language model's answer as entries, whatever it looks like.

A whole answer is one JSON object with a list `entities`.  Models also wrap it in ```json, write their thoughts before
it or more text after it, forget the object around the list, or are cut off at their limit; then every complete entry is
recovered one by one and the answer counts as broken.  What cannot be read as an entry is kept as None, so that it can
be counted.  Left out: repairing quotes and commas, which would be guessing at what was meant.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

LIST = re.compile(r'"entities"\s*:\s*\[')
DECODER = json.JSONDecoder()


class ExtractedEntity(NamedTuple):
    """An entity as the model states it.  line: from 1; None where it is no number."""

    line: int | None
    text: str
    type: str


def read_answer(answer: str) -> tuple[list[ExtractedEntity | None], bool]:
    """Return the entries in order, None for each that is malformed, and whether the answer was whole.  Never raises.

    >>> read_answer('```json\\n{"entities": [{"line": 1, "text": "CKD", "type": "disease"}, {"line": 1, "te')
    ([ExtractedEntity(line=1, text='CKD', type='disease'), None], False)
    """
    text = answer.rpartition("</think>")[2].strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return [_entity(entry) for entry in _complete_entries(text)], False
    if isinstance(document, dict) and isinstance(document.get("entities"), list):
        return [_entity(entry) for entry in document["entities"]], True
    return [_entity(entry) for entry in (document if isinstance(document, list) else [document])], False


def _complete_entries(text: str) -> Iterator[Any]:
    """Yield the objects of the list one after the other, None for each that does not end or does not parse."""
    start = LIST.search(text)
    at = start.end() if start else 0
    while not (start and text[at:].lstrip().startswith("]")) and (at := text.find("{", at)) >= 0:
        try:
            entry, at = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            entry, at = None, at + 1
        if isinstance(entry, dict) and isinstance(entry.get("entities"), list):
            yield from entry["entities"]
        else:
            yield entry


def _entity(entry: Any) -> ExtractedEntity | None:
    if not isinstance(entry, dict):
        return None
    text, kind = entry.get("text"), entry.get("type")
    if not isinstance(text, str) or not isinstance(kind, str) or not any(letter.isalnum() for letter in text):
        return None
    return ExtractedEntity(_number(entry.get("line")), " ".join(text.split()).strip(" ,;:"), kind.strip())


def _number(line: Any) -> int | None:
    """Return a line's number: 3, 3.0 and "3" are 3; anything else is None."""
    try:
        return int(line) if isinstance(line, (int, float, str)) and not isinstance(line, bool) else None
    except (ValueError, OverflowError):
        return None
