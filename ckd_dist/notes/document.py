"""What a corpus is before it is cut into words: documents with mentions, and counts of what was left out.

A corpus is held in memory: all 2 million notes of MIMIC-III are some 4 GB of text.  Whoever has more reads it in parts.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ckd_dist.notes.note import Mention

COUNTS = (  # every corpus has every one of them
    "annotated",  # documents whose mentions someone marked, be they none
    "mentions",  # kept, of every type
    "discontinuous",  # mentions in several pieces: left out
    "malformed_lines",  # lines, rows or objects that the format does not allow: left out
    "out_of_text",  # mentions outside their text, or whose characters are others than the corpus says: left out
    "duplicates",  # documents that are there twice, name and text: one is kept
    "duplicates_across_splits",  # one text in two official splits: kept where it is scored, dropped where it is learned
    "renamed",  # different documents of one name: from the second on they are called name#2, name#3
    "scored",  # documents whose mentions have scores: a tagger found them, such as ours
    "disagreeing",  # texts that are there more than once, with different mentions
    "in_error",  # notes that the hospital marked as written in error: left out
    "empty",  # documents without a word: left out
)


@dataclass(frozen=True)
class Document:
    """A text, its subject, and its split where the corpus names one."""

    name: str
    text: str
    mentions: tuple[Mention, ...] | None  # None: nobody annotated it
    subject: str | None = None
    split: str | None = None  # train, tuning or held_out; None: the corpus does not say


@dataclass(frozen=True)
class Corpus:
    """Documents in the order of their source, and what was counted while reading them: COUNTS -> number."""

    documents: list[Document]
    counts: dict[str, int] = field(default_factory=dict)


def corpus_of(documents: list[Document], counts: Counter[str]) -> Corpus:
    """Return a corpus with every number of COUNTS; those that follow from the documents are counted here."""
    known = [document.mentions for document in documents if document.mentions is not None]
    numbers = {**dict.fromkeys(COUNTS, 0), **counts}
    return Corpus(documents, numbers | {"annotated": len(known), "mentions": sum(map(len, known))})


def in_order(mentions: Iterable[Mention]) -> tuple[Mention, ...]:
    """Return mentions by their place in the text, each once."""
    return tuple(sorted(set(mentions)))
