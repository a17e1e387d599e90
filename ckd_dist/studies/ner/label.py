"""Every labeler reads every note once and its tags go into shards: dictionaries, language models, the local teacher.

A plan a labeler and split; shards are numbered through all plans, so that only one number travels.  Of tuning and
held_out only annotated notes are labelled, because nothing else of them is ever used, and questions cost money.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import numpy as np
import torch

from ckd_dist.config import Endpoint
from ckd_dist.files import hash_file
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.notes.note import Note
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.generate import generate
from ckd_dist.softlabels.plan import LabelSource, Plan, make_plan
from ckd_dist.softlabels.plans import find, sums
from ckd_dist.source import SYNTHETIC, is_synthetic
from ckd_dist.studies.ner.labelers.asking import Asking
from ckd_dist.studies.ner.labelers.gazetteer import DictionaryOptions, Gazetteer
from ckd_dist.studies.ner.labelers.labelled import Labelled, spread
from ckd_dist.studies.ner.labelers.vocabularies import read_terms
from ckd_dist.studies.ner.rows import lengths_of
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.studies.ner.store import StoredNotes, read_notes
from ckd_dist.studies.ner.tagger import load_tagger
from ckd_dist.studies.ner.windows import Windows
from ckd_dist.studies.ner.word_scores import predict_units

TEACHER = "teacher"
RESERVED = ("student", "human", "combination")  # names of the report's other systems

Plans = Mapping[tuple[str, str], Plan]  # (labeler, split) -> plan


@dataclass(frozen=True)
class Labelling:
    """Who labels, in which order of the report, and how notes are cut into shards."""

    dictionaries: tuple[DictionaryOptions, ...]
    models: tuple[tuple[Endpoint, Asking], ...]
    teacher: bool  # whether the local teacher labels too
    shard_rows: int
    order_seed: int
    micro_tokens: int  # padded tokens in a forward pass of the teacher

    @property
    def kinds(self) -> dict[str, str]:
        """What kind of labeler each is, by name."""
        asked = {endpoint.name: "llm" for endpoint, _ in self.models}
        return {each.name: "ontology" for each in self.dictionaries} | asked | {TEACHER: "teacher"}

    @property
    def prices(self) -> dict[str, tuple[float, float]]:
        """What a million tokens sent, and a million answered, cost of those that are paid, in US dollars."""
        return {
            endpoint.name: (asking.usd_per_million_input, asking.usd_per_million_output)
            for endpoint, asking in self.models
        }


class TextLabeler(Protocol):
    """A labeler that reads notes as text."""

    @property
    def name(self) -> str:
        """Its name in the report."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides what it predicts."""
        ...

    def __call__(self, notes: Sequence[Note]) -> Labelled:
        """Label notes, in order."""
        ...


def names_of(labelling: Labelling) -> list[str]:
    """Return the labelers' names, in order.  Raise ValueError where there is none, or two of one name."""
    names = [each.name for each in (*labelling.dictionaries, *(endpoint for endpoint, _ in labelling.models))]
    names += [TEACHER] * labelling.teacher
    if not names:
        raise ValueError("there is no labeler: give label.ontologies or label.endpoints, or label.teacher=true")
    for name in names:
        if name in RESERVED or name.startswith(("soft_", "human_")):
            raise ValueError(f"a labeler cannot be called {name!r}, which the report calls something else")
        if names.count(name) > 1:
            raise ValueError(f"two labelers are called {name!r}: give each a name of its own")
    return names


def text_labelers(run: NerRun, labelling: Labelling) -> dict[str, TextLabeler]:
    """Make the labelers that read a note as text, by name.  Raise ValueError where one cannot be made or be asked."""
    names_of(labelling)
    labelers = dictionaries(run, labelling)
    if labelling.models:
        from ckd_dist.studies.ner.labelers.endpoint import EndpointLabeler  # its client takes a second to import

        labelers |= {
            endpoint.name: EndpointLabeler(endpoint, asking, run.types(), run.answers)
            for endpoint, asking in labelling.models
        }
    return labelers


def dictionaries(run: NerRun, labelling: Labelling) -> dict[str, TextLabeler]:
    """Make the labelers that find names of vocabularies, by name."""
    types = run.types()
    return {each.name: _gazetteer(each, run, types) for each in labelling.dictionaries}


def _gazetteer(options: DictionaryOptions, run: NerRun, types: Sequence[str]) -> Gazetteer:
    """Make a dictionary of those of its vocabularies whose type the corpus annotates."""
    known = run.known_types()
    for spec in options.vocabularies:
        if spec.partition("=")[0] not in known:
            raise ValueError(
                f"labeler {options.name}: vocabulary {spec!r} is of no type of notes.types; give type=form:PATH with "
                f"one of {', '.join(known)}"
            )
    wanted = [spec for spec in options.vocabularies if spec.partition("=")[0] in types]
    if not wanted:
        raise ValueError(
            f"labeler {options.name} has no vocabulary of {', '.join(types)}: give label.ontologies type=form:PATH"
        )
    return Gazetteer(options, [read_terms(_placed(spec, run)) for spec in wanted])


def check_own(specs: Sequence[str], types: Sequence[str]) -> None:
    """Raise ValueError where a vocabulary of `types` is the synthetic hospital's: other notes' run has none."""
    made = [spec for spec in specs if spec.partition("=")[0] in types and is_synthetic(spec.partition("=")[2])]
    if made:
        raise ValueError(
            f"vocabulary {made[0]!r} of label.ontologies is the synthetic hospital's, and notes.source is not: give"
            f" label.ontologies your own, such as {made[0].partition('=')[0]}=tsv:FILE, a name a line"
        )


def _placed(spec: str, run: NerRun) -> str:
    """Return a vocabulary with its place: the synthetic hospital's are in the run."""
    kind, _, where = spec.partition("=")
    if not is_synthetic(where):
        return spec
    return f"{kind}=tsv:{run.vocabularies / where.removeprefix(f'{SYNTHETIC}:')}.tsv"


def plan_tags(run: NerRun, labelling: Labelling, labelers: Mapping[str, TextLabeler]) -> dict[tuple[str, str], Plan]:
    """Plan what is to be labelled, by labeler and split; a split without notes to label has no plan."""
    plans = {}
    for split in SPLITS:
        stored = read_notes(run.notes(split))
        wanted_N = np.array([split == "train" or note.mentions is not None for note in stored.notes], bool)
        for name in names_of(labelling) if wanted_N.any() else ():
            plans[name, split] = make_plan(
                stored.sample_id_N[wanted_N],
                _source(run, split, labelers.get(name)),
                split=split,
                units=lengths_of(stored.notes)[wanted_N],
                shard_rows=labelling.shard_rows,
                order_seed=labelling.order_seed,
            )
    return plans


def _source(run: NerRun, split: str, labeler: TextLabeler | None) -> LabelSource:
    """Return what decides a labeler's tags of a split; none: the local teacher's."""
    tokenizer = hash_file(run.windows(split, TEACHER)) if labeler is None else "words"
    return LabelSource(run.tag_columns(), hash_file(run.notes(split)), tokenizer, _mark(run, labeler))


def _mark(run: NerRun, labeler: TextLabeler | None) -> str:
    """Return the fingerprint of a labeler; none: the local teacher's."""
    return fingerprint(run.teacher) if labeler is None else labeler.fingerprint


class Labeler:
    """One worker with all labelers; the teacher is loaded when it is first needed.  `do` twice is harmless."""

    def __init__(
        self, run: NerRun, labelling: Labelling, planned: Plans, *, dtype: str, tokenizer: str, device: str
    ) -> None:
        """planned: by `plan_tags`.  dtype: of the teacher.  tokenizer: folder of the teacher's."""
        self.run, self.labelling, self.planned = run, labelling, planned
        self.dtype, self.tokenizer, self.device = dtype, tokenizer, device
        self.labelers = text_labelers(run, labelling)
        marks = {name: _mark(run, self.labelers.get(name)) for name in names_of(labelling)}
        for (name, _), plan in planned.items():
            plan.check_teacher(marks[name], f"labeler {name}")
        self.stored = {split: read_notes(run.notes(split)) for split in SPLITS}

    def do(self, number: int) -> None:
        """Label shard `number`, counted through all plans."""
        (name, split), plan, shard = find(self.planned, number)
        predict = self._by_teacher if name == TEACHER else partial(self._by_text, self.labelers[name])
        generate(plan, self.run.softlabels, [shard], partial(predict, split))

    def _by_text(self, labeler: TextLabeler, split: str, sample_ids: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        notes = [self.stored[split].notes[row] for row in _rows(self.stored[split], sample_ids)]
        labelled, types = labeler(notes), self.run.types()
        unknown = labelled.unknown or [()] * len(notes)
        soft = [spread(*each, types, gaps) for *each, gaps in zip(notes, labelled.predictions, unknown, strict=True)]
        return np.concatenate(soft), labelled.counts

    def _by_teacher(self, split: str, sample_ids: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        windows = Windows.open(self.run.windows(split, TEACHER))
        mine = windows_of_notes(windows, _rows(self.stored[split], sample_ids))
        soft_UK = predict_units(
            self._teacher,
            mine,
            micro_tokens=self.labelling.micro_tokens,
            pad_id=load_tokenizer(self.tokenizer).pad_token_id,
            device=self.device,
            position="last",
        )
        return soft_UK, {"notes": len(sample_ids), "words": len(soft_UK), "tokens": int(mine.lengths.sum())}

    @cached_property
    def _teacher(self) -> Wrapper:
        return load_tagger(self.run.teacher, getattr(torch, self.dtype), self.device)


def windows_of_notes(windows: Windows, rows: np.ndarray) -> Windows:
    """Return the windows of some notes, note after note."""
    first, last = (np.searchsorted(windows.note_W, rows, side=side) for side in ("left", "right"))
    return windows.take(np.concatenate([np.arange(0), *map(np.arange, first, last)]))


def _rows(stored: StoredNotes, sample_ids: np.ndarray) -> np.ndarray:
    return np.searchsorted(stored.sample_id_N, sample_ids)


def labeling_costs(run: NerRun, planned: Plans) -> dict[str, dict[str, float]]:
    """Sum what each labeler's shards cost: seconds, notes, words, tokens, dollars, and outcomes of alignment."""
    total: dict[str, dict[str, float]] = {}
    for (name, _), plan in planned.items():
        own = total.setdefault(name, {"seconds": 0.0, "notes": 0, "words": 0})
        for what, amount in sums(run.softlabels, plan).items():
            own[what] = own.get(what, 0) + amount
    return total
