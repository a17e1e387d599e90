"""What the second study's report is made from: everybody's entities on held-out notes, and what they cost.

Labelers and their combination are read from their shards, students from their folders.  Nothing is fitted here.
"""

import datetime
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch

from ckd_dist import stages
from ckd_dist.config import result_fields
from ckd_dist.notes.note import Found, Mention, Note, best_tags, decode
from ckd_dist.notes.read import read_corpus, to_notes
from ckd_dist.report.bootstrap import Resamples, resample
from ckd_dist.report.timing import hardware
from ckd_dist.schema import SPLITS, Run
from ckd_dist.studies.disease.describe import without_places
from ckd_dist.studies.ner import predict as new_notes
from ckd_dist.studies.ner.config import NerRecipe
from ckd_dist.studies.ner.describe import notes_of, source_in_words
from ckd_dist.studies.ner.distill import Way, ways
from ckd_dist.studies.ner.label import TEACHER, readers_of
from ckd_dist.studies.ner.report.entities import Estimates, count, scores
from ckd_dist.studies.ner.report.highlight import Marked, write_page
from ckd_dist.studies.ner.report.page import write_ner_report
from ckd_dist.studies.ner.report.results import (
    Choice,
    Cost,
    Difference,
    Elsewhere,
    NerResults,
    Point,
    Split,
    System,
    f1_minus,
    scores_of,
)
from ckd_dist.studies.ner.rows import lengths_of, read_split, soft_tags

Mentions = list[list[Mention]]  # of every note
COMBINED = "combination"
PACKAGES = ("torch", "transformers", "peft", "deepspeed", "ray", "numpy", "nervaluate", "pyahocorasick")


@dataclass(frozen=True)
class Scored:
    """Held-out notes, what everybody found in them, and the draws that everybody is scored on."""

    notes: list[Note]
    names: list[str]
    found: dict[str, Mentions]
    claims: Sequence[list[Found]]  # the student's, with how sure it is
    resamples: Resamples
    drawn: str  # what they draw: "notes", or "patients" where the corpus says whose a note is
    types: list[str]

    def of(self, name: str, types: Sequence[str] | None = None) -> Estimates:
        """One system's scores, of these types."""
        return scores(count(gold_mentions(self.notes), self.found[name], types or self.types), self.resamples)


def report(recipe: NerRecipe, run: Run, track: Callable[..., None]) -> None:
    """Write the report.  Raises ValueError where no held-out note is annotated."""
    settings, trained = recipe.evaluate, ways(run, recipe.student, recipe.notes.gold_documents)
    held_out = on_held_out(recipe, run, trained)
    track(1, 4)
    elsewhere = [line for source in settings.other_corpora for line in on_other(recipe, run, source, held_out, trained)]
    track(2, 4)
    estimates = {name: held_out.of(name) for name in held_out.found}
    read, labelled = stages.read(run, "read").numbers, stages.read(run, "label").numbers
    told = stages.read(run, "combine").numbers["told"]
    shown = [name for name in estimates if name not in trained or name in ("student", "human")]
    results = NerResults(
        title=recipe.name,
        source=source_in_words(recipe.notes.source),
        types=tuple(held_out.types),
        systems=[_system(name, recipe, trained, estimates[name]) for name in shown],
        corpus=[_split(name, read["splits"][name], held_out.types) for name in SPLITS],
        date=datetime.date.today().isoformat(),
        recipe=without_places(result_fields(recipe)),
        differences=_differences(estimates, trained),
        choices=[
            Choice(kind, tuple(choice["members"]), choice["rule"], choice["f1"], told["num_tried"])
            for kind, choice in told.get("choices", {}).items()
        ],
        curve=_curve(estimates, trained, read["splits"]["train"]["annotated"]),
        elsewhere=elsewhere,
        costs=_costs(labelled["costs"], recipe, held_out, trained),
        left_out={what: n for what, n in read["corpus"].items() if n and what not in ("annotated", "mentions")},
        answers={each.name: _answers(labelled["costs"][each.name]) for each in recipe.label.endpoints},
        versions={name: version(name) for name in PACKAGES},
        notes=notes_of(recipe),
        drawn=held_out.drawn,
        bootstrap_draws=settings.bootstrap_draws,
        seed=settings.seed,
    )
    track(3, 4)
    write_ner_report(results, run.report)
    marked = [
        Marked(name, note.text, claims, note.mentions)
        for name, note, claims in zip(held_out.names, held_out.notes, held_out.claims, strict=True)
    ]
    write_page(run.held_out_page, marked, held_out.types, title=f"{recipe.name}: held-out notes")
    track(4, 4)


# --- who found what --------------------------------------------------------------------------------------------------


def on_held_out(recipe: NerRecipe, run: Run, trained: Mapping[str, Way]) -> Scored:
    """Every system on the annotated notes of held_out."""
    stored, types = read_split(run, "held_out")
    rows = [row for row, note in enumerate(stored.notes) if note.mentions is not None]
    if not rows:
        raise ValueError(
            "no held-out note is annotated, so there is nothing to report on: annotate some, or bring a corpus that is"
        )
    notes, lengths = [stored.notes[row] for row in rows], lengths_of([stored.notes[row] for row in rows])
    plans = stages.read(run, "label").numbers["plans"]["held_out"]
    plans = plans | {COMBINED: stages.read(run, "combine").numbers["plans"]["held_out"]}
    found = {
        name: by_tags(notes, soft_tags(run, plan, stored.sample_id_N[rows], lengths, None), types)
        for name, plan in plans.items()
    }
    claimed = {name: list(new_notes.tag(way.folder, notes, _device())) for name, way in trained.items()}
    found |= {name: mentions_of(claims) for name, claims in claimed.items()}
    _, group = np.unique([stored.subjects[row] or stored.names[row] for row in rows], return_inverse=True)
    draws = resample(group, recipe.evaluate.bootstrap_draws, recipe.evaluate.seed)
    drawn = "patients" if any(stored.subjects[row] for row in rows) else "notes"
    return Scored(notes, [stored.names[row] for row in rows], found, claimed["student"], draws, drawn, types)


def on_other(recipe: NerRecipe, run: Run, source: str, home: Scored, trained: Mapping[str, Way]) -> list[Elsewhere]:
    """Students and dictionaries on all annotated notes of another corpus, beside themselves at home."""
    documents = read_corpus(source).documents
    notes = [note for note in to_notes(documents, recipe.notes.types) if note.mentions is not None]
    present = {mention.type for note in notes for mention in note.mentions}
    types = [kind for kind in home.types if kind in present]
    if not types:
        raise ValueError(f"{source} annotates none of {', '.join(home.types)}: give notes.types or leave it out")
    found = {name: by_student(way, notes) for name, way in trained.items() if name in ("student", "human")}
    readers = {each.name: each for each in recipe.label.ontologies}
    for name, reader in readers_of(run, recipe.label).items():
        if name in readers:  # a language model would have to be paid again
            found[name] = mentions_of(reader(notes).found)
    draws = resample(np.arange(len(notes)), recipe.evaluate.bootstrap_draws, recipe.evaluate.seed)
    there = Scored(notes, [], found, [], draws, "notes", types)
    return [
        Elsewhere(
            source_in_words(source),
            name,
            len(notes),
            tuple(types),
            there.of(name).estimate(),
            home.of(name, types).estimate(),
        )
        for name in found
    ]


def by_tags(notes: Sequence[Note], soft_UK: np.ndarray, types: Sequence[str]) -> Mentions:
    """The mentions that soft tags of notes say."""
    ends = np.cumsum(lengths_of(notes))
    return [
        decode(note, best_tags(soft_UK[end - len(note) : end]), types) for note, end in zip(notes, ends, strict=True)
    ]


def by_student(way: Way, notes: Sequence[Note]) -> Mentions:
    """The mentions that a student finds."""
    return mentions_of(new_notes.tag(way.folder, notes, _device()))


def mentions_of(claims: Iterable[list[Found]]) -> Mentions:
    """Without how sure they are."""
    return [[claim.mention for claim in of_note] for of_note in claims]


def gold_mentions(notes: Sequence[Note]) -> Mentions:
    """What was annotated."""
    return [list(note.mentions) for note in notes]


# --- the parts of the report -----------------------------------------------------------------------------------------


def _system(name: str, recipe: NerRecipe, trained: Mapping[str, Way], found: Estimates) -> System:
    kinds = {each.name: "ontology" for each in recipe.label.ontologies}
    kinds |= {each.name: "llm" for each in recipe.label.endpoints} | {TEACHER: "teacher"}
    roles = {COMBINED: "combination", "student": "student", "human": "human"}
    titles = {COMBINED: "Combination", TEACHER: "Teacher"} | {key: way.title for key, way in trained.items()}
    return System(
        name,
        titles.get(name, name[:1].upper() + name[1:]),
        roles.get(name, "labeler"),
        scores_of(found),
        kind=kinds.get(name, ""),
        in_sample=name == TEACHER,
    )


def _differences(estimates: Mapping[str, Estimates], trained: Mapping[str, Way]) -> list[Difference]:
    """Student against combination, human labels and the best labeler; combination against that."""
    labelers = [name for name in estimates if name != COMBINED and name not in trained]
    best = max(labelers, key=lambda name: np.nan_to_num(estimates[name].estimate().value))
    pairs = [("student", COMBINED), ("student", "human"), ("student", best), (COMBINED, best)]
    return [
        Difference(first, second, f1_minus(estimates[first], estimates[second]))
        for first, second in pairs
        if first in estimates and second in estimates
    ]


def _curve(estimates: Mapping[str, Estimates], trained: Mapping[str, Way], num_annotated: int) -> list[Point]:
    """Points of the learning curve; empty where no size was asked for."""
    if not trained.keys() - {"student", "human"}:
        return []
    points = []
    for name, way in trained.items():
        num = num_annotated if way.num_gold is None else min(way.num_gold, num_annotated)
        said = "distilled" if way.soft else "human labels alone"
        points.append(Point(num, said, estimates[name].estimate()))
    return sorted(set(points), key=lambda point: (point.way, point.gold_notes))


def _costs(
    spent: Mapping[str, Mapping[str, float]], recipe: NerRecipe, held_out: Scored, trained: Mapping[str, Way]
) -> list[Cost]:
    """Every labeler as its shards say, and the student, timed now on held-out notes."""
    prices = {each.name: (each.usd_per_million_input, each.usd_per_million_output) for each in recipe.label.endpoints}
    made = []
    for name, sums in spent.items():
        per = 1000 / max(1, sums["notes"])
        tokens = [_tokens(sums, what, per) for what in ("input_tokens", "output_tokens")]
        made.append(
            Cost(
                name,
                seconds=sums["seconds"] * per,
                words_per_minute=60 * sums["words"] / max(sums["seconds"], 1e-9),
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                usd=float(np.dot(tokens, prices[name])) / 1e6 if name in prices else None,
                hardware=hardware(_device()),
                measured=f"while labelling {sums['notes']:,.0f} notes, one worker's seconds",
            )
        )
    notes = held_out.notes[: recipe.evaluate.timing_documents]
    by_student(trained["student"], notes[:1])
    start = time.perf_counter()
    by_student(trained["student"], notes)
    seconds, words = time.perf_counter() - start, sum(map(len, notes))
    made.append(
        Cost(
            "student",
            seconds=seconds * 1000 / len(notes),
            words_per_minute=60 * words / seconds,
            usd=None,
            hardware=hardware(_device()),
            measured=f"{len(notes)} held-out notes from words to entities, loading included",
        )
    )
    return made


def _tokens(sums: Mapping[str, float], what: str, per: float) -> float | None:
    """Tokens a thousand notes, kept answers counted as if they had been asked for now; None: it is no such labeler."""
    return (sums[what] + sums.get(f"cached_{what}", 0)) * per if what in sums else None


def _answers(sums: Mapping[str, float]) -> dict[str, float]:
    """How a language model's answers were aligned."""
    return {what: n for what, n in sums.items() if what not in ("seconds", "words", "usd") and "tokens" not in what}


def _split(name: str, counted: Mapping[str, int], types: Sequence[str]) -> Split:
    mentions = {kind: counted[kind] for kind in types}
    return Split(name, counted["notes"], counted["words"], mentions, counted["overlapping"], counted["wordless"])


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
