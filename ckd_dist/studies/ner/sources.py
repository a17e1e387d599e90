"""The kinds of corpora: those of notes/read.py, and notes of a synthetic hospital."""

from pathlib import Path

from ckd_dist.notes.document import Corpus
from ckd_dist.notes.jsonl import read_jsonl
from ckd_dist.notes.read import FORMS, read_corpus
from ckd_dist.source import SYNTHETIC, Source, find_source, num_subjects
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
