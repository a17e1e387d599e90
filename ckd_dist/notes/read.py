"""A source, `form:PATH` -> a corpus, and its documents as notes.

There is a form per file format.  What all corpora need is done here: where documents are lost it is refused above a
twentieth, a document that is there twice is kept once (the annotated copy before one that nobody annotated), of a
text in two official splits the copy that would be learned from is dropped (those that are scored on stay), and every
name is made unique.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from ckd_dist.notes.brat import read_brat
from ckd_dist.notes.columns import columns_of
from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.hf import read_hf
from ckd_dist.notes.iob import read_iob
from ckd_dist.notes.jsonl import read_jsonl
from ckd_dist.notes.mimic import read_mimic3, read_mimic4
from ckd_dist.notes.note import Mention, Note
from ckd_dist.notes.pubtator import read_pubtator
from ckd_dist.notes.spans import WANTED
from ckd_dist.notes.splits import text_key
from ckd_dist.notes.text import read_folder
from ckd_dist.notes.words import cut_sentences, cut_words
from ckd_dist.schema import SPLITS
from ckd_dist.source import Source, find_source

FORMS = {  # a reader is called with the path
    "brat": Source(read_brat, "a brat corpus", "PATH"),
    "iob": Source(read_iob, "an IOB corpus", "PATH"),
    "pubtator": Source(read_pubtator, "a PubTator corpus", "PATH"),
    "jsonl": Source(read_jsonl, "notes in JSON lines", "PATH"),
    "hf": Source(read_hf, "a Hugging Face data set", "PATH_OR_NAME"),
    "text": Source(read_folder, "a folder of texts", "PATH"),
    "mimic3": Source(read_mimic3, "MIMIC-III notes", "PATH"),
    "mimic4": Source(read_mimic4, "MIMIC-IV discharge notes", "PATH"),
}

MOST_LOST = 1 / 20  # share of the objects or rows that may be no document
DOCUMENT_A_ROW = ("jsonl", "hf")  # what is malformed there is a whole document


def read_corpus(source: str) -> Corpus:
    """Read `form:PATH`, e.g. brat:~/maccrobat.  Raises ValueError where that is no corpus or holds no document."""
    form, where = find_source(source, FORMS)
    corpus = form.read(Path(where).expanduser())
    counts = Counter(corpus.counts)
    num_lost, num_kept = counts["malformed_lines"], len(corpus.documents)
    counts["disagreeing"] = _num_disagreeing(corpus.documents)
    documents = _with_words(corpus.documents, counts)
    documents = _once(documents, counts)
    documents = _without_leaks(documents, counts)
    documents = _distinct(documents, counts)
    if not documents:
        raise ValueError(
            f"{source} holds no document ({counts['empty']} empty, {counts['malformed_lines']} malformed lines"
            f"{f', {n} marked as in error' if (n := counts['in_error']) else ''}): is it {source.partition(':')[0]}?"
        )
    if source.partition(":")[0] in DOCUMENT_A_ROW and num_kept and num_lost > MOST_LOST * (num_lost + num_kept):
        raise ValueError(
            f"{source}: {num_lost:,} of {num_lost + num_kept:,} objects or rows are no document: "
            f"a document has {WANTED}"
        )
    return corpus_of(documents, counts)


def to_notes(documents: Sequence[Document], types: Mapping[str, str]) -> list[Note]:
    """Cut documents into words and sentences, in order.  Mentions of types that `types` does not name are left out."""
    known = columns_of({mention.type for document in documents for mention in document.mentions or ()}, types)
    return [note_of(document, known) for document in documents]


def note_of(document: Document, columns: Mapping[str, str]) -> Note:
    """Return the note of one document.  columns: type of the corpus -> ours; equal mentions become one.

    Blanks at the ends of a mention are no part of it: no word has them.
    """
    start_U, end_U = cut_words(document.text)
    sentence_U = cut_sentences(document.text, start_U)
    mentions = None
    if document.mentions is not None:
        known = {_trimmed(m, document.text, columns[m.type]) for m in document.mentions if m.type in columns}
        mentions = tuple(sorted(known))
    return Note(document.text, start_U, end_U, sentence_U, mentions)


def _trimmed(mention: Mention, text: str, column: str) -> Mention:
    start, end, _ = mention
    if (text[start].isspace() or text[end - 1].isspace()) and (characters := text[start:end].strip()):
        start += text[start:end].index(characters)
        end = start + len(characters)
    return Mention(start, end, column)


def _with_words(documents: list[Document], counts: Counter[str]) -> list[Document]:
    kept = [document for document in documents if document.text.strip()]
    counts["empty"] += len(documents) - len(kept)
    return kept


def _once(documents: list[Document], counts: Counter[str]) -> list[Document]:
    """Drop second copies of name and text within one part of the corpus."""
    kept: dict[tuple[str, str | None, str | None, str], Document] = {}
    for document in documents:
        key = (document.name, document.subject, document.split, text_key(document.text))
        if key not in kept or (kept[key].mentions is None and document.mentions is not None):
            kept[key] = document
    counts["duplicates"] += len(documents) - len(kept)
    return list(kept.values())


def _num_disagreeing(documents: list[Document]) -> int:
    """Count the texts that are annotated more than once and not alike, as by two annotators."""
    copies: dict[str, list[Document]] = {}
    for document in documents:
        if document.mentions is not None:
            copies.setdefault(text_key(document.text), []).append(document)
    return sum(len(set(map(_marked, alike))) > 1 for alike in copies.values() if len(alike) > 1)


def _marked(document: Document) -> frozenset[tuple[int, int, str]]:
    """Return what is marked in a text, in characters that are no white space: copies may differ in that."""
    before = np.cumsum([0, *(not character.isspace() for character in document.text)])
    return frozenset((int(before[start]), int(before[end]), kind) for start, end, kind in document.mentions or ())


def _without_leaks(documents: list[Document], counts: Counter[str]) -> list[Document]:
    """Keep, of a text in several official splits, the copies in the strictest one: held_out, then tuning."""
    rank = {split: number for number, split in enumerate((None, *SPLITS))}
    highest: dict[str, int] = {}
    keys = [text_key(document.text) for document in documents]
    for key, document in zip(keys, documents, strict=True):
        highest[key] = max(highest.get(key, 0), rank[document.split])
    kept = [d for key, d in zip(keys, documents, strict=True) if d.split is None or rank[d.split] == highest[key]]
    counts["duplicates_across_splits"] += len(documents) - len(kept)
    return kept


def _distinct(documents: list[Document], counts: Counter[str]) -> list[Document]:
    """Make names unique: the second document of a name is called name#2, or by the next number that is free."""
    seen: Counter[str] = Counter()
    taken = {document.name for document in documents}
    named = []
    for document in documents:
        seen[document.name] += 1
        if (number := seen[document.name]) > 1:
            name = next(new for k in count(number) if (new := f"{document.name}#{k}") not in taken)
            taken.add(name)
            document = replace(document, name=name)
            counts["renamed"] += 1
        named.append(document)
    return named
