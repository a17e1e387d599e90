"""Every labeler reads every note once and its tags go into shards: dictionaries, language models, the local teacher.

A plan a labeler and split; shards are numbered through all plans, so that only one number travels.  Of tuning and
held_out only annotated notes are labelled, because nothing else of them is ever used, and questions cost money.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Protocol

import numpy as np
import torch

from ckd_dist import stages
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.notes.note import Note, types_of
from ckd_dist.schema import SPLITS, Run
from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import Plan, make_plan
from ckd_dist.softlabels.plans import find, sums
from ckd_dist.studies.ner.config import Labelers, Ontology, TagTeacher
from ckd_dist.studies.ner.labelers.gazetteer import Gazetteer
from ckd_dist.studies.ner.labelers.labelled import Labelled, spread
from ckd_dist.studies.ner.labelers.vocabularies import read_terms
from ckd_dist.studies.ner.rows import known_types, lengths_of, tag_columns
from ckd_dist.studies.ner.store import StoredNotes, read_notes
from ckd_dist.studies.ner.tagger import load_tagger
from ckd_dist.studies.ner.windows import Windows
from ckd_dist.studies.ner.word_scores import predict_units

TEACHER = "teacher"


class Reader(Protocol):
    """A labeler that reads notes as text."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Of all that decides what it finds."""
        ...

    def __call__(self, notes: Sequence[Note]) -> Labelled: ...


def names_of(settings: Labelers) -> list[str]:
    """The labelers, in order.  Raises ValueError where there is none, or two of one name."""
    names = [each.name for each in (*settings.ontologies, *settings.endpoints)] + [TEACHER] * settings.teacher
    if not names:
        raise ValueError("there is no labeler: give label.ontologies or label.endpoints, or label.teacher=true")
    for name in names:
        if name in ("student", "human", "combination") or name.startswith(("soft_", "human_")):
            raise ValueError(f"a labeler cannot be called {name!r}, which the report calls something else")
        if names.count(name) > 1:
            raise ValueError(f"two labelers are called {name!r}: give each a name of its own")
    return names


def readers_of(run: Run, settings: Labelers) -> dict[str, Reader]:
    """The labelers that read a note as text, by name.  Raises ValueError where one cannot be made or be asked."""
    names_of(settings)
    types = types_of(tag_columns(run))
    readers: dict[str, Reader] = {each.name: _gazetteer(each, run, types) for each in settings.ontologies}
    if settings.endpoints:
        from ckd_dist.studies.ner.labelers.endpoint import EndpointLabeler  # its client takes a second to import

        readers |= {each.name: EndpointLabeler(each, types, run.answers) for each in settings.endpoints}
    return readers


def _gazetteer(settings: Ontology, run: Run, types: Sequence[str]) -> Gazetteer:
    """A dictionary of those of its vocabularies whose type the corpus annotates."""
    known = known_types(run)
    for spec in settings.vocabularies:
        if spec.partition("=")[0] not in known:
            raise ValueError(
                f"labeler {settings.name}: vocabulary {spec!r} is of no type of notes.types; give type=form:PATH with "
                f"one of {', '.join(known)}"
            )
    wanted = [spec for spec in settings.vocabularies if spec.partition("=")[0] in types]
    if not wanted:
        raise ValueError(
            f"labeler {settings.name} has no vocabulary of {', '.join(types)}: give label.ontologies type=form:PATH"
        )
    return Gazetteer(settings, [read_terms(_placed(spec, run)) for spec in wanted])


def _placed(spec: str, run: Run) -> str:
    """Where a vocabulary lies: the made-up hospital's are in the run."""
    kind, _, where = spec.partition("=")
    if not where.startswith("synthetic:"):
        return spec
    return f"{kind}=tsv:{run.tables / 'vocabulary' / where.removeprefix('synthetic:')}.tsv"


def plans(run: Run, settings: Labelers, readers: Mapping[str, Reader]) -> dict[tuple[str, str], Plan]:
    """What is to be labelled, by labeler and split; a split without notes to label has no plan."""
    made = {}
    for split in SPLITS:
        stored = read_notes(run.notes(split))
        wanted = np.array([split == "train" or note.mentions is not None for note in stored.notes], bool)
        if not wanted.any():
            continue
        for name in names_of(settings):
            made[name, split] = make_plan(
                stored.sample_id_N[wanted],
                split=split,
                names=tag_columns(run),
                prompts=stages.hash_file(run.notes(split)),
                tokenizer=stages.hash_file(run.windows(split, "teacher")) if name == TEACHER else "words",
                teacher=made_by(run, readers, name),
                shard_rows=settings.shard_rows,
                order_seed=settings.order_seed,
                units=lengths_of(stored.notes)[wanted],
            )
    return made


def made_by(run: Run, readers: Mapping[str, Reader], name: str) -> str:
    """Fingerprint of a labeler."""
    return fingerprint(run.teacher) if name == TEACHER else readers[name].fingerprint


class Labeller:
    """One worker with all labelers; the teacher is loaded when it is first needed.  Publishing twice is harmless."""

    def __init__(self, run: Run, settings: Labelers, teacher: TagTeacher, tokenizer: str, device: str) -> None:
        self.run, self.settings, self.teacher, self.tokenizer, self.device = run, settings, teacher, tokenizer, device
        self.readers = readers_of(run, settings)
        self.planned = plans(run, settings, self.readers)
        self.stored = {split: read_notes(run.notes(split)) for split in SPLITS}

    def do(self, number: int) -> None:
        """Label shard `number`, counted through all plans."""
        (name, split), plan, shard = find(self.planned, number)
        read = self._by_teacher if name == TEACHER else partial(self._by_reader, self.readers[name])
        generate(plan, self.run.softlabels, [shard], partial(read, split))

    def _by_reader(self, reader: Reader, split: str, sample_ids: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        notes = [self.stored[split].notes[row] for row in _rows(self.stored[split], sample_ids)]
        labelled, types = reader(notes), types_of(tag_columns(self.run))
        soft = [spread(note, found, types) for note, found in zip(notes, labelled.found, strict=True)]
        return np.concatenate(soft), labelled.counts

    def _by_teacher(self, split: str, sample_ids: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        windows = Windows.open(self.run.windows(split, "teacher"))
        mine = notes_windows(windows, _rows(self.stored[split], sample_ids))
        soft_UK = predict_units(
            self._head,
            mine,
            micro_tokens=self.settings.micro_tokens,
            pad_id=load_tokenizer(self.tokenizer).pad_token_id,
            device=self.device,
            position="last",
        )
        return soft_UK, {"notes": len(sample_ids), "words": len(soft_UK), "tokens": int(mine.lengths.sum())}

    @cached_property
    def _head(self) -> torch.nn.Module:
        return load_tagger(self.run.teacher, getattr(torch, self.teacher.dtype), self.device)


def notes_windows(windows: Windows, rows: np.ndarray) -> Windows:
    """The windows of some notes, note after note."""
    first, last = (np.searchsorted(windows.note_W, rows, side=side) for side in ("left", "right"))
    return windows.take(np.concatenate([np.arange(0), *map(np.arange, first, last)]))


def _rows(stored: StoredNotes, sample_ids: np.ndarray) -> np.ndarray:
    return np.searchsorted(stored.sample_id_N, sample_ids)


def costs(run: Run, planned: Mapping[tuple[str, str], Plan]) -> dict[str, dict[str, float]]:
    """What each labeler's shards cost: seconds, notes, words, tokens, dollars, and how answers were aligned; summed."""
    total: dict[str, dict[str, float]] = {}
    for (name, _), plan in planned.items():
        own = total.setdefault(name, {"seconds": 0.0, "notes": 0, "words": 0})
        for what, amount in sums(run.softlabels, plan).items():
            own[what] = own.get(what, 0) + amount
    return total
