"""Collect what the report is made from: every system's entities on held-out notes, and on other corpora.

Labelers and their combination are read from their shards, students from their folders.  Nothing is fitted here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ckd_dist.notes.note import Mention, Note, Prediction, best_tags, decode
from ckd_dist.notes.read import read_corpus, to_notes
from ckd_dist.notes.usable import check_usable, kept_of
from ckd_dist.report.bootstrap import Bootstrap, Resamples, resample
from ckd_dist.studies.ner.describe import source_in_words
from ckd_dist.studies.ner.distill import FULL, Arm
from ckd_dist.studies.ner.label import TextLabeler
from ckd_dist.studies.ner.predict import find_entities
from ckd_dist.studies.ner.report.entities import Estimates, count, scores
from ckd_dist.studies.ner.report.highlight import Marked
from ckd_dist.studies.ner.report.results import Elsewhere
from ckd_dist.studies.ner.rows import lengths_of, read_split, soft_tags
from ckd_dist.studies.ner.runfolder import NerRun

Mentions = list[list[Mention]]  # of every note


@dataclass(frozen=True)
class Scored:
    """Annotated notes, what every system found in them, and the draws that all systems are scored on."""

    notes: list[Note]
    found: dict[str, Mentions]
    types: list[str]
    resamples: Resamples
    drawn: Literal["notes", "patients"] = "notes"  # patients where the corpus says whose a note is
    names: Sequence[str] = ()
    predictions: Sequence[list[Prediction]] = ()  # the student's, with their confidence

    def estimates(self, name: str, types: Sequence[str] | None = None) -> Estimates:
        """Score one system, on these types."""
        gold = [list(note.mentions) for note in self.notes]
        return scores(count(gold, self.found[name], types or self.types), self.resamples)

    def marked(self) -> list[Marked]:
        """Return the notes with the student's predictions and gold, to be shown."""
        return [
            Marked(name, note.text, predictions, note.mentions)
            for name, note, predictions in zip(self.names, self.notes, self.predictions, strict=True)
        ]


def score_held_out(run: NerRun, plans: Mapping[str, str], arms: Mapping[str, Arm], bootstrap: Bootstrap) -> Scored:
    """Find every system's mentions on the annotated notes of held_out.  plans: labeler -> plan hash of its tags."""
    stored, types = read_split(run, "held_out")
    rows = [row for row, note in enumerate(stored.notes) if note.mentions is not None]
    notes, lengths = [stored.notes[row] for row in rows], lengths_of([stored.notes[row] for row in rows])
    found = {
        name: by_tags(notes, soft_tags(run, plan, stored.sample_id_N[rows], lengths, None), types)
        for name, plan in plans.items()
    }
    predicted = {name: list(find_entities(arm.folder, notes)) for name, arm in arms.items()}
    found |= {name: mentions_of(predictions) for name, predictions in predicted.items()}
    _, group = np.unique([stored.subjects[row] or stored.names[row] for row in rows], return_inverse=True)
    return Scored(
        notes,
        found,
        types,
        resample(group, bootstrap.draws, bootstrap.seed),
        drawn="patients" if any(stored.subjects[row] for row in rows) else "notes",
        names=[stored.names[row] for row in rows],
        predictions=predicted["student"],
    )


def score_elsewhere(
    source: str,
    known_types: dict[str, str],
    home: Scored,
    arms: Mapping[str, Arm],
    dictionaries: Mapping[str, TextLabeler],
    bootstrap: Bootstrap,
) -> list[Elsewhere]:
    """Score students and dictionaries on all annotated notes of another corpus, beside themselves on held_out.

    A language model would have to be paid again.  known_types: the corpus's name of a type -> ours.  home: held_out.
    """
    notes, types = annotated_elsewhere(source, known_types, home.types)
    found = {name: by_student(arm, notes) for name, arm in arms.items() if name in FULL}
    found |= {name: mentions_of(labeler(notes).predictions) for name, labeler in dictionaries.items()}
    there = Scored(notes, found, types, resample(np.arange(len(notes)), bootstrap.draws, bootstrap.seed))
    return [
        Elsewhere(
            source_in_words(source),
            name,
            len(notes),
            tuple(types),
            there.estimates(name).estimate(),
            home.estimates(name, types).estimate(),
        )
        for name in found
    ]


def annotated_elsewhere(
    source: str, known_types: Mapping[str, str], wanted: Sequence[str]
) -> tuple[list[Note], list[str]]:
    """Read the annotated notes of another corpus, and which of the wanted types it annotates.

    Raises ValueError where it annotates none of them, or is no usable corpus.
    """
    corpus = read_corpus(source)
    notes = to_notes(corpus.documents, known_types)
    check_usable(source, corpus, kept_of(corpus, notes, known_types))
    notes = [note for note in notes if note.mentions is not None]
    present = {mention.type for note in notes for mention in note.mentions}
    if not present & set(wanted):
        raise ValueError(f"{source} annotates none of {', '.join(wanted)}: give notes.types or leave it out")
    return notes, [kind for kind in wanted if kind in present]


def by_tags(notes: Sequence[Note], soft_UK: np.ndarray, types: Sequence[str]) -> Mentions:
    """Return the mentions that soft tags of notes mark."""
    ends = np.cumsum(lengths_of(notes))
    return [
        decode(note, best_tags(soft_UK[end - len(note) : end]), types) for note, end in zip(notes, ends, strict=True)
    ]


def by_student(arm: Arm, notes: Sequence[Note]) -> Mentions:
    """Return the mentions that a student finds."""
    return mentions_of(find_entities(arm.folder, notes))


def mentions_of(predictions: Iterable[Sequence[Prediction]]) -> Mentions:
    """Return predicted mentions without their confidence."""
    return [[prediction.mention for prediction in of_note] for of_note in predictions]
