"""Which stages of the second study a changed field redoes.  One-line files stand for what the stages write."""

import pytest

from ckd_dist.config import dump
from ckd_dist.recipefile import load
from ckd_dist.studies.ner import STUDY
from ckd_dist.studies.ner.label import check_own
from ckd_dist.studies.ner.recipes import ner_tiny
from ckd_dist.studies.ner.runfolder import NerRun
from tests.records import write_record

FILES = {
    "read": ["notes/train.parquet", "notes/tuning.parquet", "notes/held_out.parquet", "notes/tags.json"],
    "window_teacher": ["windows/train.teacher.safetensors", "base/teacher/config.json"],
    "window_student": ["windows/train.student.safetensors", "base/student/config.json"],
    "train_teacher": ["teacher/model.safetensors"],
    "label": ["softlabels/a/shard-00000.safetensors"],
    "combine": ["combination.json", "softlabels/b/shard-00000.safetensors"],
    "distill": ["student/model.safetensors"],
    "evaluate": ["report/metrics.json"],
}


def recipe(*overrides):
    return load(STUDY.recipe, dump(ner_tiny()), overrides)


def do(run, wanted, name, text="content"):
    """Write the files of a stage, and its record."""
    ledger = STUDY.ledger(wanted, run)
    ledger.run.stage(name).unlink(missing_ok=True)
    files = [run.root / path for path in FILES[name]]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    write_record(ledger, name, files)


@pytest.fixture
def finished(tmp_path):
    run = NerRun(tmp_path)
    for name in STUDY.stages:
        do(run, recipe(), name)
    return run


def redone(run, *overrides):
    return [state.name for state in STUDY.ledger(recipe(*overrides), run).status() if state.state != "done"]


def test_all_is_done(finished):
    assert redone(finished) == []


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("notes.train_fraction=0.6", "read"),
        ("teacher.max_tokens=256", "window_teacher"),
        ("teacher.optim.epochs=1", "train_teacher"),
        ("label.order_seed=3", "label"),
        ("combine.by=model", "combine"),
        ("evaluate.seed=7", "evaluate"),
    ],
)
def test_a_changed_field_redoes_its_stage_and_what_follows(finished, override, first):
    stages = list(STUDY.stages)
    after = [name for name in stages[stages.index(first) :] if first == "read" or name != "window_student"]
    assert redone(finished, override) == after


@pytest.mark.parametrize("override", ["student.base=/models/bert", "student.max_tokens=64", "student.tiny.hidden=32"])
def test_another_student_redoes_its_windows_and_its_training_and_no_teacher(finished, override):
    assert redone(finished, override) == ["window_student", "distill", "evaluate"]


def test_another_sample_of_gold_redoes_what_learns_from_it_and_reads_no_corpus(finished):
    assert redone(finished, "notes.gold_documents=9") == ["train_teacher", "label", "combine", "distill", "evaluate"]


def test_other_held_out_notes_train_nothing_again(finished):
    """What is learned does not depend on them; labels and scores do."""
    ledger = STUDY.ledger(recipe(), finished)
    for path in FILES["read"]:
        (finished.root / path).write_text("other" if "held_out" in path else "content")
    write_record(ledger, "read", [finished.root / path for path in FILES["read"]])
    do(finished, recipe(), "window_teacher")
    do(finished, recipe(), "window_student")
    assert ledger.is_done("train_teacher") and not ledger.is_done("label")


def test_without_a_local_teacher_nothing_of_it_is_made(tmp_path):
    run, wanted = NerRun(tmp_path), recipe("label.teacher=false")
    for name in ("read", "window_student", "label", "combine", "distill", "evaluate"):
        do(run, wanted, name)
    assert redone(run, "label.teacher=false") == []
    assert redone(run) == ["window_teacher", "train_teacher", "label", "combine", "distill", "evaluate"]


def test_dictionaries_of_the_synthetic_hospital_are_refused_for_other_notes(tmp_path):
    """ner_tiny with a site's own corpus read it, and failed later for want of a file in the run folder."""
    specs = [spec for each in ner_tiny().label.ontologies for spec in each.vocabularies]
    with pytest.raises(ValueError, match=r"disease=synthetic:disease.*give label.ontologies your own"):
        check_own(specs, ["disease"])
    check_own(specs, ["gene"])  # its vocabularies are not asked for
    check_own([f"disease=tsv:{tmp_path}/synthetic.tsv"], ["disease"])
