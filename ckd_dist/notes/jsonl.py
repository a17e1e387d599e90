"""A JSON object a line, or a list of them: {"name": .., "text": .., "mentions": [{"start": 0, "end": 4, "type": ..}]}.

Which other shapes are read is said in spans.py.  A document without `mentions` is not annotated, with [] it has none.
Offsets count characters, as Python's do; where spans say their text, claims.py finds out what else they count.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.files import SourceFile, find_files, lines, read_text
from ckd_dist.notes.spans import NAMES, SPANS, SUBJECTS, WANTED, document_of, is_pair

# Fields that a message may name: any other may be a patient's name or number.
WORDS = "text data note notes content body report tokens tokenized_text documents meta"
KNOWN = (*NAMES, *SUBJECTS, *SPANS, *WORDS.split())


def read_jsonl(path: Path) -> Corpus:
    """Read the files (.jsonl, .ndjson, .json, .gz or not) of a folder, or one file.

    A line that is no document is counted as malformed.  Raises ValueError where a file is damaged, or no line is one.
    """
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    fields: dict[str, None] = {}
    for file in find_files(path, (".jsonl", ".ndjson", ".json")):
        for number, row in enumerate(_rows(file), 1):
            document = document_of(row, f"{file.stem}:{number}", file.split, counts)
            if document is None:
                counts["malformed_lines"] += 1
                fields |= dict.fromkeys(row) if isinstance(row, dict) else {}
            else:
                documents.append(document)
    if not documents and fields:
        found = ", ".join([field for field in fields if field.lower() in KNOWN][:8]) or "of no name that is known"
        raise ValueError(f"{path} holds no document: its objects have the fields {found}; a document has {WANTED}")
    return corpus_of(documents, counts)


def _rows(file: SourceFile) -> Iterator[Any]:
    """Yield the value of every line, or of every entry of a list that is the file; None where a line is none."""
    if file.ending == ".json" or next(lines(file), "").lstrip().startswith("["):
        whole = _value(read_text(file))
        if isinstance(whole, list) and not is_pair(whole):
            yield from whole
            return
        if isinstance(whole, dict):  # a list that has a name, or one document on many lines
            lists = [value for value in whole.values() if isinstance(value, list) and value and "text" not in whole]
            yield from lists[0] if len(lists) == 1 and "data" not in whole else [whole]
            return
    for line in lines(file):
        if line.strip():
            yield _value(line)


def _value(written: str) -> Any:
    try:
        value = json.loads(written)
        json.dumps(value, ensure_ascii=False).encode()  # refuses half characters: "\ud83d" alone
    except (ValueError, RecursionError):
        return None
    return value
