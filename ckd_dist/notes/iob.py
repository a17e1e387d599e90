"""One token a line, its tag in the last column: CoNLL files in IOB1, IOB2, BIOES or BILOU, told apart by no option.

One rule reads them all: B, S and U begin a mention; I, E and L continue an open one of their type and else begin
one; E, L, S and U end it.  The text is joined from the tokens: one blank between tokens, a line break between the
sentences of a document, so it is not the text that was annotated.  -DOCSTART- begins a document; a file without one
has a document a sentence.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.files import SourceFile, find_files, lines
from ckd_dist.notes.note import Mention

DOCUMENT = "-DOCSTART-"
TAG = re.compile(r"([BIESLU])-(.+)")
Token = tuple[str, str]  # token, tag


def read_iob(path: Path) -> Corpus:
    """Read the files (.tsv, .iob, .conll, .txt, .bio, .gz or not) of a folder, or one file.

    A line that has no tag, or none that these schemes know, is counted as malformed, and its token stays, untagged.
    Raises ValueError where a file is damaged, or most of the lines are malformed.
    """
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    for file in find_files(path, (".tsv", ".iob", ".iob2", ".bio", ".conll", ".txt")):
        for number, sentences in enumerate(_documents(file, counts), 1):
            text, mentions = join(sentences)
            documents.append(Document(f"{file.stem}:{number}", text, mentions, split=file.split))
    num_lines = counts.pop("tokens", 0)
    if 2 * counts["malformed_lines"] > num_lines:
        raise ValueError(
            f"{path}: {counts['malformed_lines']} of {num_lines} lines end in no tag such as O or B-Disease: is it iob?"
        )
    return corpus_of(documents, counts)


def _documents(file: SourceFile, counts: Counter[str]) -> Iterator[list[list[Token]]]:
    """Yield the sentences of each document."""
    marked, sentences = False, []
    for sentence in _sentences(file, counts):
        if sentence is None or not marked:
            if sentences:
                yield sentences
            marked, sentences = marked or sentence is None, []
        if sentence is not None:
            sentences.append(sentence)
    if sentences:
        yield sentences


def _sentences(file: SourceFile, counts: Counter[str]) -> Iterator[list[Token] | None]:
    """Yield sentences; None where a document begins."""
    sentence: list[Token] = []
    for line in lines(file):
        begins = line.startswith(DOCUMENT)
        if (begins or not line.strip()) and sentence:
            yield sentence
            sentence = []
        if begins:
            yield None
        elif line.strip():
            counts["tokens"] += 1
            token, tag = _token(line)
            if tag != "O" and not TAG.fullmatch(tag):
                counts["malformed_lines"] += 1
                tag = "O"
            if token:
                sentence.append((token, tag))
    if sentence:
        yield sentence


def _token(line: str) -> Token:
    """Return token and tag; an empty tag where there is none."""
    columns = line.split("\t") if "\t" in line else line.split()
    return columns[0].strip(), columns[-1].strip() if len(columns) > 1 else ""


def join(sentences: list[list[Token]]) -> tuple[str, tuple[Mention, ...]]:
    """Return the text of a document, and the mentions that its tags mark."""
    text, mentions = "", []
    for sentence in sentences:
        open_type = None  # of the mention that the next token may continue
        for index, (token, tag) in enumerate(sentence):
            text += (" " if index else "\n") if text else ""
            start, text = len(text), text + token
            place, kind = TAG.fullmatch(tag).groups() if tag != "O" else ("O", None)
            if kind and place in "IEL" and kind == open_type:
                mentions[-1] = mentions[-1]._replace(end=len(text))
            elif kind:
                mentions.append(Mention(start, len(text), kind))
            open_type = kind if place in "BI" else None
    return text, tuple(mentions)
