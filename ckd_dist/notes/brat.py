"""brat stand-off: note.txt beside note.ann, in a folder or a tar archive.

Of .ann only text-bound annotations are read (lines T); relations, events, attributes and notes are passed over.
A mention in several pieces (`T4  Symptom 10 14;30 41`) cannot be written as tags of words: left out and counted.
Pieces with nothing but white space between them are one mention: so brat writes one that runs over a line's end.
A .txt without .ann is a document that nobody annotated.
"""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

from ckd_dist.notes.document import Corpus, Document, corpus_of, in_order
from ckd_dist.notes.files import find_files, read_text, split_of_folder
from ckd_dist.notes.note import Mention

TEXT_BOUND = re.compile(r"T\d+\t(\S+) (\d+ \d+(?:;\d+ \d+)*)\t(.*)", re.DOTALL)
OTHERS = re.compile(r"(?:[REAMN]\d+|\*|#\d*)\t.*")


def read_brat(path: Path) -> Corpus:
    """Read all pairs below a folder or in a tar archive.  Raises ValueError where a file is damaged or a .txt lacks."""
    if path.is_file() and path.suffix.lower() in (".txt", ".ann"):
        raise ValueError(f"{path} is one file: give the folder that holds it, or a tar archive of .txt and .ann")
    counts: Counter[str] = Counter()
    files = find_files(path, (".txt", ".ann"))
    texts, annotations = ({f.stem: f for f in files if f.ending == ending} for ending in (".txt", ".ann"))
    if alone := sorted(annotations.keys() - texts.keys()):
        raise ValueError(f"{path}: {len(alone)} .ann files lack their .txt, the first is {alone[0]}.ann: add the texts")
    documents = []
    for stem, file in texts.items():
        text = read_text(file)
        mentions = _mentions(read_text(annotations[stem]), text, counts) if stem in annotations else None
        documents.append(Document(stem, text, mentions, split=split_of_folder(file.name)))
    return corpus_of(documents, counts)


def _mentions(annotation: str, text: str, counts: Counter[str]) -> tuple[Mention, ...]:
    found = []
    for line in annotation.split("\n"):
        match = TEXT_BOUND.fullmatch(line.removesuffix("\r"))
        if match is None:
            counts["malformed_lines"] += bool(line.strip()) and not OTHERS.match(line)
            continue
        kind, places, written = match.groups()
        pieces = [tuple(map(int, place.split())) for place in places.split(";")]
        (start, _), (_, end) = pieces[0], pieces[-1]
        if any(text[a:b].strip() or a > b for (_, a), (b, _) in pairwise(pieces)):
            counts["discontinuous"] += 1
        elif start < end and _as_written(" ".join(text[a:b] for a, b in pieces)) == _as_written(written):
            found.append(Mention(start, end, kind))
        else:  # a text with a tab that is not in the note: the line has a field too many
            counts["malformed_lines" if "\t" in written else "out_of_text"] += 1
    return in_order(found)


def _as_written(characters: str) -> str:
    """Return the characters as brat writes them into a line: a blank for a line break."""
    return re.sub(r"\s", " ", characters)
