"""THE SECOND STUDY'S TABLE OF CONTENTS: from notes to a distilled, evaluated tagger of clinical entities.

    corpus -> notes -> windows -> teacher -> every labeler's soft tags -> one set of soft tags -> student -> report

Vedula et al. 2024 (arXiv 2501.00031) label notes with language models and an ontology, choose the best combination on
a development set and train a BERT tagger on it.  The shards, the stream, the loop and the launch are the first study's;
a unit is a word, a column a BIO tag.  Rules of a stage: pipeline.py.
"""

from pathlib import Path

import numpy as np
import torch

from ckd_dist import stages
from ckd_dist.engine.jobs import Jobs
from ckd_dist.engine.train import Committed, Watch, chosen, never, nobody_waits
from ckd_dist.models.base import tagger_config
from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from ckd_dist.notes.read import read_corpus, split_corpus, to_notes
from ckd_dist.progress import Track, nobody
from ckd_dist.schema import SPLITS, Run
from ckd_dist.softlabels.plans import finish_all, still_missing
from ckd_dist.studies.disease.describe import num_subjects
from ckd_dist.studies.ner import combine as combining
from ckd_dist.studies.ner import distill as distilling
from ckd_dist.studies.ner import evaluate as score
from ckd_dist.studies.ner import label as labelling
from ckd_dist.studies.ner import predict as new_notes
from ckd_dist.studies.ner import teach
from ckd_dist.studies.ner.config import NerRecipe
from ckd_dist.studies.ner.describe import card_of
from ckd_dist.studies.ner.rows import gold_of, lengths_of, tag_columns, write_tag_columns
from ckd_dist.studies.ner.store import read_notes, write_notes
from ckd_dist.studies.ner.synthetic.notes import write_notes as write_made_up
from ckd_dist.studies.ner.windows import cut
from ckd_dist.world import World

VOCABULARY_NOTES = 2000  # training notes that a tiny model's vocabulary is learned from


def read(recipe: NerRecipe, run: Run, track: Track = nobody) -> None:
    """corpus -> notes: words with their places, human mentions, and the split, by subject where there is one."""
    if stages.is_done(recipe, run, "read"):
        return
    stages.begin(recipe, run, "read")
    settings, source = recipe.notes, recipe.notes.source
    if source.startswith("synthetic:"):
        write_made_up(run.tables, num_subjects(source), settings.synthetic_seed)
        source = f"jsonl:{run.tables / 'notes.jsonl'}"
    corpus = read_corpus(source)
    split_N = np.array(
        split_corpus(corpus.documents, settings.train_fraction, settings.tuning_fraction, settings.split_seed)
    )
    notes = to_notes(corpus.documents, settings.types)
    wanted = list(dict.fromkeys(settings.types.values()))
    present = {mention.type for note in notes for mention in note.mentions or ()}
    types = [kind for kind in wanted if kind in present] or wanted  # a corpus that nobody annotated may hold any
    write_tag_columns(run, types, wanted)
    numbers, count = {"corpus": corpus.counts, "splits": {}}, 0
    for done, split in enumerate(SPLITS, 1):
        rows = np.flatnonzero(split_N == split)
        mine = [notes[row] for row in rows]
        ids = np.arange(count, count + len(rows))
        write_notes(run.notes(split), ids, [corpus.documents[row] for row in rows], mine)
        numbers["splits"][split] = _counted(mine, types)
        count += len(rows)
        track(done, len(SPLITS))
    made_up = stages.files_below(run.tables) if run.tables.is_dir() else []
    stages.finish(recipe, run, "read", [*stages.files_below(run.tags.parent), *made_up], numbers)


def _counted(notes: list, types: list[str]) -> dict[str, int]:
    """What a split holds, in numbers."""
    gold = gold_of(notes, types)
    mentions = [mention.type for note in notes for mention in note.mentions or ()]
    return {
        "notes": len(notes),
        "annotated": int(gold.annotated_N.sum()),
        "words": int(lengths_of(notes).sum()),
        "overlapping": gold.overlapping,
        "wordless": gold.wordless,
    } | {kind: mentions.count(kind) for kind in types}


def window(recipe: NerRecipe, run: Run, track: Track = nobody) -> None:
    """notes -> windows: token ids for both readers, every word owned by exactly one window."""
    if stages.is_done(recipe, run, "window"):
        return
    stages.begin(recipe, run, "window")
    labelling.readers_of(run, recipe.label)  # a labeler that cannot label is refused before a teacher is trained
    notes = {split: read_notes(run.notes(split)).notes for split in SPLITS}
    texts = [note.text for note in notes["train"][:VOCABULARY_NOTES]]
    readers = {"student": make_tiny_student} | ({"teacher": make_tiny_teacher} if recipe.label.teacher else {})
    numbers = {}
    for done, (reader, make) in enumerate(readers.items(), 1):
        settings = getattr(recipe, reader)
        if settings.base == "tiny":
            make(run.base(reader), texts, settings.tiny, seed=0)
        base = base_of(recipe, run, reader)
        tagger_config(base, tag_columns(run), settings.revision, settings.max_tokens)  # refused before training
        tokenizer = load_tokenizer(base, settings.revision)
        for split in SPLITS:
            windows = cut(
                notes[split],
                tokenizer,
                max_tokens=settings.max_tokens,
                context_tokens=settings.context_tokens,
                twice=reader == "teacher" and settings.twice,
            )
            windows.write(run.windows(split, reader))
            numbers[f"{reader}_{split}"] = {"windows": len(windows), "tokens": int(windows.lengths.sum())}
        track(done, len(readers))
    files = [run.windows(split, reader) for reader in readers for split in SPLITS]
    bases = stages.files_below(run.base("")) if run.base("").is_dir() else []
    stages.finish(recipe, run, "window", [*files, *bases], numbers)


def train_teacher(
    recipe: NerRecipe,
    run: Run,
    world: World,
    committed: Committed = nobody_waits,
    should_stop=never,
    track: Track = nobody,
) -> None:
    """annotated notes -> teacher.  Runs on every rank; returns with the stage incomplete where it was told to stop."""
    if stages.is_done(recipe, run, "train_teacher"):
        return
    inputs = stages.begin_on_leader(recipe, run, "train_teacher", world)
    watch = Watch(committed, should_stop, track, run.tensorboard / "teacher")
    digest = stages.digest_of([stages.fields_of(recipe, "train_teacher"), inputs])
    base, notes = base_of(recipe, run, "teacher"), recipe.notes
    fitted = teach.teacher(
        run, recipe.teacher, base, notes.gold_documents, notes.split_seed, world, watch, digest, card_of(recipe)
    )
    if fitted and world.is_leader:
        stages.finish(recipe, run, "train_teacher", stages.exported_files(run.teacher), chosen(fitted))
    world.barrier()


def plan_labels(recipe: NerRecipe, run: Run) -> list[int]:
    """The shards of soft tags that are still missing, of all labelers."""
    if stages.is_done(recipe, run, "label"):
        return []
    stages.begin(recipe, run, "label")
    return still_missing(run.softlabels, planned_labels(recipe, run))


class Labeller(labelling.Labeller):
    """notes -> shards of soft tags: one worker, every labeler.  `do(number)` publishes one; twice is harmless."""

    def __init__(self, recipe: NerRecipe, run: Run, device: str) -> None:
        super().__init__(run, recipe.label, recipe.teacher, base_of(recipe, run, "teacher"), device)


def finish_labels(recipe: NerRecipe, run: Run) -> None:
    """The index of every finished set, and what it cost."""
    if not stages.is_done(recipe, run, "label"):
        planned = planned_labels(recipe, run)
        files = finish_all(run.softlabels, planned)
        plans: dict[str, dict[str, str]] = {}
        for (name, split), plan in planned.items():
            plans.setdefault(split, {})[name] = plan.plan_hash
        stages.finish(recipe, run, "label", files, {"plans": plans, "costs": labelling.costs(run, planned)})


JOBS = {"label": Jobs(plan_labels, Labeller, finish_labels)}


def planned_labels(recipe: NerRecipe, run: Run) -> dict:
    """What is labelled, by labeler and split."""
    return labelling.plans(run, recipe.label, labelling.readers_of(run, recipe.label))


def combine(recipe: NerRecipe, run: Run, track: Track = nobody) -> None:
    """every labeler's soft tags -> one set: the best subset and rule of each type, or a label model."""
    if stages.is_done(recipe, run, "combine"):
        return
    stages.begin(recipe, run, "combine")
    labelled = stages.read(run, "label").numbers["plans"]
    plans, told = combining.combine(run, recipe.combine, labelled, recipe.notes.split_seed)
    files = [run.combination, *combining.files_of(run, plans)]
    stages.finish(recipe, run, "combine", files, {"plans": plans, "told": told})
    track(1, 1)


def distill(
    recipe: NerRecipe,
    run: Run,
    world: World,
    committed: Committed = nobody_waits,
    should_stop=never,
    track: Track = nobody,
) -> None:
    """soft tags -> student, its twin on human labels alone, and the learning curve's.  Runs on every rank."""
    if stages.is_done(recipe, run, "distill"):
        return
    inputs = stages.begin_on_leader(recipe, run, "distill", world)
    watch = Watch(committed, should_stop, track, run.tensorboard / "student")
    settings, notes, combined = recipe.student, recipe.notes, stages.read(run, "combine").numbers
    fields = {
        name: value
        for name, value in stages.fields_of(recipe, "distill").items()
        if name not in ("student.hard_twin", "student.gold_sizes")
    }
    base = base_of(recipe, run, "student")
    numbers, files = {}, []
    for name, way in distilling.ways(run, settings, notes.gold_documents).items():
        if world.is_leader:
            new_notes.pack(way.folder, read_types(run), settings.max_tokens, settings.context_tokens)
        fitted = distilling.student(
            run,
            settings,
            way,
            base,
            combined["plans"],
            combined["told"]["made_by"],
            notes.split_seed,
            world,
            watch,
            stages.digest_of([name, fields, inputs]),
            card_of(recipe),
        )
        if fitted is None:
            return
        numbers[name] = chosen(fitted)
        files += stages.exported_files(way.folder)
    if world.is_leader:
        stages.finish(recipe, run, "distill", files, numbers)
    world.barrier()


def evaluate(recipe: NerRecipe, run: Run, track: Track = nobody) -> None:
    """students, labelers and their combination -> report, on the annotated notes of held_out and on other corpora."""
    if stages.is_done(recipe, run, "evaluate"):
        return
    stages.begin(recipe, run, "evaluate")
    score.report(recipe, run, track)
    stages.finish(recipe, run, "evaluate", [*stages.files_below(run.report), run.held_out_page])


def extract(model: Path, notes: str, out: Path, track: Track = nobody) -> dict[str, int]:
    """A tagger, new notes -> entities.jsonl, brat/, entities.html below `out`.  Returns what was counted."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = notes if ":" in notes else f"text:{notes}"
    return new_notes.extract(model, read_corpus(source).documents, out, device, track)


def read_types(run: Run) -> list[str]:
    """The types of this run, in order."""
    return [name[2:] for name in tag_columns(run)[1::2]]


def base_of(recipe: NerRecipe, run: Run, reader: str) -> str:
    """The folder or hub name of a reader's base model."""
    base = getattr(recipe, reader).base
    return str(run.base(reader)) if base == "tiny" else base
