"""A document as an object of JSON, in the shapes in which tools write texts with spans.

    ours, and what `annotate` writes  {"name", "text", "mentions" or "entities": [{"start", "end", "type", "text"}]}
    spaCy                             ["...", {"entities": [[0, 4, "X"]]}];  {"text", "ents": [{"start", ...}]}
    Prodigy                           {"text", "spans": [{"start", "end", "label"}], "answer": "accept"}
    doccano                           {"text", "label": [[0, 4, "X"]]};  {"text", "entities": [{"start_offset", ...}]}
    Label Studio                      {"data": {"text"}, "annotations": [{"result": [{"value": {"start", "labels"}}]}]}
    brat's page, BigBIO               "entities": [["T1", "X", [[0, 4]]]];  [{"offsets": [[0, 4]], "text": ["..."]}]

name, id or document_id names a document, subject, subject_id or patient_id its subject.  A span's `text` says which
characters are meant: claims.py.  None of these fields: nobody annotated the document.  Spans with a score were found
by a tagger; they are read like others, and such documents are counted.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ckd_dist.notes.claims import Claim, mentions_of
from ckd_dist.notes.document import Document

WANTED = (
    "a text, and mentions, entities, spans or label, a list of {start, end, type} or [start, end, type]; name or id, "
    "and subject, if there are any"
)
NAMES = ("name", "id", "document_id", "doc_id", "note_id")
SUBJECTS = ("subject", "subject_id", "patient_id")
SPANS = ("mentions", "entities", "spans", "label", "labels", "annotations", "ents", "ner", "annotation", "tags")
LOOSE = ("label", "labels", "ner", "annotation", "tags")  # may also be said of the document, or of its tokens
STARTS, ENDS = ("start", "start_offset", "begin", "start_char"), ("end", "end_offset", "stop", "end_char")
TYPES = ("type", "label", "labels", "entity_type", "entity_group", "entity", "class")


def document_of(row: Any, name: str, split: str | None, counts: Counter[str]) -> Document | None:
    """Return the document of an object; None where it is not one.  name: where the object has none."""
    if is_pair(row):
        row = {"text": row[0], **row[1]}
    if not isinstance(row, dict):
        return None
    row = {**row["data"], **row} if isinstance(row.get("data"), dict) else row
    text, subject, own = row.get("text"), first(row, SUBJECTS), first(row, NAMES)
    if not isinstance(text, str) or not isinstance(own, str | int | None) or not isinstance(subject, str | int | None):
        return None
    try:
        claims = _claims(row)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None
    mentions = None if claims is None else mentions_of(text, claims, counts)
    counts["scored"] += bool(claims) and any(
        "score" in span for span in row.get("entities") or () if type(span) is dict
    )
    return Document(name if own is None else str(own), text, mentions, None if subject is None else str(subject), split)


def is_pair(row: Any) -> bool:
    """Say whether a value is a text and its annotations, as spaCy is trained with them."""
    return isinstance(row, list) and [type(part) for part in row] == [str, dict]


def first(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the first of these fields that has a value."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def records(rows: Any) -> Any:
    """Return a list of structures; older data sets of Hugging Face's have a structure of lists."""
    if isinstance(rows, Mapping):
        return [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    return rows


def _claims(row: Mapping[str, Any]) -> list[Claim] | None:
    """Return what the spans of a document claim; None where it has none of the fields."""
    spans = first(row, [name for name in SPANS if _may_be_spans(name, row.get(name))])
    if spans is None or row.get("answer") in ("reject", "ignore") or (not spans and "data" in row):
        return None
    if any(isinstance(span, dict) and "result" in span for span in spans):  # Label Studio: one each annotator
        [annotation] = [span for span in spans if not span.get("was_cancelled")]
        spans = annotation["result"]
    return [claim for span in records(spans) for claim in _of_span(span)]


def _may_be_spans(name: str, value: Any) -> bool:
    """Say whether a field holds spans: a label, or a list of labels, may also be of the document."""
    return not isinstance(value, str | int | float) and not (
        name in LOOSE and (not isinstance(value, list) or any(isinstance(one, str | int) for one in value))
    )


def _of_span(span: Any) -> Iterator[Claim]:
    """Yield what one span claims: a claim for each of its types.  Raises where it is none."""
    if isinstance(span, dict) and span.keys() == {"start", "end", "type"}:  # ours
        pieces, kinds, written = [(span["start"], span["end"])], [span["type"]], None
    elif isinstance(span, list | tuple):
        begin, end, kind = span
        pieces, kinds, written = [(begin, end)], [kind], None
        if isinstance(begin, str):  # "T1", type, pieces
            pieces, kinds = kind, [end]
    else:
        if span.keys() & {"value", "from_id"}:  # Label Studio's: a span, a choice or a relation
            span = span.get("value", {})
            if first(span, STARTS) is None:
                return
        pieces = span.get("offsets") or [(first(span, STARTS), first(span, ENDS))]
        kinds, written = first(span, TYPES), span.get("text")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        written = " ".join(written) if isinstance(written, list) else written
    places = tuple((_whole(start), _whole(end)) for start, end in pieces)
    if not places or any(type(place) is not int for piece in places for place in piece):
        raise TypeError("offsets are no numbers")
    for kind in kinds:
        if not isinstance(kind, str) or not isinstance(written, str | None):
            raise TypeError("type or text is no string")
        yield Claim(places, kind, written)


def _whole(number: Any) -> Any:
    """Return 4.0 as 4: so pandas writes numbers of a column with a gap."""
    return int(number) if isinstance(number, float) and number.is_integer() else number
