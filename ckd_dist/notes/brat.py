"""brat stand-off: note.txt beside note.ann, in a folder or a tar archive.

Of .ann only text-bound annotations are read (lines T); relations, events, attributes and notes are passed over.
A mention in several pieces (`T4  Symptom 10 14;30 41`) cannot be written as tags of words: left out and counted.
Pieces with nothing but white space between them are one mention: so brat writes one that runs over a line's end.
A .txt without .ann is a document that nobody annotated.  brat itself counts CRLF as one character (claims.py).
"""

import re
from collections import Counter
from pathlib import Path

from ckd_dist.notes.claims import Claim, mentions_of
from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.files import SourceFile, find_files, read_text, split_of_folder
from ckd_dist.notes.note import Mention

TEXT_BOUND = re.compile(r"T\d+\t(\S+) (\d+ \d+(?:;\d+ \d+)*)\t(.*)", re.DOTALL)
OTHERS = re.compile(r"(?:[REAMN]\d+|\*|#\d*)\t.*")


def read_brat(path: Path) -> Corpus:
    """Read all pairs below a folder or in a tar archive.  Raises ValueError where a file is damaged or a .txt lacks."""
    if path.is_file() and path.suffix.lower() in (".txt", ".ann"):
        raise ValueError(f"{path} is one file: give the folder that holds it, or a tar archive of .txt and .ann")
    counts: Counter[str] = Counter()
    files = find_files(path, (".txt", ".ann"))
    texts, annotations = (_by_stem(path, [f for f in files if f.ending == ending]) for ending in (".txt", ".ann"))
    if alone := sorted(annotations.keys() - texts.keys()):
        raise ValueError(f"{path}: {len(alone)} .ann files lack their .txt: add the texts")
    documents = []
    for stem, file in texts.items():
        text = read_text(file)
        mentions = _mentions(read_text(annotations[stem]), text, counts) if stem in annotations else None
        documents.append(Document(stem, text, mentions, split=split_of_folder(file.name)))
    return corpus_of(documents, counts)


def _by_stem(path: Path, files: list[SourceFile]) -> dict[str, SourceFile]:
    """Return the files of one ending by their stem.  Raises ValueError where two have the same, as a.txt, a.txt.gz."""
    if doubled := [stem for stem, times in Counter(file.stem for file in files).items() if times > 1]:
        raise ValueError(
            f"{path}: {len(doubled)} names stand for two {files[0].ending} files each (with "
            ".gz and without, or in capitals): leave one of them"
        )
    return {file.stem: file for file in files}


def _mentions(annotation: str, text: str, counts: Counter[str]) -> tuple[Mention, ...]:
    claims = []
    for line in re.split(r"\r?\n|\r", annotation):
        match = TEXT_BOUND.fullmatch(line)
        if match is None:
            counts["malformed_lines"] += bool(line.strip()) and not OTHERS.match(line)
            continue
        kind, places, written = match.groups()
        if "\t" in written and _but_tabs(written) not in _but_tabs(text):  # the line has a field too many
            counts["malformed_lines"] += 1
            continue
        pieces = tuple((int(start), int(end)) for start, end in (place.split() for place in places.split(";")))
        claims.append(Claim(pieces, kind, written))
    return mentions_of(text, claims, counts)


def _but_tabs(characters: str) -> str:
    """Return the characters as brat writes them into a line: a blank for a line break."""
    return re.sub(r"[^\S\t]", " ", characters)
