"""A language model's answer as entries, whatever it looks like, and how far the answer can be relied on.

A whole answer is one JSON object with a list `entities`.  Models also wrap it in ```json, write their thoughts before
it or more text after it, forget the object around the list, list words under the name of their type, write it as
Python's own notation, or are cut off at their limit; what has one reading is read so, and counts as broken.  What
cannot be read as an entry is kept as None: a mention was stated there, nobody knows where, so the words around it are
unknown and not without a mention.  The same holds after the last entry of a list whose end was not seen.

Thoughts are no answer: what stands within marks of thinking, or after one that is never closed, is passed over; so are
two different lists in one answer, of which only the model knows which it means.  Left out: repairing quotes and commas,
which would be guessing at what was meant.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

LIST = re.compile(r'"entities"\s*:\s*\[')
LIST_END = re.compile(r"\s*,?\s*\]")
OPENING = re.compile(r"[\[{]")
DECODER = json.JSONDecoder()
THINKING = "think(?:ing)?|thoughts?|reason(?:ing)?|analysis|scratchpad"
THINKS = re.compile(
    rf"<(?:{THINKING})>|\[THINK\]|◁think▷|<\|channel\|>(?:analysis|commentary)[^<]*<\|message\|>", re.IGNORECASE
)
THOUGHT = re.compile(rf"</(?:{THINKING})>|\[/THINK\]|◁/think▷|<\|channel\|>final[^<]*<\|message\|>", re.IGNORECASE)
TEXT_KEYS = ("text", "mention", "word")
TYPE_KEYS = ("type", "label", "category", "entity_type", "entity_group")


class ExtractedEntity(NamedTuple):
    """An entity as the model states it.  line: from 1; None where it is no number."""

    line: int | None
    text: str
    type: str


class Stated(NamedTuple):
    """An answer as it was read."""

    entries: list[ExtractedEntity | None]  # in order, None for each that cannot be read
    whole: bool  # the answer was one well-formed JSON object with the list
    ended: bool  # the end of the list was seen, so there is nothing that was left unsaid

    @property
    def unread(self) -> bool:
        """Whether nothing at all could be read: no entry, and no empty list either."""
        return not any(self.entries) and not (self.ended and not self.entries)


def read_answer(answer: str, types: Sequence[str] = (), cut: bool = False) -> Stated:
    """Return what an answer states.  types: asked for.  cut: whether the model did not end by itself.  Never raises.

    >>> read_answer('```json\\n{"entities": [{"line": 1, "text": "CKD", "type": "disease"}, {"line": 1, "te')
    Stated(entries=[ExtractedEntity(line=1, text='CKD', type='disease'), None], whole=False, ended=False)
    """
    text = _without_thoughts(answer)
    if cut and not text.startswith(("{", "[", "```")):  # thoughts whose opening mark was part of the prompt, or prose
        return Stated([], whole=False, ended=False)
    try:
        document, is_json = _document(text)
    except ValueError:
        return _read_within(text, types, cut)
    entries = _list_of(document, types)
    if entries is None:
        entries = [] if document == [] else [document]
    whole = is_json and isinstance(document, dict) and isinstance(document.get("entities"), list)
    return Stated([_entity(entry) for entry in entries], whole, ended=not cut)


def _without_thoughts(answer: str) -> str:
    """Return what stands after the last thought, up to one that is never closed."""
    start = max((mark.end() for mark in THOUGHT.finditer(answer)), default=0)
    opened = THINKS.search(answer, start)
    return answer[start : opened.start() if opened else None].strip()


def _document(text: str) -> tuple[Any, bool]:
    """Return the value that the whole text is, and whether it is JSON; else Python's notation, which differs in quotes.

    Raises ValueError where it is neither.
    """
    try:
        return json.loads(text), True
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a backslash: it would quote the answer
            return ast.literal_eval(text), False
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("no document") from None


def _read_within(text: str, types: Sequence[str], cut: bool) -> Stated:
    """Read an answer that is more or less than one document."""
    whole_lists = [entries for value in _values(text) if (entries := _list_of(value, types)) is not None]
    if whole_lists and any(entries != whole_lists[0] for entries in whole_lists):
        return Stated([], whole=False, ended=False)
    if whole_lists:
        return Stated([_entity(entry) for entry in whole_lists[0]], whole=False, ended=not cut)
    start = LIST.search(text)
    at = start.end() if start else 0
    entries, at = _complete_entries(text, at)
    ended = bool(LIST_END.match(text, at)) if start else bool(entries)  # JSON lines have no end to be seen
    return Stated([_entity(entry) for entry in entries], whole=False, ended=ended and not cut)


def _values(text: str) -> Iterator[Any]:
    """Yield the JSON objects and lists in a text, outermost first and only those that end."""
    at = 0
    while opening := OPENING.search(text, at):
        try:
            value, at = DECODER.raw_decode(text, opening.start())
            yield value
        except RecursionError:
            return
        except ValueError:
            at = opening.end()


def _list_of(document: Any, types: Sequence[str]) -> list[Any] | None:
    """Return a document's list of entries where there is one reading; None where there is none.

    Beside {"entities": [...]} and a list of objects: {"symptom": ["fever"]}, and a single other name for the list.
    """
    if isinstance(document, list):
        return document if document and all(isinstance(entry, dict) for entry in document) else None
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("entities"), list):
        return document["entities"]
    lists = {name: value for name, value in document.items() if isinstance(value, list)}
    kinds = {kind.casefold(): kind for kind in types}
    of_type = {name: kinds.get(name.casefold(), kinds.get(name.casefold().removesuffix("s"))) for name in lists}
    if document and len(lists) == len(document) and all(of_type.values()):
        return [_typed(entry, of_type[name]) for name, entries in lists.items() for entry in entries]
    if len(lists) == 1 and (only := next(iter(lists.values()))) and all(isinstance(entry, dict) for entry in only):
        return only
    return None


def _typed(entry: Any, kind: str) -> Any:
    """Return an entry that stood under the name of its type as one that states its type itself."""
    if isinstance(entry, str):
        return {"text": entry, "type": kind}
    return {"type": kind, **entry} if isinstance(entry, dict) else entry


def _complete_entries(text: str, at: int) -> tuple[list[Any], int]:
    """Return the objects from `at` on, None for each that does not end or does not parse, and where the last ends."""
    entries = []
    while not LIST_END.match(text, at) and (begin := text.find("{", at)) >= 0:
        try:
            entry, at = DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError):
            entry, at = None, begin + 1
        entries.append(entry)
    return entries, at


def _entity(entry: Any) -> ExtractedEntity | None:
    if not isinstance(entry, dict):
        return None
    text, kind = (next((entry[key] for key in keys if key in entry), None) for keys in (TEXT_KEYS, TYPE_KEYS))
    if not isinstance(text, str) or not isinstance(kind, str) or not any(letter.isalnum() for letter in text):
        return None
    return ExtractedEntity(_number(entry.get("line")), " ".join(text.split()).strip(" ,;:"), kind.strip())


def _number(line: Any) -> int | None:
    """Return a line's number: 3, 3.0 and "3" are 3; anything else is None."""
    try:
        return int(line) if isinstance(line, (int, float, str)) and not isinstance(line, bool) else None
    except (ValueError, OverflowError):
        return None
