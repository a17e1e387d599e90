"""PubTator: `id|t|title`, `id|a|abstract`, then a line a mention: id, start, end, its characters, type, tabs between.

The text is title, one blank, abstract, which is what offsets count in (Dogan, Leaman and Lu 2014).  A mention whose
characters differ from the text's is left out and counted.  Where no document has a line of a mention the files are
raw text, and nothing counts as annotated.  Lines of relations (a word where a start should be) are passed over.
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ckd_dist.notes.claims import Claim, mentions_of
from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.files import SourceFile, find_files, lines
from ckd_dist.notes.note import Mention

LINE = re.compile(r"\s+\d+(?:\.0+)?\s+\d+(?:\.0+)?\s")  # of a mention, after its document's name
PLACE = re.compile(r"(\d+)(?:\.0+)?")  # 14.0 is 14: so a data frame writes numbers of a column with a gap
TEXT = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)


def read_pubtator(path: Path) -> Corpus:
    """Read the .txt and .pubtator files of a folder (.gz too), or one file.  Raises ValueError where one is damaged."""
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    for file in find_files(path, (".txt", ".pubtator")):
        documents += _read_file(file, counts)
    if not counts.pop("lines of mentions", 0):
        documents = [replace(document, mentions=None) for document in documents]
    return corpus_of(documents, counts)


def _read_file(file: SourceFile, counts: Counter[str]) -> list[Document]:
    documents: list[Document] = []
    name, title, abstract, rows = None, "", "", []

    def end() -> None:
        if name is not None:
            mentions = _mentions(title, abstract, rows, counts)
            documents.append(Document(name, f"{title} {abstract}", mentions, split=file.split))

    for line in lines(file):
        if match := TEXT.fullmatch(line):
            if match[2] == "t":
                end()
                name, title, abstract, rows = match[1], match[3], "", []
            elif match[1] == name:
                abstract = match[3]
            else:
                counts["malformed_lines"] += 1
        elif line.strip():
            row = line.split("\t")
            if name is not None and row[0] == name and len(row) >= 4:
                rows.append(row)
            else:
                counts["malformed_lines"] += 1
            counts["lines of mentions"] += name is not None and bool(LINE.match(line.removeprefix(name)))
    end()
    return documents


def _mentions(title: str, abstract: str, rows: list[list[str]], counts: Counter[str]) -> tuple[Mention, ...]:
    claims = []
    for _, start, end, *rest in rows:
        if not start[:1].isdigit():  # a relation: id, its name, two identifiers
            continue
        places = [PLACE.fullmatch(place.strip()) for place in (start, end)]
        if not all(places) or len(rest) < 2 or not rest[1]:
            counts["malformed_lines"] += 1
        else:
            claims.append(Claim(((int(places[0][1]), int(places[1][1])),), rest[1].strip(), rest[0]))
    return mentions_of(f"{title} {abstract}", claims, counts, joint=len(title))
