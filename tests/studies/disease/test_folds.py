"""Cross-fitting: no subject is labelled by a teacher that saw it, as the shards say, not the code that made them."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ckd_dist.config import dump, values_of
from ckd_dist.ehr.splits import split_of
from ckd_dist.files import hash_file
from ckd_dist.models.fingerprint import fingerprint, fingerprint_tokenizer
from ckd_dist.recipefile import load
from ckd_dist.record import read
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.plan import LabelSource, Plan, make_plan
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.dataset import rows_of
from ckd_dist.studies.disease.evaluate import predictor
from ckd_dist.studies.disease.folds import check_folds, fold_of, missed_labels
from ckd_dist.studies.disease.from_run import teachers_of
from ckd_dist.studies.disease.label import Labelling, plan_labels
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.size import of_labels, of_teacher
from ckd_dist.studies.disease.soft_labels import open_plans, read_soft_labels
from ckd_dist.studies.disease.teacher import Teachers
from ckd_dist.study import Context, begin_jobs, finish_jobs, resolve, run_stage
from tests.end_to_end.small import SMALL, ckd, files

FOLDS = 2
STAGES = ("extract", "select", "prompt_teacher", "prompt_student", "train_teacher", "validate_teacher", "label")
CROSS_FITTED = (f"teacher.folds={FOLDS}", "prompt.efficacies=0")
HERE = (*SMALL, *CROSS_FITTED, "extract.source=synthetic:60", "label.shard_rows=16")


def recipe_with(*overrides: str) -> DiseaseRecipe:
    return load(DiseaseRecipe, dump(STUDY.recipes["tiny"]()), overrides)


def run_stages(run: DiseaseRun, *names: str) -> None:
    recipe = recipe_with(*HERE)
    for name in names:
        stage, context = STUDY.stages[name], Context(recipe, run)
        if stage.runs != "jobs":
            run_stage(STUDY, stage, context)
        elif not STUDY.ledger(recipe, run).is_done(name):
            context, numbers = begin_jobs(STUDY, stage, context)
            worker = resolve(stage.work).worker(context, "cpu")
            for number in numbers:
                worker.do(number)
            finish_jobs(stage, context)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> DiseaseRun:
    """A run of two folds up to its soft labels."""
    run = DiseaseRun(tmp_path_factory.mktemp("folds") / "run")
    run_stages(run, *STAGES)
    return run


def plans_on_disk(run: DiseaseRun) -> list[Plan]:
    """All plans, those of stage validate_teacher too."""
    return [Plan.open(run.softlabels, file.parent.name) for file in run.softlabels.glob("*/plan.json")]


def plans_of_labels(run: DiseaseRun) -> list[Plan]:
    """Those whose soft labels a student reads."""
    return [Plan.open(run.softlabels, plan_hash) for plan_hash in read(run, "label").numbers.values()]


def subjects_by_teacher(run: DiseaseRun) -> dict[str, set[int]]:
    """Whom each teacher labelled, by its fingerprint in the plan and the subjects of its shards' rows."""
    found: dict[str, set[int]] = {}
    subject_of = {
        row["sample_id"]: row["subject_id"]
        for split in SPLITS
        for row in pl.read_parquet(run.samples(split)).iter_rows(named=True)
    }
    for plan in plans_on_disk(run):
        sample_ids, _ = read_labels(run.softlabels, plan, run.label_names())
        found.setdefault(plan.source.teacher, set()).update(subject_of[each] for each in sample_ids.tolist())
    return found


def flip(run: DiseaseRun, subjects: set[int]) -> int:
    """Turn every label of these training subjects round; return how many visits were."""
    samples = pl.read_parquet(run.samples("train"))
    theirs = pl.col("subject_id").is_in(list(subjects)) & pl.col("labels").is_not_null()
    flipped = pl.col("labels").list.eval(1 - pl.element()).cast(samples.schema["labels"])
    changed = samples.with_columns(labels=pl.when(theirs).then(flipped).otherwise("labels"))
    changed.write_parquet(run.samples("train"))
    return samples.filter(theirs).height


@pytest.mark.parametrize("fold", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_labels_of_whom_a_teacher_labels_do_not_reach_it(labelled: DiseaseRun, tmp_path: Path, fold: int) -> None:
    """Turned round, they leave its weights and tokenizer as they are, to the byte; the other teacher becomes another.

    Whom it labels is read from the shards that carry its fingerprint.
    """
    before = [fingerprint(labelled.teacher / f"fold_{each}") for each in range(FOLDS)]
    others = DiseaseRun(Path(shutil.copytree(labelled.root, tmp_path / "run")))
    assert flip(others, subjects_by_teacher(labelled)[before[fold]]) > 10
    shutil.rmtree(others.teacher)
    for name in ("prompt_teacher", "train_teacher"):
        others.stage(name).unlink()
    run_stages(others, "prompt_teacher", "train_teacher")
    after = [fingerprint(others.teacher / f"fold_{each}") for each in range(FOLDS)]
    assert [now == then for now, then in zip(after, before, strict=True)] == [each == fold for each in range(FOLDS)]


def test_no_label_shapes_the_pieces_that_the_teachers_read_in(labelled: DiseaseRun, tmp_path: Path) -> None:
    """All turned round, they leave a vocabulary as it is; one fold's, which is learned from answers too, they do not.

    By the short question: the published one has the names of all labels in everybody's text.
    """
    run = DiseaseRun(Path(shutil.copytree(labelled.root, tmp_path / "run")))

    def vocabularies() -> list[bytes]:
        found = []
        for folds in (1, FOLDS):
            run.stage("prompt_teacher").unlink(missing_ok=True)
            small = ("prompt.question=short", "teacher.tiny.vocabulary=400", f"teacher.folds={folds}")
            recipe = recipe_with(*HERE, *small)
            run_stage(STUDY, STUDY.stages["prompt_teacher"], Context(recipe, run))
            found.append((run.base("teacher") / "tokenizer.json").read_bytes())
        return found

    before = vocabularies()
    flip(run, set().union(*subjects_by_teacher(labelled).values()))
    after = vocabularies()
    assert after[0] != before[0] and after[1] == before[1]


def test_every_sample_is_labelled_once_and_a_subject_by_one_teacher(labelled: DiseaseRun) -> None:
    wanted = sorted(sample for split in SPLITS for sample in pl.read_parquet(labelled.samples(split))["sample_id"])
    assert sorted(sample for plan in plans_of_labels(labelled) for sample in plan.sample_id_N.tolist()) == wanted
    subjects = list(subjects_by_teacher(labelled).values())
    assert len(subjects) == FOLDS and all(subjects) and not subjects[0] & subjects[1]


def test_a_plan_names_the_teacher_of_its_fold(labelled: DiseaseRun) -> None:
    teachers = [fingerprint(labelled.teacher / f"fold_{fold}") for fold in range(FOLDS)]
    assert len(set(teachers)) == FOLDS
    for plan in plans_on_disk(labelled):
        assert plan.source.teacher == teachers[plan.source.fold]
        frame = pl.read_parquet(labelled.samples(plan.split)).filter(
            pl.col("sample_id").is_in(plan.sample_id_N.tolist())
        )
        assert set(fold_of(frame["subject_id"].to_numpy(), FOLDS).tolist()) == {plan.source.fold}


def test_soft_labels_are_what_each_folds_exported_teacher_says(labelled: DiseaseRun) -> None:
    """Of held_out: each row by its fold's teacher as others load it, and not by the other one."""
    teachers, plans = teachers_of(recipe_with(*HERE), labelled), read(labelled, "label").numbers
    sample_id_N, logits_NK = read_soft_labels(labelled, open_plans(labelled, teachers, plans, "held_out"))
    samples = pl.read_parquet(labelled.samples("held_out"))
    assert sorted(sample_id_N.tolist()) == samples["sample_id"].to_list()
    logits_NK = logits_NK[np.argsort(sample_id_N)]
    fold_N = fold_of(samples["subject_id"].to_numpy(), FOLDS)
    for fold, folder in enumerate(labelled.teachers(FOLDS)):
        said_NK = predictor(labelled, folder, "teacher")(np.arange(len(samples)))
        np.testing.assert_allclose(said_NK[fold_N == fold], logits_NK[fold_N == fold], atol=1e-4)
        assert (np.abs(said_NK - logits_NK)[fold_N != fold].max(axis=1) > 1e-3).all()


def test_rows_of_the_folds_stand_in_turns(labelled: DiseaseRun) -> None:
    """Each fold's rows in its plan's order; and after any number of rows each fold has had its share, within a row."""
    teachers, plans = teachers_of(recipe_with(*HERE), labelled), read(labelled, "label").numbers
    sample_ids, _ = read_soft_labels(labelled, open_plans(labelled, teachers, plans, "train"))
    opened = [plan for plan in plans_of_labels(labelled) if plan.split == "train"]
    assert len(sample_ids) == sum(plan.num_rows for plan in opened) and len(opened) == FOLDS
    for plan in opened:
        mine = np.isin(sample_ids, plan.sample_id_N)
        np.testing.assert_array_equal(sample_ids[mine], plan.sample_id_N)
        share = np.arange(1, len(mine) + 1) * plan.num_rows / len(mine)
        assert np.abs(mine.cumsum() - share).max() <= 1


def test_one_fold_is_planned_as_before(labelled: DiseaseRun, tmp_path: Path) -> None:
    """A plan a split, of all its rows, fold 0: the same bytes as of a run that knows no folds."""
    recipe, folder = recipe_with(*HERE), labelled.teacher / "fold_0"
    teachers = Teachers(folders=(folder,), tokenizer=str(labelled.base("teacher")), dtype="float32")
    planned = plan_labels(labelled, values_of(recipe.label, Labelling), teachers)
    assert list(planned) == list(SPLITS)
    for split, plan in planned.items():
        source = LabelSource(
            labelled.label_names(),
            hash_file(labelled.tokens(split, "teacher")),
            fingerprint_tokenizer(labelled.base("teacher")),
            fingerprint(folder),
        )
        ids = pl.read_parquet(labelled.samples(split))["sample_id"].to_numpy()
        assert plan.text == make_plan(ids, source, split=split, shard_rows=16).text
    assert DiseaseRun(tmp_path).teachers(1) == [tmp_path / "teacher"]


def test_the_data_set_has_every_rows_soft_labels(labelled: DiseaseRun) -> None:
    recipe = recipe_with(*HERE)
    rows = rows_of(recipe, labelled, "train")
    columns = rows.read(0, rows.num)
    teachers, plans = teachers_of(recipe, labelled), read(labelled, "label").numbers
    sample_ids, logits_NK = read_soft_labels(labelled, open_plans(labelled, teachers, plans, "train"))
    assert columns["sample_id"].to_list() == sorted(sample_ids.tolist())
    np.testing.assert_array_equal(np.array(columns["soft_labels"].to_pylist()), logits_NK[np.argsort(sample_ids)])
    assert len(set(rows.metadata["teacher"])) == len(rows.metadata["plan"]) == FOLDS


def test_plan_counts_all_teachers_and_their_shards(labelled: DiseaseRun) -> None:
    steps = sum(
        max(int(path.name[5:11]) for path in folder.glob("step_*"))
        for teacher in labelled.teachers(FOLDS)
        for folder in (teacher, teacher / "sft")
    )
    assert f" {steps} steps," in of_teacher(recipe_with(*HERE), labelled).text
    folders = [plan.folder(labelled.softlabels) for plan in plans_of_labels(labelled)]
    shards = sum(len(list(folder.glob("shard-*.safetensors"))) for folder in folders)
    assert f" in {shards} shards," in of_labels(recipe_with(*HERE), labelled).text


def test_a_second_start_does_nothing_and_a_lost_fold_is_trained_alone(labelled: DiseaseRun, tmp_path: Path) -> None:
    """After a kill during fold 1: fold 0 makes no step again, and all is as if nothing had happened."""
    run = DiseaseRun(Path(shutil.copytree(labelled.root, tmp_path / "run")))
    times = {file: file.stat().st_mtime_ns for file in files(run.root)}
    run_stages(run, *STAGES)
    assert {file: file.stat().st_mtime_ns for file in files(run.root)} == times
    shutil.rmtree(run.teacher / "fold_1")
    run.stage("train_teacher").unlink()
    run_stages(run, "train_teacher")
    checkpoints = [file for file in files(run.teacher / "fold_0") if file.parent.name.startswith("step_")]
    assert checkpoints and all(file.stat().st_mtime_ns == times[file] for file in checkpoints)
    assert read(run, "train_teacher").numbers == read(labelled, "train_teacher").numbers
    for here, there in zip(run.teachers(FOLDS), labelled.teachers(FOLDS), strict=True):
        assert fingerprint(here) == fingerprint(there)


def test_a_subjects_fold_is_its_own_affair() -> None:
    """It depends on nobody else, says nothing of the split, and folds are of like size."""
    subjects = np.random.default_rng(0).permutation(np.arange(10_000, 40_000))
    folds = fold_of(subjects, 5)
    np.testing.assert_array_equal(fold_of(subjects[7:99], 5), folds[7:99])
    splits = split_of(subjects, train=0.7, tuning=0.15, seed=0)
    for split, expected in zip(SPLITS, (4200, 900, 900), strict=True):
        counts = np.bincount(folds[splits == split], minlength=5)
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


FOUR = np.arange(100, 104)  # subjects, two in either fold
FIRST = fold_of(FOUR, 2) == 0


@pytest.mark.parametrize("subjects, held", [(FOUR[FIRST], "all"), (FOUR[~FIRST], "none")], ids=["all", "none"])
def test_a_fold_whose_teacher_would_learn_from_nobody_or_label_nobody_is_refused(subjects, held) -> None:
    assert 0 < FIRST.sum() < 4
    with pytest.raises(ValueError, match=f"fold_0 of teacher.folds=2 holds {held} of the labelled subjects"):
        check_folds(2, subjects)
    check_folds(1, subjects)
    check_folds(2, FOUR)


def test_a_label_that_a_teacher_never_sees_is_refused() -> None:
    hard_NK = np.stack([np.ones(4), FIRST], axis=1)
    with pytest.raises(ValueError, match=r"1 labels occur in no training subject outside fold_0 of 2.*'b'"):
        missed_labels(2, FOUR, hard_NK, ["a", "b"], "refuse")
    assert missed_labels(1, FOUR, hard_NK, ["a", "b"], "refuse") == []


def test_a_label_that_a_teacher_never_sees_is_allowed_where_that_is_said() -> None:
    hard_NK = np.stack([np.ones(4), FIRST], axis=1)
    assert missed_labels(2, FOUR, hard_NK, ["a", "b"], "allow") == [
        "1 labels occur in no training subject outside fold_0 of 2"
    ]
    nowhere_NK = np.stack([np.ones(4), np.zeros(4)], axis=1)
    assert missed_labels(2, FOUR, nowhere_NK, ["a", "b"], "refuse") == [], "select's affair"


@pytest.mark.parametrize(
    "overrides, refusal",
    [
        (("prompt.efficacies=1",), "efficacies are fitted on all labels"),
        (("prompt.efficacies=0", "label.import_from=soft.json"), "leaves no teacher to cross-fit"),
    ],
    ids=["efficacies", "import"],
)
def test_a_recipe_that_contradicts_itself_is_refused(overrides, refusal, tmp_path: Path) -> None:
    """By the command line, in one line, before a folder is made."""
    run = tmp_path / "run"
    said = ckd("pipeline", "--recipe", "tiny", "--run", run, "--local", "teacher.folds=2", *overrides)
    assert said.code == 2 and refusal in said.err and len(said.err.strip().splitlines()) == 1, said.err
    assert not run.exists()


@pytest.mark.slow
def test_the_whole_pipeline_with_folds(tmp_path: Path) -> None:
    """To a report with a row of the teacher and a sentence on it, its export, and a verified folder."""
    run = DiseaseRun(tmp_path / "run")
    arguments = ["--recipe", "tiny", "--source", "synthetic:120", "--run", run.root, "--local", *SMALL, *CROSS_FITTED]
    said = ckd("pipeline", *arguments)
    assert said.code == 0, said.err
    metrics = json.loads((run.report / "metrics.json").read_text())
    assert "teacher" in [model["name"] for model in metrics["models"]]
    assert "Each of 2 teachers labelled the subjects of its fold" in (run.report / "report.md").read_text()
    assert "fold_1 of 2 left out" in (run.teacher / "fold_1" / "README.md").read_text()
    assert ckd("verify", run.root).code == 0
    assert ckd("export", run.root, "--out", tmp_path / "out").code == 0
    num_train = pl.read_parquet(run.samples("train")).height
    assert len(json.loads((tmp_path / "out" / "soft_labels.json").read_text())) == num_train
