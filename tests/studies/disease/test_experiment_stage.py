"""Experiments as a stage, at their smallest: whole, resumable, the same by any worker; what is said of them."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest

from ckd_dist.record import read
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.checks import check_texts
from ckd_dist.studies.disease.compare import compare
from ckd_dist.studies.disease.experiment import BASELINES
from ckd_dist.studies.disease.experiment_checks import check_crossfitting
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiment_stage import EXPERIMENT
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.study import Context, with_inputs
from tests.end_to_end.small import SMALL, ckd, copy_of, go, hashes, ledger_of, recipe_of, run_pipeline, times

VARIANTS = (
    "distilled",
    "hard",
    "published",
    "labelled_only",
    "calibrated",
    "exact",
    "permuted",
    "own",
    "own_crossfit",
    "logistic",
    "trees",
    "copy_last",
)
ASKED = (
    "prompt.efficacies=0",
    f"experiments.variants={json.dumps(VARIANTS)}",
    "experiments.budgets=[40]",
    "experiments.seeds=1",
    "student.loss.soft_weight=1",
    "student.hard_baseline=false",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> DiseaseRun:
    return run_pipeline(tmp_path_factory.mktemp("run") / "run", "synthetic:200", *ASKED)


def results(run: DiseaseRun) -> dict[str, Result]:
    """The results of a run, by variant."""
    found = [Result.read(run.root / path) for path in read(run, "experiment").files]
    return {result.experiment.variant: result for result in found}


def context_of(run: DiseaseRun, *overrides: str) -> Context:
    return with_inputs(STUDY, STUDY.stages["experiment"], Context(recipe_of(run, *overrides), run))


def test_every_variant_predicts_the_labelled_visits_of_held_out(run):
    found, held_out = results(run), pl.read_parquet(run.samples("held_out")).filter(pl.col("labels").is_not_null())
    assert set(found) == set(VARIANTS)
    for result in found.values():
        assert np.array_equal(result.sample_id_N, held_out["sample_id"].to_numpy())
        assert result.probabilities_NK.shape == (len(held_out), 25)
    students = [result for result in found.values() if result.numbers]
    assert len(students) == len(set(VARIANTS) - BASELINES.keys())
    assert len({result.numbers["updates"] for result in students}) == 1
    assert {name for name, result in found.items() if result.experiment.budget == 0} == {
        "distilled",
        "exact",
        "permuted",
    }
    kept = {path.suffix for path in run.experiments.iterdir()}
    assert kept == {".safetensors"}  # no checkpoint is left


def test_distilled_reads_more_rows_than_there_are_labels_and_the_others_only_those(run):
    found, num_rows = results(run), pl.read_parquet(run.samples("train")).height
    assert {found[name].numbers["num_train"] for name in ("distilled", "published", "own", "exact")} == {num_rows}
    few = found["hard"].numbers["num_train"]
    assert found["labelled_only"].numbers["num_train"] == few < num_rows / 2


def test_a_second_start_does_nothing_and_a_lost_result_alone_is_done_again_with_the_same_numbers(run, tmp_path):
    again = copy_of(run, tmp_path / "run")
    before = times(again)
    assert (
        go("pipeline", again).code == 0
        and times(again).items()
        >= {path: time for path, time in before.items() if path.startswith("experiments/")}.items()
    )
    lost = next(path for path in again.experiments.iterdir() if path.name.startswith("own_40"))
    old = Result.read(lost)
    lost.unlink()
    assert len(EXPERIMENT.missing(context_of(again))) == 1
    assert go("experiment", again).code == 0
    assert np.array_equal(Result.read(lost).probabilities_NK, old.probabilities_NK)
    others = [path for path in before if path.startswith("experiments/") and path != f"experiments/{lost.name}"]
    assert {path: times(again)[path] for path in others} == {path: before[path] for path in others}


def test_what_was_done_when_nobody_learned_from_it_is_done_again_for_whom_it_teaches(run, tmp_path):
    """A hard-label student keeps its predictions of train where a teacher of the same labels is among the variants."""
    again = copy_of(run, tmp_path / "run")
    hard, own = (next(again.experiments.glob(f"{name}_40_0-*")) for name in ("hard", "own"))
    taught = Result.read(own).probabilities_NK
    kept = Result.read(hard, logits=True)
    assert set(kept.logits) == {"train", "tuning"}
    dataclasses.replace(kept, logits={}).write(again.experiments)
    own.unlink()
    assert go("experiment", again).code == 0
    assert np.array_equal(Result.read(own).probabilities_NK, taught)
    assert set(Result.read(hard, logits=True).logits) == {"train", "tuning"}


def test_another_budget_redoes_nothing_that_is_there_and_no_control(run):
    assert EXPERIMENT.missing(context_of(run)) == []
    more = EXPERIMENT.missing(context_of(run, "experiments.budgets=[40,60]"))
    plain = {"hard", "published", "labelled_only", "calibrated", "logistic", "trees", "copy_last"}
    assert len(more) == len(plain)


def test_the_report_and_the_terminal_say_that_one_seed_claims_nothing(run):
    said = ckd("compare", run.root)
    words = " ".join(said.out.split())
    assert said.code == 0 and "not claimed here: the experiments have 1 of 3 seeds" in words
    assert "saw the labels of every training patient, whatever a budget says" in words
    assert "workers idle" in said.out and "Hard labels alone" in said.out
    assert all(len(line) < 100 for line in said.out.splitlines())
    numbers = json.loads((run.report / "metrics.json").read_text())["experiments"]
    assert [line["name"] for line in numbers["budgets"][0]["variants"]] == list(VARIANTS)
    for page in ("report.md", "report.html"):
        assert "Does distilling help?" in (run.report / page).read_text()


@pytest.mark.parametrize("varies", ["experiments.budgets=[40]", "student.labelled.train=40"])
def test_texts_made_of_labels_that_experiments_hide_are_refused(run, varies):
    """Treatments in a student's texts were fitted on the labels of all of them; the texts are there already."""
    plain = ["experiments.budgets=[]", "experiments.seeds=2", "prompt.efficacies=2"]
    plain += ["teacher.labelled.train=40"] if "labelled" in varies else []
    check_texts(recipe_of(run, *plain))
    check_texts(recipe_of(run, *plain, varies, "prompt.teacher_only=[efficacies]"))
    with pytest.raises(ValueError, match="fitted on labels which some budgets or seeds hide"):
        check_texts(recipe_of(run, *plain, varies))


def test_what_cannot_be_done_is_refused_by_the_stage_whatever_was_checked_before(run, tmp_path):
    """Samples were not selected when the command began, and the texts are there already."""
    again = copy_of(run, tmp_path / "run")
    again.samples("held_out").unlink()
    said = go("pipeline", again, 'experiments.variants=["copy_last","elsewhere"]')
    assert said.code == 2 and "'elsewhere' needs another hospital" in said.err


def test_a_fold_without_a_label_to_learn_from_is_refused(run):
    train = pl.read_parquet(run.samples("train"))
    check_crossfitting(recipe_of(run), train)
    with pytest.raises(ValueError, match="a fold without a label to learn from at 1 labelled patients"):
        check_crossfitting(recipe_of(run, "experiments.budgets=[1]"), train)


def test_experiments_of_another_recipe_are_not_shown_as_this_one_s(run):
    with pytest.raises(ValueError, match=r"its experiments are stale \(student.optim.learning_rate changed"):
        compare(recipe_of(run, "student.optim.learning_rate=0.5"), run)


def test_a_claim_shapes_the_report_alone(run):
    three = "experiments.seeds=3"
    claim = 'experiments.claims=[{"first": "distilled", "second": "hard", "bound": "at least", "value": 0.1}]'
    without, held = (ledger_of(run, three, *asked) for asked in ([], [claim]))
    assert [name for name in STUDY.stages if without.fields(name) != held.fields(name)] == ["evaluate"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("experiments.budgets=[9999]", "9999 labelled subjects are asked for"),
        ("experiments.budgets=[1]", "own_crossfit has a fold without a label to learn from"),
        ('experiments.variants=["hurd"]', "experiments.variants"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_lost(run, tmp_path, override, said):
    broken = copy_of(run, tmp_path / "run")
    before = {path: sha for path, sha in hashes(broken).items() if path.startswith("experiments/")}
    answer = go("experiment", broken, override)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") <= 2
    assert {path: sha for path, sha in hashes(broken).items() if path.startswith("experiments/")} == before
    assert ckd("compare", broken.root).code == 0  # its record and its recipe stand


def test_a_variant_without_what_it_needs_is_refused_before_anything_is_trained(tmp_path):
    asked = ["--recipe", "tiny", "--source", "synthetic:120", "--run", tmp_path / "run", "--local", *SMALL]
    answer = ckd("pipeline", *asked, 'experiments.variants=["hard","elsewhere"]')
    assert answer.code == 2 and "'elsewhere' needs another hospital" in answer.err
    assert not (tmp_path / "run" / "teacher").exists()


def test_without_variants_there_is_no_stage(run):
    bare = STUDY.ledger(recipe_of(run, "experiments.variants=[]"), run)
    assert bare.state("experiment").why == "not needed by this recipe"
