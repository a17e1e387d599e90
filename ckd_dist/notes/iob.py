"""One token a line, its tag beside it: CoNLL files in the schemes of tags.py, told apart by no option.

One rule reads all schemes: B and S begin a mention; I and E continue an open one of their type, or where they say none,
and else begin one; E and S end it.  The text is joined from the tokens: one blank between tokens, a line break between
the sentences of a document, so it is not the text that was annotated.  -DOCSTART- begins a document; a file without one
has a document a sentence.  The tag stands in the last column, or in the last that holds tags alone where that does not;
the token in the first of the others that is no number.  Comments (# id 12) and a line of column names are passed over.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.files import SourceFile, find_files, lines
from ckd_dist.notes.note import Mention
from ckd_dist.notes.tags import O, Tag, tags_of

DOCUMENT = "-DOCSTART-"
ENDINGS = (".tsv", ".iob", ".iob2", ".bio", ".conll", ".txt")
COLUMN = re.compile(r"(?i)(?:ner|bio|iob2?|gold|entity)?[ _-]?(?:tags?|labels?|ner|bio|iob2?|entity|entities)")  # named
MOST = 1 / 20  # share of the tagged lines that may be malformed
Row = list[str]  # columns of a line
Token = tuple[str, Tag]


@dataclass(frozen=True)
class Columns:
    """Where the lines of a corpus hold token and tag, and what its tags say."""

    token: int
    tag: int
    tags: dict[str, Tag]

    def read(self, row: Row) -> tuple[str, Tag | None]:
        """Return token and tag; None where the line has no tag, or none that is known."""
        tag = self.tags.get(row[self.tag]) if len(row) > max(1, self.tag) else None
        return row[self.token if len(row) > self.token else 0], tag


def read_iob(path: Path) -> Corpus:
    """Read the files (.tsv, .iob, .conll, .txt, .bio, .gz or not) of a folder, or one file.

    A line that has no tag, or none that these schemes know, is counted as malformed, and its token stays, untagged.
    Raises ValueError where a file is damaged, has no column of tokens, or too many lines are malformed.
    """
    files = [(file, list(_rows(file))) for file in find_files(path, ENDINGS)]
    columns = _columns(path, [row for _, rows in files for row in rows if row and row[0] != DOCUMENT])
    documents: list[Document] = []
    counts: Counter[str] = Counter()
    malformed: Counter[str] = Counter()
    for file, rows in files:
        before = counts["malformed_lines"]
        for number, sentences in enumerate(_documents(_sentences(rows, columns, counts)), 1):
            text, mentions = join(sentences)
            documents.append(Document(f"{file.stem}:{number}", text, mentions, split=file.split))
        malformed[file.place] = counts["malformed_lines"] - before
    num_tagged = counts.pop("tagged", 0) + counts["malformed_lines"]
    if counts["malformed_lines"] > MOST * num_tagged:
        raise ValueError(
            f"{path}: {counts['malformed_lines']:,} of {num_tagged:,} tagged lines end in no tag such as O or "
            f"B-Disease, most of them in {malformed.most_common(1)[0][0]}: is it iob, is the tag in the last column, "
            "and are there no other files?"
        )
    return corpus_of(documents, counts)


def _rows(file: SourceFile) -> Iterator[Row]:
    """Yield the columns of every line; of an empty line none, and of one that begins a document DOCUMENT alone."""
    begins = True
    for number, line in enumerate(lines(file)):
        row = [column.strip() for column in (line.split("\t") if "\t" in line else re.split(" +", line.strip(" ")))]
        if line.startswith(DOCUMENT):
            yield [DOCUMENT]
        elif not "".join(row).strip("\u200b\ufeff\u00ad"):
            yield []
        elif begins and ((number == 0 and COLUMN.fullmatch(row[-1])) or (line[0] == "#" and not tags_of(row[-1:]))):
            continue
        else:
            yield row
        begins = number == 0 or (begins and line[:1] == "#") or line.startswith(DOCUMENT) or not line.strip()


def _columns(path: Path, rows: Sequence[Row]) -> Columns:
    """Find out which column holds the token, and which the tag."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    width = widths.most_common(1)[0][0] if widths else 0
    usual = [row for row in rows if len(row) == width]
    tags = {place: tags_of(row[place] for row in usual) for place in (-1, *reversed(range(width)))}
    fits = {place: sum(row[place] in tags[place] for row in usual) for place in tags}
    whole = [place for place, times in fits.items() if times == len(usual) > 2 * fits[-1]]
    tag = whole[0] if whole else -1
    others = [place for place in range(width) if place not in (tag, tag + width)]
    tokens = [place for place in others if not all(row[place].isdecimal() for row in usual)]
    if others and not tokens:
        raise ValueError(f"{path}: beside the tags there are columns of numbers alone: where are the tokens?")
    written = [row[tag] for row in rows if len(row) > max(1, tag)]
    return Columns(tokens[0] if tokens else 0, tag, dict(tags_of(written)))


def _sentences(rows: Sequence[Row], columns: Columns, counts: Counter[str]) -> Iterator[list[Token] | None]:
    """Yield sentences; None where a document begins."""
    sentence: list[Token] = []
    for row in [*rows, []]:
        if not row or row == [DOCUMENT]:
            if sentence:
                yield sentence
                sentence = []
            if row:
                yield None
            continue
        token, tag = columns.read(row)
        counts["malformed_lines"] += tag is None
        counts["tagged"] += tag not in (None, O)
        if token:
            sentence.append((token, tag or O))


def _documents(sentences: Iterator[list[Token] | None]) -> Iterator[list[list[Token]]]:
    """Yield the sentences of each document."""
    marked, held = False, []
    for sentence in sentences:
        if sentence is None or not marked:
            if held:
                yield held
            marked, held = marked or sentence is None, []
        if sentence is not None:
            held.append(sentence)
    if held:
        yield held


def join(sentences: list[list[Token]]) -> tuple[str, tuple[Mention, ...]]:
    """Return the text of a document, and the mentions that its tags mark."""
    text, mentions = "", []
    for sentence in sentences:
        open_type = None  # of the mention that the next token may continue
        for index, (token, (place, kind)) in enumerate(sentence):
            text += (" " if index else "\n") if text else ""
            start, text = len(text), text + token
            if place in "IE" and open_type is not None and kind in ("", open_type):
                kind = open_type
                mentions[-1] = mentions[-1]._replace(end=len(text))
            elif place != "O":
                mentions.append(Mention(start, len(text), kind))
            open_type = kind if place in "BI" else None
    return text, tuple(mentions)
