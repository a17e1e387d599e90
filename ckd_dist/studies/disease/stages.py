"""THE TABLE OF CONTENTS: from hospital tables to a distilled, evaluated student.

    tables -> events -> samples -> prompts -> teacher -> soft-label shards -> student -> report

Every stage reads files and writes files below the run folder.  One whose output is complete returns at once; a killed
one resumes.  Nothing here knows Ray, DeepSpeed or Slurm: launch/ calls these functions on as many processes as a recipe
asks for, and so may torchrun or plain python.
"""

import datetime
import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import polars as pl
import torch

from ckd_dist import stages
from ckd_dist.config import Recipe, result_fields
from ckd_dist.ehr import codes
from ckd_dist.ehr.events import read_codes, read_events
from ckd_dist.ehr.extract import extract as extract_events
from ckd_dist.ehr.samples import build_samples
from ckd_dist.ehr.splits import check_disjoint, check_labels, split_of
from ckd_dist.engine.jobs import Jobs
from ckd_dist.engine.train import Committed, Watch, chosen, never, nobody_waits
from ckd_dist.hospital.tables import write_tables
from ckd_dist.models.base import classifier_config
from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from ckd_dist.progress import Track, nobody
from ckd_dist.schema import SPLITS, Run
from ckd_dist.softlabels.plans import finish_all, still_missing
from ckd_dist.studies.disease import distill as distilling
from ckd_dist.studies.disease import evaluate as score
from ckd_dist.studies.disease import export as exchange
from ckd_dist.studies.disease import label as labelling
from ckd_dist.studies.disease import predict as new_patients
from ckd_dist.studies.disease import teach
from ckd_dist.studies.disease.describe import card_of, notes, num_subjects, source_in_words, without_places
from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from ckd_dist.studies.disease.prompts.naming import naming
from ckd_dist.studies.disease.prompts.write import texts, write_prompts
from ckd_dist.studies.disease.report.page import write_report
from ckd_dist.studies.disease.report.results import Results
from ckd_dist.studies.disease.report.table1 import groups, table1
from ckd_dist.world import World

VOCABULARY_SAMPLES = 2000  # training samples that a tiny model's vocabulary is learned from


def extract(recipe: Recipe, run: Run, track: Track = nobody) -> None:
    """tables -> events, in MEDS; subjects are split here, once, by hash."""
    if stages.is_done(recipe, run, "extract"):
        return
    stages.begin(recipe, run, "extract")
    settings = recipe.extract
    splits = partial(split_of, train=settings.train_fraction, tuning=settings.tuning_fraction, seed=settings.split_seed)
    source = settings.source
    if source.startswith("synthetic:"):
        write_tables(run.tables, num_subjects(source), settings.synthetic_seed)
        source = f"mimic3:{run.tables}"
    report = extract_events(source, run.events, splits, settings.memory_gb, track)
    stages.finish(recipe, run, "extract", stages.files_below(run.events), report)


def select(recipe: Recipe, run: Run, track: Track = nobody) -> None:
    """events -> samples: one visit each, with the labels of the next."""
    if stages.is_done(recipe, run, "select"):
        return
    stages.begin(recipe, run, "select")
    labels = codes.load_label_set(recipe.select.labels)
    samples, flows, count = {}, [], 0
    for split in SPLITS:
        events = read_events(run.events, split)
        samples[split], flow = build_samples(events, labels, recipe.select, labels.columns_of, first_sample_id=count)
        flows.append(flow)
        count += len(samples[split])
        track(len(flows), len(SPLITS))
    check_disjoint({split: frame["subject_id"].unique().to_numpy() for split, frame in samples.items()})
    absent = check_labels(
        {split: frame["labels"] for split, frame in samples.items()}, labels.names, recipe.select.absent_labels
    )
    run.labels.parent.mkdir(parents=True, exist_ok=True)
    for split, frame in samples.items():
        frame.write_parquet(run.samples(split))
    run.labels.write_text(json.dumps({"names": labels.names, "types": labels.types}, indent=1))
    flow = flows[0] + flows[1] + flows[2]
    used = pl.concat([frame["diagnoses"].explode() for frame in samples.values()]).drop_nulls().unique()
    numbers = {"flow": flow.rows, "notes": flow.notes, "absent": absent, "codes": vars(codes.count_codes(used, labels))}
    stages.finish(recipe, run, "select", stages.files_below(run.labels.parent), numbers)


def prompt(recipe: Recipe, run: Run, track: Track = nobody) -> None:
    """samples -> prompts: text, token ids and spans for both readers; knowledge is fitted on training subjects only."""
    if stages.is_done(recipe, run, "prompt"):
        return
    stages.begin(recipe, run, "prompt")
    settings, names = recipe.prompt, label_names(run)
    samples = {split: pl.read_parquet(run.samples(split)) for split in SPLITS}
    name_of = naming(read_codes(run.events), settings.diagnosis_names)
    knowledge = None
    if settings.efficacies:
        knowledge = Knowledge.fit(samples["train"], names, settings.shrinkage, settings.min_support)
        run.knowledge.parent.mkdir(parents=True, exist_ok=True)
        knowledge.save(run.knowledge)
    for reader, base, tiny, make in (
        ("teacher", recipe.teacher.base, recipe.teacher.tiny, make_tiny_teacher),
        ("student", recipe.student.base, recipe.student.tiny, make_tiny_student),
    ):
        if base == "tiny":
            few = samples["train"].sample(min(len(samples["train"]), VOCABULARY_SAMPLES), seed=0)
            make(run.base(reader), texts(few, names, name_of, settings, knowledge, reader), tiny, seed=0)
    for reader, max_tokens in (("teacher", settings.teacher_tokens), ("student", settings.student_tokens)):
        revision = getattr(recipe, reader).revision  # a base that cannot read the prompts is refused before training
        classifier_config(base_of(recipe, run, reader), names, revision, max_tokens)
    numbers = write_prompts(
        samples,
        names,
        name_of,
        settings,
        load_tokenizer(base_of(recipe, run, "teacher"), recipe.teacher.revision),
        load_tokenizer(base_of(recipe, run, "student"), recipe.student.revision),
        knowledge,
        run.prompts,
        run.tokens,
        track,
    )
    files = [*stages.files_below(run.knowledge.parent), *stages.files_below(run.base(""))]
    stages.finish(recipe, run, "prompt", files, numbers)


def train_teacher(
    recipe: Recipe,
    run: Run,
    world: World,
    committed: Committed = nobody_waits,
    should_stop: Callable[[], bool] = never,
    track: Track = nobody,
) -> None:
    """prompts -> teacher: first it learns to write the answer (the published order), then to score the labels.

    Runs on every rank.  Returns with the stage incomplete where `watch.should_stop` said so.
    """
    if stages.is_done(recipe, run, "train_teacher"):
        return
    inputs = stages.begin_on_leader(recipe, run, "train_teacher", world)
    watch = Watch(committed, should_stop, track, run.tensorboard / "teacher")
    settings, base = recipe.teacher, base_of(recipe, run, "teacher")
    fields = stages.fields_of(recipe, "train_teacher")
    answers_fields = {name: value for name, value in fields.items() if not name.startswith("teacher.labels.")}
    answerer = None
    if settings.answers.epochs:
        answerer = teach.answers(
            run, settings, base, world, watch, stages.digest_of([answers_fields, inputs]), card_of(recipe)
        )
        if answerer is None:
            return
    digest = stages.digest_of([fields, inputs])
    fitted = teach.labels(
        run,
        settings,
        base,
        answerer,
        label_names(run),
        recipe.prompt.teacher_tokens,
        world,
        watch,
        digest,
        card_of(recipe),
    )
    if fitted and world.is_leader:
        stages.finish(
            recipe,
            run,
            "train_teacher",
            stages.exported_files(run.teacher),
            chosen(fitted),
        )
    world.barrier()


def plan_labels(recipe: Recipe, run: Run) -> list[int]:
    """The shards of soft labels that are still missing."""
    if stages.is_done(recipe, run, "label"):
        return []
    stages.begin(recipe, run, "label")
    return still_missing(run.softlabels, planned_labels(recipe, run))


class Labeller(labelling.Labeller):
    """teacher -> soft-label shards: one worker, a whole teacher.  `do(number)` publishes one; twice is harmless."""

    def __init__(self, recipe: Recipe, run: Run, device: str) -> None:
        base, planned = base_of(recipe, run, "teacher"), planned_labels(recipe, run)
        super().__init__(run, recipe.label, planned, recipe.teacher.dtype, base, device)


def finish_labels(recipe: Recipe, run: Run) -> None:
    """The index of every finished set, which its readers want."""
    if not stages.is_done(recipe, run, "label"):
        planned = planned_labels(recipe, run)
        files = finish_all(run.softlabels, planned)
        stages.finish(recipe, run, "label", files, {split: plan.plan_hash for split, plan in planned.items()})


JOBS = {"label": Jobs(plan_labels, Labeller, finish_labels)}


def planned_labels(recipe: Recipe, run: Run) -> dict:
    """What the teacher labels, by split."""
    return labelling.plans(run, recipe.label, label_names(run), base_of(recipe, run, "teacher"))


def distill(
    recipe: Recipe,
    run: Run,
    world: World,
    committed: Committed = nobody_waits,
    should_stop: Callable[[], bool] = never,
    track: Track = nobody,
) -> None:
    """soft labels -> student, and its twin that sees hard labels alone.  Runs on every rank."""
    if stages.is_done(recipe, run, "distill"):
        return
    inputs = stages.begin_on_leader(recipe, run, "distill", world)
    watch = Watch(committed, should_stop, track, run.tensorboard / "student")
    settings, names, max_tokens = recipe.student, label_names(run), recipe.prompt.student_tokens
    fields = {k: v for k, v in stages.fields_of(recipe, "distill").items() if k != "student.hard_twin"}
    base = base_of(recipe, run, "student")
    plans = stages.read(run, "label").numbers
    labels = labelling.read(run, recipe.label, plans["train"], names)
    ways = {"soft": (run.student, settings, labels)}
    if settings.hard_twin:
        ways["hard"] = (run.hard_student, distilling.twin(run, settings, len(labels[0])), None)
    numbers, files = {}, []
    for way, (folder, how, soft) in ways.items():
        if world.is_leader and way == "soft":
            folder.mkdir(parents=True, exist_ok=True)
            knowledge = run.knowledge if recipe.prompt.efficacies else None
            new_patients.pack(folder, recipe.select, recipe.prompt, names, knowledge)
        digest = stages.digest_of([way, fields, inputs])
        fitted = distilling.student(run, how, base, names, max_tokens, soft, world, watch, digest, card_of(recipe))
        if fitted is None:
            return
        numbers[way] = chosen(fitted)
        files += stages.exported_files(folder)
    if world.is_leader:
        stages.finish(recipe, run, "distill", files, numbers)
    world.barrier()


def evaluate(recipe: Recipe, run: Run, track: Track = nobody) -> None:
    """everything -> report: probabilities on held_out, floors beside them, intervals over subjects."""
    if stages.is_done(recipe, run, "evaluate"):
        return
    stages.begin(recipe, run, "evaluate")
    settings, names = recipe.evaluate, label_names(run)
    samples = {split: pl.read_parquet(run.samples(split)) for split in SPLITS}
    held_out = score.labelled(run, "held_out")
    if not len(held_out.rows):
        raise ValueError(
            "held_out has no labelled visit, so there is nothing to report on: bring more subjects, or lower "
            "extract.train_fraction or extract.tuning_fraction"
        )
    rows = samples["held_out"][held_out.rows]
    is_synthetic = recipe.extract.source.startswith("synthetic:")
    results = Results(
        title=recipe.name,
        source=source_in_words(recipe.extract.source),
        label_names=tuple(names),
        labels_NK=held_out.hard_NK.astype(int),
        subject_N=rows["subject_id"].to_numpy(),
        models=tuple(score.models(run, names, recipe.label, stages.read(run, "label").numbers, is_synthetic)),
        groups=groups(rows),
        flow=stages.read(run, "select").numbers["flow"],
        table1=table1(samples, names),
        date=datetime.date.today().isoformat(),
        recipe=without_places(result_fields(recipe)),
        versions={
            name: version(name)
            for name in ("torch", "transformers", "peft", "deepspeed", "ray", "numpy", "scikit-learn")
        },
        notes=notes(recipe, stages.read(run, "select").numbers, len(score.labelled(run, "tuning").rows)),
        timings=score.timings(run, settings.timing_samples, settings.timing_batch, settings.seed),
        bootstrap_draws=settings.bootstrap_draws,
        seed=settings.seed,
    )
    write_report(results, run.report)
    stages.finish(recipe, run, "evaluate", stages.files_below(run.report))


def predict(model: Path, source: str, out: Path, track: Track = nobody) -> None:
    """A student, another hospital's tables -> calibrated probabilities for every subject's next visit."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if source.startswith("synthetic:"):
        write_tables(out / "tables", num_subjects(source), seed=1)
        source = f"mimic3:{out / 'tables'}"
    new_patients.predict(model, source, out, device, track)


def export(recipe: Recipe, run: Run, out: Path) -> dict[str, int]:
    """prompts and soft labels -> CKD-EHR's own files.  Returns how many rows each has."""
    stages.inputs_of(recipe, run, "train_teacher")  # says what to run first, where prompts are not there
    name_of = naming(read_codes(run.events), recipe.prompt.diagnosis_names)
    labelled = stages.read(run, "label")
    plans = labelled.numbers if labelled else {}
    return exchange.export(run, out, label_names(run), name_of, recipe.prompt, recipe.label, plans)


def label_names(run: Run) -> list[str]:
    """The label columns of this run, in order."""
    return json.loads(run.labels.read_text())["names"]


def base_of(recipe: Recipe, run: Run, reader: str) -> str:
    """The folder or hub name of a reader's base model."""
    base = getattr(recipe, reader).base
    return str(run.base(reader)) if base == "tiny" else base
