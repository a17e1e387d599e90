"""The teacher of another run labels: it reads this run's records as it learned to; the student reads none of that."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from ckd_dist.config import dump
from ckd_dist.recipefile import load, save
from ckd_dist.record import read, verify
from ckd_dist.runfolder import LAYOUT
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.compare import taught_here
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.describe import setting_of
from ckd_dist.studies.disease.experiment_checks import check_experiments
from ckd_dist.studies.disease.from_run import teachers_of
from ckd_dist.studies.disease.from_run_refusals import check_held_out, check_teacher_run
from ckd_dist.studies.disease.prompts.tokens import TokenTable
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.shared_patients import reads_the_same, shared_visits
from ckd_dist.studies.disease.soft_labels import open_plans, read_soft_labels
from ckd_dist.study import Context, run_stage
from tests.end_to_end.small import SMALL, ckd, flip, go, hashes, ledger_of, passed, times

PROMPTED = ("extract", "select", "prompt_teacher", "prompt_student")
TINY = [*SMALL, "extract.source=synthetic:60", "prompt.min_support=2", "teacher.sft.epochs=0"]
TINY += ["student.hard_baseline=false", "evaluate.timing_samples=2"]
HERE = ["extract.synthetic_seed=3", "prompt.teacher_tokens=320", "prompt.diagnosis_names=title", "prompt.efficacies=2"]


def recipe_with(*overrides: str) -> DiseaseRecipe:
    return load(DiseaseRecipe, dump(STUDY.recipes["tiny"]()), [*TINY, *overrides])


def do(run: DiseaseRun, recipe: DiseaseRecipe, *stages: str) -> DiseaseRun:
    save(recipe, run.recipe)
    for name in stages:
        run_stage(STUDY, STUDY.stages[name], Context(recipe, run))
    return run


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    files = [file for pattern in patterns for file in folder.glob(pattern) if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> DiseaseRun:
    """A run that goes as far as its teacher."""
    return do(DiseaseRun(tmp_path_factory.mktemp("there") / "run"), recipe_with(), *PROMPTED, "train_teacher")


@pytest.fixture(scope="module")
def finished(there, tmp_path_factory) -> DiseaseRun:
    """Another hospital's run, from tables to report, by the command line: `there` has its teacher."""
    run = DiseaseRun(tmp_path_factory.mktemp("here") / "run")
    arguments = ["--recipe", "tiny", "--run", run.root, "--local", *TINY, *HERE, f"label.from_run={there.root}"]
    said = ckd("pipeline", *arguments)
    assert said.code == 0, said.err
    return run


@pytest.fixture
def copy(finished, tmp_path) -> DiseaseRun:
    return DiseaseRun(Path(shutil.copytree(finished.root, tmp_path / "here")))


@pytest.fixture
def copy_there(there, tmp_path) -> DiseaseRun:
    return DiseaseRun(Path(shutil.copytree(there.root, tmp_path / "there")))


# --- who reads what --------------------------------------------------------------------------------------------------


def test_soft_labels_are_what_the_other_teacher_says_of_this_run_s_prompts(there, finished):
    """Its exported folder, loaded as anybody would, a row at a time."""
    config = AutoConfig.from_pretrained(there.teacher / "classifier")
    model = AutoModelForSequenceClassification.from_pretrained(there.teacher, config=config).eval()
    teachers, plans = teachers_of(recipe_with(), there), read(finished, "label").numbers
    for split in plans:
        sample_id_N, logits_NK = read_soft_labels(finished, open_plans(finished, teachers, plans, split))
        table = TokenTable.open(finished.tokens(split, "teacher"))
        for place in range(0, len(sample_id_N), 7):
            row = table.row(int(np.searchsorted(table.sample_id_N, sample_id_N[place])))
            with torch.inference_mode():
                alone = model(torch.from_numpy(row.astype(np.int64))[None]).logits[0]
            np.testing.assert_allclose(logits_NK[place], alone.numpy(), atol=2e-4)
    assert not finished.teacher.exists() and not finished.base("teacher").exists()


def test_the_same_records_are_written_for_it_as_there_to_the_byte_whatever_this_run_s_own_settings(there, tmp_path):
    """Names of diagnoses, efficacies, budget and earlier visits are the other run's; so is the tokenizer."""
    own = ["prompt.teacher_tokens=100", "prompt.diagnosis_names=title", "prompt.efficacies=0"]
    own += ["select.history_visits=3", "teacher.tiny.vocabulary=400"]
    run = do(DiseaseRun(tmp_path), recipe_with(*own, f"label.from_run={there.root}"), *PROMPTED[:3])
    written = contents(run.root, "prompts/*.teacher.*")
    assert len(written) == 2 * len(SPLITS)
    assert written == contents(there.root, "prompts/*.teacher.*")
    visits = pl.read_parquet(run.samples("train"))["history"].list.len()
    assert visits.max() > 1, "this run keeps more earlier visits than that teacher reads"


def test_the_student_reads_what_it_would_read_without_the_other_teacher(finished, tmp_path):
    alone = do(DiseaseRun(tmp_path), recipe_with(*HERE), *PROMPTED)
    patterns = ("prompts/*.student.*", "base/student/*", "prompts/knowledge.json")
    written = contents(finished.root, *patterns)
    assert len(written) > 10 and written == contents(alone.root, *patterns)
    reading = json.loads((finished.student / "reading.json").read_text())
    assert reading["prompt"]["diagnosis_names"] == "title"


def test_hidden_labels_of_this_run_stand_in_no_answer_and_in_no_knowledge(there, tmp_path):
    """Whoever has no label of its own here teaches nothing: knowledge rests on what the student's hospital has."""
    seen = [*HERE, "student.labelled.train=12", f"label.from_run={there.root}"]
    run = do(DiseaseRun(tmp_path), recipe_with(*seen), *PROMPTED[:3])
    samples = pl.read_parquet(run.samples("train"))
    answers = pl.read_parquet(run.prompts("train", "teacher"))
    known = answers.filter(pl.col("answer").is_not_null()).join(samples, on="sample_id")
    assert known["subject_id"].n_unique() == 12
    before = run.knowledge.read_bytes()
    ledger = STUDY.ledger(recipe_with(*seen, "student.labelled.train=20"), run)
    assert "student.labelled.train changed from 12 to 20" in ledger.state("prompt_teacher").why
    do(run, recipe_with(*seen, "student.labelled.train=20"), "prompt_teacher")
    assert run.knowledge.read_bytes() != before


# --- done once -------------------------------------------------------------------------------------------------------


def test_a_second_start_does_nothing_and_a_lost_shard_comes_back(copy):
    before, written = hashes(copy), times(copy)
    said = go("pipeline", copy)
    assert said.code == 0 and passed(said.out) == list(STUDY.stages)
    del written["recipe.json"]
    assert hashes(copy) == before and times(copy).items() >= written.items()
    next(copy.root.glob("softlabels/*/shard-*.safetensors")).unlink()
    assert go("pipeline", copy).code == 0
    assert {name for name in before if name.startswith("softlabels/")} <= hashes(copy).keys()
    assert {n: h for n, h in hashes(copy).items() if n.endswith(".safetensors")}.items() <= before.items()
    assert verify(copy) == []


def test_another_teacher_makes_labels_stale_and_a_moved_folder_does_not(copy, copy_there):
    moved = f"label.from_run={copy_there.root}"
    states = {state.name: state.state for state in ledger_of(copy, moved).status()}
    assert set(states.values()) == {"done"}

    do(copy_there, replace_seed(recipe_with()), "train_teacher")
    states = {state.name: state for state in ledger_of(copy, moved).status()}
    done = {name for name, state in states.items() if state.state == "done"}
    assert done == {*PROMPTED, "train_teacher", "experiment"}  # of which there are none
    assert "label.from_run_teacher changed" in states["label"].why
    assert states["train_teacher"].why == "not needed by this recipe"

    shutil.rmtree(copy_there.root)  # not mounted today: what was read of it is still right
    states = {state.name: state.state for state in ledger_of(copy, moved).status()}
    assert set(states.values()) == {"done"}
    assert go("pipeline", copy, moved).code == 0


def replace_seed(recipe: DiseaseRecipe) -> DiseaseRecipe:
    labels = replace(recipe.teacher.labels, seed=7)
    return replace(recipe, teacher=replace(recipe.teacher, labels=labels))


def test_a_run_without_it_keeps_the_records_that_it_had(there):
    """The field is new: no record of an earlier run names it, and none becomes stale by it."""
    for file in there.root.glob("stages/*.json"):
        assert "from_run" not in file.read_text()


# --- what is told ----------------------------------------------------------------------------------------------------


def test_card_and_report_name_the_teacher_and_no_path(there, finished):
    mark = teachers_of(recipe_with(), there).fingerprint(0)[:16]
    card, page = (finished.student / "README.md").read_text(), (finished.report / "report.md").read_text()
    for text in (card, page):
        assert (
            f"of the recipe tiny (fingerprint {mark})" in text
            and "trained on a synthetic hospital of 60 subjects" in text
        )
        assert str(there.root) not in text and there.root.parent.name not in text
    metrics = json.loads((finished.report / "metrics.json").read_text())
    assert {"teacher", "student"} <= {model["name"] for model in metrics["models"]}


def test_data_set_export_and_plan_work(finished, tmp_path):
    assert ckd("dataset", "--run", finished.root, "--out", tmp_path / "rows").code == 0
    assert ckd("export", finished.root, "--out", tmp_path / "theirs").code == 0
    assert len(json.loads((tmp_path / "theirs" / "soft_labels.json").read_text())) == len(
        pl.read_parquet(finished.samples("train"))
    )
    said = ckd("plan", "--run", finished.root)
    assert said.code == 0 and "shards" in said.out


def test_a_relative_folder_is_kept_whole(there, tmp_path, monkeypatch):
    monkeypatch.chdir(there.root.parent)
    assert recipe_with(f"label.from_run={there.root.name}").label.from_run == str(there.root)


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(run: Path, *words: str, here: Path | None = None, more: tuple[str, ...] = ()) -> None:
    """One sentence with these words, before anything is written."""
    here = here or run.parent / "nothing"
    said = ckd("pipeline", "--recipe", "tiny", "--run", here, "--local", *TINY, f"label.from_run={run}", *more)
    assert said.code == 2 and len(said.err.strip().splitlines()) == 1, said
    for word in (*words, "label.from_run"):
        assert word in said.err, said.err
    assert here == run or not here.exists()


def test_a_folder_that_is_no_run_of_this_study_and_version(tmp_path):
    refused(tmp_path / "nowhere", "no run folder")
    for values, word in (
        ({"layout": LAYOUT, "study": "ner"}, "is of study 'ner', there is disease"),
        ({"layout": LAYOUT - 1, "study": "disease"}, f"layout {LAYOUT - 1} of another version"),
    ):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / "recipe.json").write_text(json.dumps(values))
        refused(tmp_path / "run", word)


def test_a_run_whose_teacher_is_not_done_or_not_its_own_any_more(copy_there, tmp_path):
    recipe = recipe_with()
    save(replace_seed(recipe), copy_there.recipe)
    refused(copy_there.root, "train_teacher is stale (teacher.labels.seed changed")
    save(recipe, copy_there.recipe)
    flip(copy_there.teacher / "adapter_model.safetensors")
    refused(copy_there.root, "teacher/adapter_model.safetensors: its bytes changed")
    copy_there.stage("train_teacher").unlink()
    refused(copy_there.root, "train_teacher is missing (not finished yet): run train_teacher there first")


def test_the_run_itself_and_two_teachers_at_once(there, finished, tmp_path):
    refused(there.root, "is this very run", here=there.root)
    refused(there.root, "label.import_from", more=("label.import_from=theirs.json",))
    refused(there.root, "teacher.folds", more=("teacher.folds=2", "prompt.efficacies=0"))
    with pytest.raises(ValueError, match="has no teacher of its own"):
        check_teacher_run(recipe_with(f"label.from_run={finished.root}"), DiseaseRun(tmp_path))


def test_a_teacher_that_reads_more_earlier_visits_than_there_are(there):
    refused(there.root, "give select.history_visits=1", more=("select.history_visits=0",))


def test_the_same_patients_split_otherwise(there):
    """That teacher may have learned from whom this report is about."""
    words = "so it may have read this run's held-out patients: give extract.split_seed=0"
    refused(there.root, words, more=("extract.split_seed=5",))


def test_the_same_visits_split_otherwise_whatever_the_recipes_say_of_their_source(there, tmp_path):
    """By the visits themselves: two paths may lead to the same tables, and two hospitals may use the same ids."""
    one = do(DiseaseRun(tmp_path / "one"), recipe_with("extract.split_seed=5"), *PROMPTED[:2])
    with pytest.raises(ValueError, match=r"its teacher learned from \d+% of this run's held-out visits: split"):
        check_held_out(recipe_with(f"label.from_run={there.root}"), one)
    other = do(DiseaseRun(tmp_path / "other"), recipe_with("extract.synthetic_seed=3"), *PROMPTED[:2])
    subjects = [set(pl.read_parquet(run.samples("train"))["subject_id"]) for run in (there, other)]
    assert subjects[0] & subjects[1] and shared_visits(other, SPLITS, there, SPLITS) == 0
    check_held_out(recipe_with(f"label.from_run={there.root}"), other)


def test_a_teacher_of_the_same_patients_is_no_other_hospital_s(there, tmp_path):
    asked = recipe_with(f"label.from_run={there.root}", 'experiments.variants=["elsewhere"]')
    run = do(DiseaseRun(tmp_path / "same"), recipe_with(), *PROMPTED[:2])
    assert reads_the_same(run, there) and "learned from patients of this run" in taught_here(asked, True)
    with pytest.raises(ValueError, match=r"'elsewhere' needs another hospital, whose run label\.from_run names"):
        check_experiments(asked, run)
    other = do(DiseaseRun(tmp_path / "other"), recipe_with("extract.synthetic_seed=3"), *PROMPTED[:2])
    assert not reads_the_same(other, there) and taught_here(asked, False) == ""
    check_experiments(asked, other)


def test_the_report_says_how_the_other_teacher_reads():
    """Its own recipe decides what it reads of another subject, not this run's."""
    theirs = recipe_with("prompt.teacher_only=[drugs]", "prompt.teacher_permuted=true")
    mine = recipe_with("prompt.teacher_only=[drugs,history]", "label.from_run=elsewhere")
    assert setting_of(mine, theirs, []) == [
        "The teacher alone reads earlier visits: of the same visit.",
        "The teacher alone reads medications: of another subject's visit, as a control.",
    ]


TWO = "Heart failure:\n  id: 108\n  type: chronic\n  use_in_benchmark: true\nShock:\n  id: 249\n  type: acute\n"
TWO += "  use_in_benchmark: true\n"


def test_other_labels_and_the_same_in_another_order(there, tmp_path):
    """No column is swapped silently: the same names in another order are another label set."""
    names = there.label_names()
    (tmp_path / "two.yaml").write_text(TWO)
    labels = (f"select.labels={tmp_path / 'two.yaml'}",)
    refused(there.root, "'Heart failure'", "1 of this run's 2 labels", "among its 25", more=labels)
    turned = [names[1], names[0], *names[2:]]
    copied = DiseaseRun(Path(shutil.copytree(there.root, tmp_path / "turned")))
    kept = json.loads(copied.labels.read_text())
    copied.labels.write_text(json.dumps(kept | {"names": turned}))
    words = f"25 labels in another order ('{turned[0]}' first, here '{names[0]}')"
    refused(copied.root, re.sub(r"\s+", " ", words))


# --- on Ray ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_on_ray_the_labels_are_the_same(there, finished, tmp_path):
    run = DiseaseRun(tmp_path / "run")
    arguments = ["--recipe", "tiny", "--run", run.root, *TINY, *HERE, f"label.from_run={there.root}"]
    said = ckd("pipeline", *arguments, "student.workers.num=1")
    assert said.code == 0, said.err
    patterns = ("softlabels/*/shard-*.safetensors", "student/model.safetensors")
    written = contents(run.root, *patterns)
    assert len(written) > 3 and written == contents(finished.root, *patterns)
