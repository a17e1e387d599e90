"""A teacher that is refused stops the run before it labels, going on costs nothing, and its temperature is taught."""

import html
import json

import numpy as np
import polars as pl
import pytest

from ckd_dist.record import read
from ckd_dist.softlabels.plan import Plan
from ckd_dist.studies.disease.from_run import teachers_of
from ckd_dist.studies.disease.report.validation import sentence, validation_of
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.samples import with_labels
from ckd_dist.studies.disease.soft_labels import open_plans, read_in_order, read_soft_labels
from ckd_dist.studies.disease.temperature import Temperature
from ckd_dist.studies.disease.validate_stage import plan_validation
from tests.end_to_end.small import SMALL, THREE_LABELS, ckd, copy_of, go, ledger_of, recipe_of, times

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """A run whose teacher, after one epoch, is no match for a regression; its recipe refuses it."""
    run, labels = DiseaseRun(tmp_path_factory.mktemp("refused")), tmp_path_factory.mktemp("labels") / "three.yaml"
    labels.write_text(THREE_LABELS)
    overrides = [*SMALL, f"select.labels={labels}", "student.hard_baseline=false"]
    arguments = ["--recipe", "tiny", "--source", "synthetic:200", "--run", run.root, "--local", *overrides]
    return run, ckd("pipeline", *arguments, "label.gate=refuse", "label.temperature=per_label")


@pytest.fixture(scope="module")
def went_on(refused, tmp_path_factory):
    run = copy_of(refused[0], tmp_path_factory.mktemp("on") / "run")
    before = times(run)
    return run, before, go("pipeline", run, "label.gate=say")


def test_a_refused_teacher_stops_the_run_before_it_labels(refused):
    run, said = refused
    assert said.code == 2 and "the teacher has nothing to teach: on " in said.err and "label.gate=say" in said.err
    assert said.err.strip().count("\n") == 0, "one sentence"
    assert "the teacher has nothing to teach: on " in said.out and "its logits are divided by " in said.out
    assert read(run, "validate_teacher") and not read(run, "label") and not run.student.exists()
    plans = list(run.softlabels.glob("*/plan.json"))
    assert [json.loads(plan.read_text())["split"] for plan in plans] == ["tuning"], "nothing else was predicted"


def test_to_go_on_costs_neither_the_teacher_nor_a_prediction(went_on):
    run, before, said = went_on
    assert said.code == 0, said.err
    after = times(run)
    kept = [path for path in before if path.startswith(("teacher/", "softlabels/"))]
    assert len(kept) > 10 and all(after[path] == before[path] for path in kept)
    assert "validate_teacher done already" in said.out


def test_what_was_predicted_is_what_labels_say(went_on):
    """The logits that are judged are those of the label stage, of the labelled tuning pairs alone."""
    run, *_ = went_on
    labelled = with_labels(pl.read_parquet(run.samples("tuning")))
    hashes = read(run, "label").numbers
    plan = Plan.open(run.softlabels, hashes["tuning"])
    judged_NK = read_in_order(run, plan_validation({"tuning": plan}, labelled).values())
    sample_id_N, logits_NK = read_soft_labels(run, open_plans(run, teachers_of(recipe_of(run), run), hashes, "tuning"))
    wanted_N = np.isin(sample_id_N, labelled["sample_id"].to_numpy())
    order = np.argsort(sample_id_N[wanted_N])
    assert judged_NK == pytest.approx(logits_NK[wanted_N][order], abs=1e-4)
    assert len(judged_NK) == len(labelled) < len(sample_id_N)


def test_the_record_and_the_report_have_the_numbers(went_on):
    run, *_ = went_on
    found = validation_of(read(run, "validate_teacher").numbers)
    assert found.temperature == "per_label" and found.scores.keys() == {"raw", "taught", "expected"}
    metrics = json.loads((run.report / "metrics.json").read_text())
    assert metrics["validation"]["pairs"] == found.pairs
    for page in ("report.md", "report.html"):
        text = html.unescape((run.report / page).read_text())
        assert "Was there something to teach?" in text and sentence(found) in text
        assert "Temperature of the teacher (per label)" in text


def test_the_student_is_taught_at_the_temperature(went_on, tmp_path):
    """The same labels without it give another student; the file goes with the field."""
    run = copy_of(went_on[0], tmp_path / "run")
    weights = run.student / "model.safetensors"
    softened = weights.read_bytes()
    names = run.label_names()
    fitted = Temperature.load(run.temperature, names)
    assert not np.allclose(fitted.temperature_K, 1)
    raw = go("distill", run, "label.temperature=none")
    assert raw.code == 2 and "validate_teacher" in raw.err, "first without a temperature"
    before = {path: time for path, time in times(run).items() if "/shard-" in path}
    for stage in ("validate_teacher", "label", "distill"):
        assert go(stage, run, "label.temperature=none").code == 0
    assert not run.temperature.exists() and before and before.items() <= times(run).items(), "no shard is made again"
    assert weights.read_bytes() != softened


def test_another_gate_or_temperature_trains_no_teacher_and_makes_no_shard(went_on):
    run, *_ = went_on
    for change in ("label.temperature=scalar", "student.labelled.tuning=20"):
        book = ledger_of(run, change)
        assert book.is_done("train_teacher") and not book.is_done("validate_teacher")
    for change in ("label.gate=refuse", "label.gate=say"):
        assert all(state.state == "done" for state in ledger_of(run, change).status()), "its labels are there"


def test_imported_soft_labels_have_no_teacher_to_validate(went_on):
    run, *_ = went_on
    book = ledger_of(run, "label.import_from=/nowhere.json", "label.temperature=none")
    assert book.state("validate_teacher").why == "not needed by this recipe"
