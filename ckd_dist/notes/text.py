"""A folder of .txt files, each a document without annotations, its name the path below the folder."""

from collections import Counter
from pathlib import Path

from ckd_dist.notes.document import Corpus, Document, corpus_of
from ckd_dist.notes.files import find_files, read_text, split_of_folder


def read_folder(path: Path) -> Corpus:
    """Read every .txt and .txt.gz below a folder.  Raises ValueError where one is damaged or not UTF-8."""
    documents = [
        Document(file.stem, read_text(file), None, split=split_of_folder(file.name))
        for file in find_files(path, (".txt",))
    ]
    return corpus_of(documents, Counter())
