"""One JSON object a line: {"name": .., "text": .., "subject": .., "mentions": [{"start": 0, "end": 4, "type": ..}]}.

`subject` may be absent; a document without `mentions` is not annotated, with [] it has none.  Offsets count
characters, as Python's do, not bytes nor UTF-16.  Other fields are passed over.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ckd_dist.notes.document import Corpus, Document, corpus_of, in_order
from ckd_dist.notes.files import find_files, lines
from ckd_dist.notes.note import Mention


def read_jsonl(path: Path) -> Corpus:
    """Read the files (.jsonl, .json, .gz or not) of a folder, or one file.

    A line that is not such an object is counted as malformed.  Raises ValueError where a file is damaged.
    """
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    for file in find_files(path, (".jsonl", ".ndjson", ".json")):
        for line in lines(file):
            if not line.strip():
                continue
            if (document := _document(line, file.split, counts)) is None:
                counts["malformed_lines"] += 1
            else:
                documents.append(document)
    return corpus_of(documents, counts)


def _document(line: str, split: str | None, counts: Counter[str]) -> Document | None:
    """Return the document of one line; None where the line is not one."""
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # refuses half characters: "\ud83d" alone
    except (ValueError, RecursionError):
        return None
    return document_of(row, split, counts)


def document_of(row: Any, split: str | None, counts: Counter[str]) -> Document | None:
    """Return the document of an object with the fields above; None where it is not one."""
    try:
        name, text, subject, mentions = (row.get(key) for key in ("name", "text", "subject", "mentions"))
        spans = None if mentions is None else [Mention(span["start"], span["end"], span["type"]) for span in mentions]
    except (AttributeError, KeyError, TypeError):
        return None
    if not isinstance(name, str | int) or not isinstance(text, str) or not isinstance(subject, str | int | None):
        return None
    if any(type(m.start) is not int or type(m.end) is not int or not isinstance(m.type, str) for m in spans or ()):
        return None
    subject = None if subject is None else str(subject)
    if spans is None:
        return Document(str(name), text, None, subject, split)
    inside = [mention for mention in spans if 0 <= mention.start < mention.end <= len(text)]
    counts["out_of_text"] += len(spans) - len(inside)
    return Document(str(name), text, in_order(inside), subject, split)
