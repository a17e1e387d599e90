"""The kinds of corpora: those of notes/read.py, and notes of a synthetic hospital."""

from pathlib import Path

from ckd_dist.notes.document import Corpus
from ckd_dist.notes.jsonl import read_jsonl
from ckd_dist.notes.read import FORMS, read_corpus
from ckd_dist.source import SYNTHETIC, Source, find_source, num_subjects, written
from ckd_dist.studies.ner.synthetic.notes import write_synthetic_notes

SOURCES = FORMS | {
    SYNTHETIC: Source(read_jsonl, "notes of a synthetic hospital of {:,} patients", "N", make=write_synthetic_notes)
}


def read_any(source: str, folder: Path, seed: int) -> Corpus:
    """Read a source of SOURCES; a synthetic hospital's notes are written into `folder` first."""
    found, _ = find_source(source, SOURCES)
    if not found.make:
        return read_corpus(source)
    found.make(folder, num_subjects(source), seed)
    return read_corpus(f"jsonl:{folder / 'notes.jsonl'}")


def source_of_notes(notes: str) -> str:
    """Return new notes as a source: form:PATH as it is, and a path without a form as a folder of texts.

    A path may hold a colon itself.  Raises ValueError where it could be read in two ways, or in none.
    """
    form, colon, place = notes.partition(":")
    is_path, is_source = Path(notes).expanduser().exists(), bool(colon) and form in FORMS
    if is_path and is_source and Path(place).expanduser().exists():
        raise ValueError(
            f"notes {notes}: there are both a path of this name and {place}: give text:{notes} or ./{notes}"
        )
    if not is_path and not is_source and colon:
        forms = ", ".join(written(FORMS))
        raise ValueError(f"notes {notes}: there is no such path, and {form!r} is none of {forms}: give one of both")
    return notes if is_source and not is_path else f"text:{notes}"
