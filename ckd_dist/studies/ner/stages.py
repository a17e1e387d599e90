"""From notes to a distilled, evaluated tagger of clinical entities, a function a stage.

    corpus -> notes -> windows -> teacher -> every labeler's soft tags -> one set of soft tags -> student -> report

Every stage reads files and writes files below the run folder, and returns which ones.  The recipe stops here: what is
called gets the values that it uses.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ckd_dist import record
from ckd_dist.config import Endpoint, values_of
from ckd_dist.engine.export import exported_files
from ckd_dist.engine.loop import Phase
from ckd_dist.engine.teacher import TeacherTraining
from ckd_dist.engine.train import best_of
from ckd_dist.files import files_below
from ckd_dist.models.base import Start, base_model, load_tokenizer, tagger_config
from ckd_dist.models.losses import Mixing
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from ckd_dist.notes.note import Note
from ckd_dist.notes.read import FORMS, to_notes
from ckd_dist.notes.splits import split_corpus, texts_of_owners
from ckd_dist.notes.usable import account_of, check_usable, kept_of
from ckd_dist.report.bootstrap import Bootstrap
from ckd_dist.report.provenance import what_was_read
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.plans import finish_all, open_all, still_missing
from ckd_dist.source import find_source, is_synthetic
from ckd_dist.studies.ner import predict
from ckd_dist.studies.ner.accounts import ask_again, labels_said, refuse_unread, vocabularies_said
from ckd_dist.studies.ner.combine import combine_labelers
from ckd_dist.studies.ner.config import NerRecipe
from ckd_dist.studies.ner.describe import card_of, provenance_of
from ckd_dist.studies.ner.distill import Arm, TaggerTraining, arms, train_student
from ckd_dist.studies.ner.evaluate import annotated_elsewhere, score_elsewhere, score_held_out
from ckd_dist.studies.ner.label import (
    Labeler,
    Labelling,
    Plans,
    check_own,
    dictionaries,
    labeling_costs,
    plan_tags,
    text_labelers,
)
from ckd_dist.studies.ner.labelers.asking import Asking
from ckd_dist.studies.ner.labelers.gazetteer import DictionaryOptions
from ckd_dist.studies.ner.report.costs import costs_of, outcomes_of
from ckd_dist.studies.ner.report.highlight import write_page
from ckd_dist.studies.ner.report.page import write_report
from ckd_dist.studies.ner.report.results import NerResults
from ckd_dist.studies.ner.report.systems import COMBINED, choices_of, curve_of, differences_of, splits_of, systems_of
from ckd_dist.studies.ner.rows import CombinedTags, GoldSample, gold_of, lengths_of
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.studies.ner.sources import read_any
from ckd_dist.studies.ner.store import read_notes, write_notes
from ckd_dist.studies.ner.teach import train_tag_teacher
from ckd_dist.studies.ner.windows import cut
from ckd_dist.study import Context, Jobs, Outcome

VOCABULARY_NOTES = 2000  # training notes that a tiny model's vocabulary is learned from
UNTAGGED = {  # a count of a split -> in words
    "overlapping": "mentions that share a word with a longer one",
    "wordless": "mentions without a word",
}
MAKERS = {"teacher": make_tiny_teacher, "student": make_tiny_student}


def read_source(context: Context) -> Outcome:
    """corpus -> notes: write words with their places and human mentions; split by subject where there is one."""
    settings, run = context.recipe.notes, context.run
    for other in context.recipe.evaluate.other_corpora:
        find_source(other, FORMS)
    corpus = read_any(settings.source, run.tables, settings.synthetic_seed)
    split_N = np.array(
        split_corpus(corpus.documents, settings.train_fraction, settings.tuning_fraction, settings.split_seed)
    )
    notes = to_notes(corpus.documents, settings.types)
    kept = kept_of(corpus, notes, settings.types)
    check_usable(settings.source, corpus, kept)
    known = list(dict.fromkeys(settings.types.values()))
    present = {mention.type for note in notes for mention in note.mentions or ()}
    types = [kind for kind in known if kind in present] or known  # a corpus that nobody annotated may hold any
    if not is_synthetic(settings.source):
        check_own([spec for each in context.recipe.label.ontologies for spec in each.vocabularies], types)
    run.write_tags(types, known)
    splits, count = {}, 0
    for done, split in enumerate(SPLITS, 1):
        rows = np.flatnonzero(split_N == split)
        mine = [notes[row] for row in rows]
        ids = np.arange(count, count + len(rows))
        write_notes(run.notes(split), ids, [corpus.documents[row] for row in rows], mine)
        splits[split] = _counts(mine, types)
        count += len(rows)
        context.callbacks.track(done, len(SPLITS))
    check_annotated(splits, context.recipe)
    for other in context.recipe.evaluate.other_corpora:  # refused now, not when all is trained
        annotated_elsewhere(other, settings.types, types)
    untagged = {words: sum(counts[what] for counts in splits.values()) for what, words in UNTAGGED.items()}
    said = account_of(corpus, kept, untagged).sentence()
    files = [*files_below(run.tags.parent), *files_below(run.tables)]
    return Outcome(files, {"corpus": corpus.counts, "splits": splits}, said=said)


def check_annotated(splits: Mapping[str, Mapping[str, int]], recipe: NerRecipe) -> None:
    """Raise ValueError where a later stage would find nothing that somebody annotated."""
    if recipe.label.teacher and not splits["train"]["annotated"]:
        raise ValueError(
            "no note of train is annotated, so the teacher has nothing to learn from: give an annotated corpus, or "
            "label.teacher=false"
        )
    if recipe.combine.by == "search" and not splits["tuning"]["annotated"]:
        raise ValueError(
            "no note of tuning is annotated, so labelers cannot be compared: annotate some, or give combine.by=model"
        )


def _counts(notes: Sequence[Note], types: Sequence[str]) -> dict[str, int]:
    """Count what a split holds."""
    gold = gold_of(notes, types)
    mentions = [mention.type for note in notes for mention in note.mentions or ()]
    return {
        "notes": len(notes),
        "annotated": int(gold.annotated_N.sum()),
        "words": int(lengths_of(notes).sum()),
        "overlapping": gold.overlapping,
        "wordless": gold.wordless,
    } | {kind: mentions.count(kind) for kind in types}


def window_teacher(context: Context) -> Outcome:
    """notes -> the teacher's windows: cut them; refuse here, before a teacher is trained, who cannot label."""
    labelers = text_labelers(context.run, labelling_of(context.recipe))
    return replace(_windows(context, "teacher", context.recipe.teacher.twice), said=vocabularies_said(labelers))


def window_student(context: Context) -> Outcome:
    """notes -> the student's windows: cut them."""
    return _windows(context, "student", twice=False)


def _windows(context: Context, role: Literal["teacher", "student"], twice: bool) -> Outcome:
    """Cut every split into windows for `role`: token ids, every word owned by exactly one; make its tiny base."""
    run, settings, said = context.run, getattr(context.recipe, role), []
    stored = {split: read_notes(run.notes(split)) for split in SPLITS}
    notes = {split: stored[split].notes for split in SPLITS}
    if settings.base == "tiny":
        documents = stored["train"].documents()[:VOCABULARY_NOTES]
        unnamed = sum(document.subject is None for document in documents)
        said = [MAKERS[role](run.base(role), texts_of_owners(documents), settings.tiny, seed=0).sentence()]
        said += [f"{unnamed:,} notes name no subject, so each counts as one"] if unnamed else []
    base = base_model(run, role, settings.base)
    tagger_config(base, run.tag_columns(), settings.revision, settings.max_tokens)  # refused before training
    tokenizer, numbers = load_tokenizer(base, settings.revision), {}
    for done, split in enumerate(SPLITS, 1):
        windows = cut(
            notes[split],
            tokenizer,
            max_tokens=settings.max_tokens,
            context_tokens=settings.context_tokens,
            twice=twice,
        )
        windows.write(run.windows(split, role))
        numbers[split] = {"windows": len(windows), "tokens": int(windows.lengths.sum())}
        context.callbacks.track(done, len(SPLITS))
    files = [*(run.windows(split, role) for split in SPLITS), *files_below(run.base(role))]
    return Outcome(files, numbers, said="; ".join(said))


def train_teacher(context: Context) -> Outcome | None:
    """annotated notes -> teacher: train it."""
    recipe, run, settings = context.recipe, context.run, context.recipe.teacher
    start = Start(base_model(run, "teacher", settings.base), settings.revision, settings.max_tokens)
    training = values_of(settings, TeacherTraining)
    phase = Phase(
        settings.optim, run.teacher, context.digest(), "entity_f1", context.callbacks, run.tensorboard / "teacher"
    )
    card = card_of(recipe, settings.base)
    fitted = train_tag_teacher(run, training, start, gold_sample(recipe), phase, context.world, card)
    return Outcome(exported_files(run.teacher), best_of(fitted)) if fitted else None


def gold_sample(recipe: NerRecipe) -> GoldSample:
    """Return which annotated notes of train may be learned from."""
    return GoldSample(recipe.notes.gold_documents, recipe.notes.split_seed)


def labelling_of(recipe: NerRecipe) -> Labelling:
    """Return who labels, and how notes are cut into shards."""
    part = recipe.label
    return Labelling(
        dictionaries=tuple(values_of(each, DictionaryOptions) for each in part.ontologies),
        models=tuple((values_of(each, Endpoint), values_of(each, Asking)) for each in part.endpoints),
        teacher=part.teacher,
        shard_rows=part.shard_rows,
        order_seed=part.order_seed,
        micro_tokens=part.micro_tokens,
    )


def planned_tags(context: Context) -> Plans:
    """Return what is labelled, by labeler and split."""
    labelling = labelling_of(context.recipe)
    return plan_tags(context.run, labelling, text_labelers(context.run, labelling))


def missing_tags(context: Context) -> list[int]:
    """Return the shards of soft tags that are not there yet, or are to be made again, of all labelers."""
    planned = planned_tags(context)
    ask_again(context.run, planned, models_of(labelling_of(context.recipe)))
    return still_missing(context.run.softlabels, planned, context.digest())


def models_of(labelling: Labelling) -> dict[str, str]:
    """Return the model of each labeler that is a language model."""
    return {endpoint.name: endpoint.model for endpoint, _ in labelling.models}


def labeler(context: Context, device: str) -> Labeler:
    """notes -> shards of soft tags: return one worker with every labeler."""
    recipe, run = context.recipe, context.run
    base = base_model(run, "teacher", recipe.teacher.base)
    planned = open_all(run.softlabels, context.digest())
    return Labeler(run, labelling_of(recipe), planned, dtype=recipe.teacher.dtype, tokenizer=base, device=device)


def finish_tags(context: Context) -> Outcome:
    """Write the index of every finished set, and sum what it cost.  Raise ValueError where too much is unread."""
    run, labelling = context.run, labelling_of(context.recipe)
    labelers = text_labelers(run, labelling)
    planned = plan_tags(run, labelling, labelers)
    refuse_unread(run, planned, models_of(labelling))
    files = finish_all(run.softlabels, planned)
    plans: dict[str, dict[str, str]] = {}
    for (name, split), plan in planned.items():
        plans.setdefault(split, {})[name] = plan.plan_hash
    costs = labeling_costs(run, planned)
    return Outcome(files, {"plans": plans}, costs, said=labels_said(costs, labelers))


LABEL = Jobs(missing_tags, labeler, finish_tags)


def combine(context: Context) -> Outcome:
    """every labeler's soft tags -> one set: choose a subset and rule for each type, or fit a label model."""
    recipe, run = context.recipe, context.run
    labelled = record.read(run, "label").numbers["plans"]
    seen = GoldSample(recipe.combine.gold_documents, recipe.notes.split_seed)
    plans, metadata = combine_labelers(run, recipe.combine.by, seen, labelled)
    context.callbacks.track(1, 1)
    files = [run.combination, *(file for plan in plans.values() for file in files_below(run.softlabels / plan))]
    return Outcome(files, {"plans": plans, "metadata": metadata})


def combined_tags(run: NerRun) -> CombinedTags:
    """Return the soft tags that students learn from."""
    numbers = record.read(run, "combine").numbers
    return CombinedTags(numbers["plans"]["train"], numbers["metadata"]["made_by"])


def arms_of(recipe: NerRecipe, run: NerRun) -> dict[str, Arm]:
    """Return the students that are trained, by name."""
    student, annotated = recipe.student, record.read(run, "read").numbers["splits"]["train"]["annotated"]
    human = annotated > 0 and recipe.notes.gold_documents != 0  # whether there are human labels to learn from
    sizes = student.gold_sizes if human else ()
    return arms(run, gold_sample(recipe), combined_tags(run), student.hard_baseline and human, sizes)


def distill(context: Context) -> Outcome | None:
    """soft tags -> student: train it, its baseline on human labels alone, and the learning curve's."""
    recipe, run, settings = context.recipe, context.run, context.recipe.student
    start = Start(base_model(run, "student", settings.base), settings.revision, settings.max_tokens)
    loss = settings.loss
    training = TaggerTraining(settings.engine, settings.dtype, settings.crf, values_of(loss, Mixing), loss.balance)
    numbers, files = {}, []
    for name, arm in arms_of(recipe, run).items():
        if context.world.is_leader:
            predict.pack(arm.folder, run.types(), settings.max_tokens, settings.context_tokens)
        digest = context.digest(name, without=["student.hard_baseline", "student.gold_sizes"])
        phase = Phase(settings.optim, arm.folder, digest, "entity_f1", context.callbacks, run.tensorboard / "student")
        fitted = train_student(run, training, start, arm, phase, context.world, card_of(recipe, settings.base))
        if fitted is None:
            return None
        numbers[name] = best_of(fitted)
        files += exported_files(arm.folder)
    left_out = recipe.student.hard_baseline and "human" not in numbers
    said = "no student of human labels alone: nobody annotated a note that may be learned from" if left_out else ""
    return Outcome(files, numbers, said=said)


def evaluate(context: Context) -> Outcome:
    """tags -> report: score students, labelers and their combination on held_out's notes and on other corpora."""
    recipe, run, track = context.recipe, context.run, context.callbacks.track
    settings, bootstrap = recipe.evaluate, Bootstrap(recipe.evaluate.bootstrap_draws, recipe.evaluate.seed)
    corpus, combined = (record.read(run, name).numbers for name in ("read", "combine"))
    if not corpus["splits"]["held_out"]["annotated"]:
        return Outcome([], said="no held-out note is annotated, so there is no report: the student is ready for use")
    labelled = record.read(run, "label")
    trained, labelling = arms_of(recipe, run), labelling_of(recipe)
    tagged = [each["held_out"] for each in (labelled.numbers["plans"], combined["plans"])]
    plans = tagged[0] | {COMBINED: tagged[1]}
    held_out = score_held_out(run, plans, trained, bootstrap)
    track(1, 4)
    named = dictionaries(run, labelling) if settings.other_corpora else {}
    elsewhere = [
        line
        for source in settings.other_corpora
        for line in score_elsewhere(source, recipe.notes.types, held_out, trained, named, bootstrap)
    ]
    track(2, 4)
    timed = held_out.notes[: settings.timing_documents]
    estimates = {name: held_out.estimates(name) for name in held_out.found}
    results = NerResults(
        provenance=replace(provenance_of(recipe, datetime.date.today()), was_read=what_was_read(run, "read", "label")),
        types=tuple(held_out.types),
        systems=systems_of(estimates, labelling.kinds, trained),
        corpus=splits_of(corpus["splits"], held_out.types),
        differences=differences_of(estimates, trained),
        choices=choices_of(combined["metadata"]),
        curve=curve_of(estimates, trained, corpus["splits"]["train"]["annotated"]),
        elsewhere=elsewhere,
        costs=costs_of(labelled.costs, labelling.prices, trained["student"], timed),
        left_out={what: n for what, n in corpus["corpus"].items() if n and what not in ("annotated", "mentions")},
        answers={each.name: outcomes_of(labelled.costs[each.name]) for each in recipe.label.endpoints},
        drawn=held_out.drawn,
        bootstrap_draws=settings.bootstrap_draws,
        seed=settings.seed,
    )
    track(3, 4)
    write_report(results, run.report)
    write_page(run.held_out_page, held_out.marked(), held_out.types, title=f"{recipe.name}: held-out notes")
    track(4, 4)
    return Outcome([*files_below(run.report), run.held_out_page])
