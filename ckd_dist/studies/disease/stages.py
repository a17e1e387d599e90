"""Go from hospital tables to a distilled, evaluated student: the stages as functions, in the order of the data.

    tables -> events -> samples -> prompts -> teacher -> soft-label shards -> student -> report

Three have files of their own: prompt_stage.py writes the prompts, validate_stage.py judges the teacher, and
experiment_stage.py compares students.  Every stage reads files and writes files below the run folder, and returns which
ones.  The recipe stops at the stages: what is called gets the values that it uses.
"""

import datetime
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.account import Account
from ckd_dist.config import dump, values_of
from ckd_dist.ehr.codemap import load_code_map
from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.events import read_events
from ckd_dist.ehr.extract import extract as extract_events
from ckd_dist.ehr.kept import account_of
from ckd_dist.ehr.labelcheck import check_codes, count_codes, diagnosis_codes
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.ehr.samples import CONTRADICTIONS, build_samples
from ckd_dist.ehr.sources import with_tables
from ckd_dist.ehr.splits import check_disjoint, check_labels, split_of
from ckd_dist.engine.export import exported_files
from ckd_dist.engine.loop import Fitted, Phase
from ckd_dist.engine.teacher import TeacherTraining
from ckd_dist.engine.train import best_of
from ckd_dist.files import files_below, replacing, write
from ckd_dist.models.adapter import check_targets
from ckd_dist.models.base import Start, base_model
from ckd_dist.models.losses import Mixing
from ckd_dist.record import read
from ckd_dist.report.provenance import what_was_read
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.plans import finish_all, open_all, still_missing
from ckd_dist.studies.disease.compare import experiment_tables
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.describe import provenance_of, student_card_of, teacher_card_of
from ckd_dist.studies.disease.distill import StudentTraining, as_many_updates, train_student
from ckd_dist.studies.disease.evaluate import (
    score_models,
    time_models,
    write_held_out,
)
from ckd_dist.studies.disease.export import export_published
from ckd_dist.studies.disease.folds import Fold, check_folds, folds_of, missed_labels
from ckd_dist.studies.disease.from_run import other_teacher, seen_of, teachers_of
from ckd_dist.studies.disease.held_out import read_cohort, read_held_out, read_labelled
from ckd_dist.studies.disease.label import Labeler, Labelling, plan_labels
from ckd_dist.studies.disease.predict import pack
from ckd_dist.studies.disease.prompt_stage import knowledge_of, rendering_of
from ckd_dist.studies.disease.report.page import write_report
from ckd_dist.studies.disease.report.results import Results
from ckd_dist.studies.disease.report.validation import validation_of
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import read_samples, said_of, seen_by
from ckd_dist.studies.disease.soft_labels import open_plans, read_soft_labels
from ckd_dist.studies.disease.soft_sources import is_law_known
from ckd_dist.studies.disease.teach import train_classifier, train_on_answers
from ckd_dist.studies.disease.temperature import Temperature, check_temperature
from ckd_dist.studies.disease.validate_stage import check_gate
from ckd_dist.study import Context, Jobs, Outcome


def extract(context: Context) -> Outcome:
    """tables -> events: write them as MEDS, and split the subjects, once, by hash."""
    settings, run = context.recipe.extract, context.run
    splits = partial(split_of, train=settings.train_fraction, tuning=settings.tuning_fraction, seed=settings.split_seed)
    source = with_tables(settings.source, run.tables, settings.synthetic_seed, settings.synthetic_codes)
    code_map = load_code_map(settings.code_map)
    report = extract_events(source, run.events, splits, settings.memory_gb, context.callbacks.track, code_map)
    return Outcome(files_below(run.events), report, said=account_of(report).sentence())


def select(context: Context) -> Outcome:
    """events -> samples: write one visit each, with the labels of the next."""
    settings, run = context.recipe.select, context.run
    labels = load_label_set(settings.labels)
    remarks = check_codes(labels, diagnosis_codes(read_events(run.events, split) for split in SPLITS), settings.labels)
    samples, flows, count = {}, [], 0
    for split in SPLITS:
        events = read_events(run.events, split)
        samples[split], flow = build_samples(
            events, labels, values_of(settings, Criteria), labels.columns_of, first_sample_id=count
        )
        flows.append(flow)
        count += len(samples[split])
        context.callbacks.track(len(flows), len(SPLITS))
    check_disjoint({split: frame["subject_id"].unique().to_numpy() for split, frame in samples.items()})
    extracted = read(run, "extract")
    absent = check_labels(
        {split: frame["labels"] for split, frame in samples.items()},
        labels.names,
        settings.absent_labels,
        extracted.said if extracted else "",
        remarks,
    )
    for split, frame in samples.items():
        with replacing(run.samples(split)) as temporary:
            frame.write_parquet(temporary)
    write(run.labels, json.dumps({"names": labels.names, "types": labels.types}, indent=1))
    flow = flows[0] + flows[1] + flows[2]
    used = pl.concat([frame["diagnoses"].explode() for frame in samples.values()]).drop_nulls().unique()
    numbers = {"flow": flow.rows, "notes": flow.notes, "absent": absent, "codes": vars(count_codes(used, labels))}
    kept = {"visits": count, "with a next visit": flow.notes["labelled by a next visit"]}
    lost = flow.excluded() | {words: flow.notes[words] for words in CONTRADICTIONS.values()}
    lost |= {f"labels that never occur in {split}": len(names) for split, names in absent.items()}
    return Outcome(files_below(run.labels.parent), numbers, said=Account(kept, lost, remarks).sentence())


def train_teacher(context: Context) -> Outcome | None:
    """prompts -> teacher: train it; where subjects are cross-fitted, one for each fold, one after another."""
    recipe, run = context.recipe, context.run
    num, seen = recipe.teacher.folds, seen_by("teacher", recipe.teacher)
    samples = read_samples(run, "train", seen, columns=["subject_id", "labels"]).drop_nulls("labels")
    subject_ids, hard_NK = samples["subject_id"].to_numpy(), np.array(samples["labels"].to_list())
    check_folds(num, subject_ids)
    remarks = missed_labels(num, subject_ids, hard_NK, run.label_names(), recipe.select.absent_labels)
    numbers, files = {}, []
    for fold, folder in zip(folds_of(num), run.teachers(num), strict=True):
        fitted = _train_fold(context, fold, folder)
        if fitted is None:
            return None
        numbers |= {fold.name: best_of(fitted)} if fold.name else best_of(fitted)
        files += exported_files(folder)
    return Outcome(files, numbers, said="; ".join(remarks))


def _train_fold(context: Context, fold: Fold, folder: Path) -> Fitted | None:
    """Train a fold's teacher to write the answer (SFT, the published order), then to score the labels.

    One that is finished already makes no step more: its best checkpoint is exported again.
    """
    recipe, run, settings = context.recipe, context.run, context.recipe.teacher
    seen, card = replace(seen_by("teacher", settings), fold=fold), teacher_card_of(recipe, fold)
    training, of_fold = values_of(settings, TeacherTraining), [fold.name] if fold.name else []
    start = Start(base_model(run, "teacher", settings.base), settings.revision, recipe.prompt.teacher_tokens)
    if "lora" in (settings.tuning, settings.sft_tuning):  # refused before the first phase
        check_targets(start.base, start.revision, settings.lora.targets)
    phase = partial(Phase, callbacks=context.callbacks, scalars=run.tensorboard / "teacher" / fold.name)
    if settings.sft.epochs:
        digest = context.digest("sft", *of_fold, without=["teacher.labels"])
        sft = phase(settings.sft, folder / "sft", digest, metric="answer_log_likelihood")
        sft_training = replace(training, tuning=settings.sft_tuning)
        answerer = train_on_answers(run, sft_training, start, sft, context.world, card, seen)
        if answerer is None:
            return None
        start = start.after(answerer, settings.sft_tuning)
    classify = phase(settings.labels, folder, context.digest(*of_fold), metric="macro_auroc")
    return train_classifier(run, training, start, classify, context.world, card, seen)


def planned_labels(context: Context) -> dict[str, Plan]:
    """Return the plans of what the teachers label, by split and fold."""
    check_temperature(context.recipe.label.temperature, context.recipe.label.import_from)
    teachers = teachers_of(context.recipe, context.run)
    return plan_labels(context.run, values_of(context.recipe.label, Labelling), teachers)


def missing_labels(context: Context) -> list[int]:
    """Return the shards of soft labels that are not there yet.  Raise ValueError where the gate refuses the teacher."""
    judged = None if context.recipe.label.import_from else read(context.run, "validate_teacher")
    if judged:
        check_gate(validation_of(judged.numbers), context.recipe.label.gate)
    return still_missing(context.run.softlabels, planned_labels(context), context.digest())


def labeler(context: Context, device: str) -> Labeler:
    """teacher -> soft-label shards: return one worker with a whole teacher."""
    labelling, teachers = values_of(context.recipe.label, Labelling), teachers_of(context.recipe, context.run)
    planned = open_all(context.run.softlabels, context.digest())
    return Labeler(context.run, labelling, planned, teachers, device)


def finish_labels(context: Context) -> Outcome:
    """Write the index of every finished set, which the student and the report read."""
    plans = planned_labels(context)
    files = finish_all(context.run.softlabels, plans)
    return Outcome(files, {name: plan.plan_hash for name, plan in plans.items()})


LABEL = Jobs(missing_labels, labeler, finish_labels)


def distill(context: Context) -> Outcome | None:
    """soft labels -> student: train it, and the hard-label baseline, the same student without soft labels."""
    recipe, run, world = context.recipe, context.run, context.world
    settings = recipe.student
    plans, teachers = read(run, "label").numbers, teachers_of(recipe, run)
    labelled = {split: open_plans(run, teachers, plans, split) for split in ("train", "tuning")}
    soft = {split: read_soft_labels(run, opened) for split, opened in labelled.items() if opened}
    if recipe.label.temperature != "none":
        temperature = Temperature.load(run.temperature, run.label_names())
        soft = {split: (ids_N, temperature.soften(logits_NK)) for split, (ids_N, logits_NK) in soft.items()}
    start = Start(base_model(run, "student", settings.base), settings.revision, recipe.prompt.student_tokens)
    seen = seen_by("student", settings)
    arms = {"soft": (run.student, settings.optim, soft)}
    if settings.hard_baseline:
        arms["hard"] = (run.hard_student, as_many_updates(run, settings.optim, len(soft["train"][0]), seen), {})
    knowledge = knowledge_of(recipe, run, "student")
    if world.is_leader:
        reading = {
            "labels": run.label_names(),
            "select": dump(recipe.select),
            "prompt": dump(recipe.prompt),
            "synthetic_codes": recipe.extract.synthetic_codes,
        }
        pack(run.student, reading, knowledge and knowledge.shareable(recipe.prompt.efficacies), recipe.extract.code_map)
    mixing, unlabelled_weight = values_of(settings.loss, Mixing), settings.loss.unlabelled_weight
    training = StudentTraining(settings.engine, settings.dtype, mixing, seen, unlabelled_weight)
    numbers, files = {}, []
    for arm, (folder, optim, labels) in arms.items():
        digest = context.digest(arm, without=["student.hard_baseline", "extract", "select", "prompt"])
        phase = Phase(optim, folder, digest, "negative_loss", context.callbacks, run.tensorboard / "student")
        other = other_teacher(recipe, run) if arm == "soft" else None
        card = student_card_of(recipe, packed=arm == "soft", other=other)
        fitted = train_student(run, training, start, labels, phase, world, card)
        if fitted is None:
            return None
        numbers[arm] = best_of(fitted)
        files += exported_files(folder)
    return Outcome(files, numbers, said=knowledge.account(recipe.prompt.efficacies).sentence() if knowledge else "")


def evaluate(context: Context) -> Outcome:
    """predictions -> report: keep them, and score all models on held_out, beside baselines, with intervals."""
    recipe, run, settings = context.recipe, context.run, context.recipe.evaluate
    selected, plans = read(run, "select").numbers, read(run, "label").numbers
    held_out = read_held_out(run)  # refused before anything is scored
    seen = seen_by("student", recipe.student)
    num_tuning_pairs = len(read_labelled(run, "tuning", seen).rows)
    students = ({"student_hard": run.hard_student} if recipe.student.hard_baseline else {}) | {"student": run.student}
    teachers, other = teachers_of(recipe, run), other_teacher(recipe, run)
    is_known = is_law_known(recipe.extract.source, recipe.select.labels, recipe.select.history_visits)
    models = score_models(run, students, teachers, plans, is_known, seen)
    write_held_out(run, models)
    timed = ({} if teachers.import_from else {"teacher": teachers.folders[0]}) | {"student": run.student}
    validated = None if teachers.import_from else read(run, "validate_teacher")
    provenance = provenance_of(
        recipe, selected, _whose_labels(recipe, run), num_tuning_pairs, datetime.date.today(), other
    )
    results = Results(
        replace(provenance, was_read=what_was_read(run, "extract", "select")),
        held_out,
        read_cohort(run, selected["flow"], read(run, "extract").numbers["tables"], seen),
        tuple(models),
        time_models(run, timed, settings.timing_samples, settings.timing_batch, settings.seed),
        settings.bootstrap_draws,
        settings.seed,
        validation=validation_of(validated.numbers) if validated else None,
        experiments=experiment_tables(recipe, run),
    )
    write_report(results, run.report)
    return Outcome([*files_below(run.predictions), *files_below(run.report)])


def _whose_labels(recipe: DiseaseRecipe, run: DiseaseRun) -> list[str]:
    """Say whose labels each role sees, where it does not see all."""
    counts = {role: read(run, f"prompt_{role}").numbers.get("seen", {}) for role in ("teacher", "student")}
    said = [line for role, each in counts.items() for line in said_of(each, seen_of(recipe, role))]
    return list(dict.fromkeys(said))


def export(recipe: DiseaseRecipe, run: DiseaseRun, out: str, track: Callable[..., None]) -> str:
    """Write prompts and soft labels in CKD-EHR's own form; return how many rows each file has."""
    if read(run, "select") is None or read(run, "prompt_teacher") is None:
        raise ValueError(f"{run.root} has no prompts to export yet: run the stages up to prompt_teacher first")
    finished = read(run, "label")
    plans = finished.numbers if finished else {}
    rendering, seen = rendering_of(recipe, run, "teacher"), seen_of(recipe, "teacher")
    counts = export_published(run, Path(out), rendering, teachers_of(recipe, run), plans, seen)
    return ", ".join(f"{file} {count:,} rows" for file, count in counts.items())
