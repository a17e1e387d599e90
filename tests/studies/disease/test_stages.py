"""The first stages on a synthetic hospital: the prompts of teacher and student are written, and done again, apart."""

import polars as pl
import pytest

from ckd_dist.config import dump
from ckd_dist.recipefile import load
from ckd_dist.schedule import num_steps
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.distill import as_many_updates
from ckd_dist.studies.disease.rows import read_hard
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.size import of_student
from ckd_dist.study import Context, run_stage

STAGES = ("extract", "select", "prompt_teacher", "prompt_student")
SMALL = ("extract.source=synthetic:60", "select.absent_labels=allow", "prompt.min_support=2")


def recipe_with(*overrides: str) -> DiseaseRecipe:
    return load(DiseaseRecipe, dump(STUDY.recipes["tiny"]()), [*SMALL, *overrides])


def run_stages(run: DiseaseRun, recipe: DiseaseRecipe) -> None:
    for name in STAGES:
        run_stage(STUDY, STUDY.stages[name], Context(recipe, run))


def written(run: DiseaseRun, role: str) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file that only `role` reads."""
    files = [*run.root.glob(f"prompts/*.{role}.*"), *(path for path in run.base(role).rglob("*") if path.is_file())]
    return {str(path.relative_to(run.root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def prompted(tmp_path_factory) -> DiseaseRun:
    run = DiseaseRun(tmp_path_factory.mktemp("run"))
    run_stages(run, recipe_with())
    return run


@pytest.mark.parametrize(
    ("role", "other", "change"),
    [
        ("teacher", "student", "teacher.tiny.vocabulary=400"),
        ("teacher", "student", "prompt.teacher_tokens=480"),
        ("student", "teacher", "student.tiny.vocabulary=400"),
        ("student", "teacher", "prompt.student_tokens=200"),
    ],
)
def test_prompts_of_a_role_do_not_depend_on_the_others_base(prompted, role, other, change):
    """Another base or budget of one role: its prompts are done again, and not a file of the other role is touched."""
    run_stages(prompted, recipe_with())
    before = {each: written(prompted, each) for each in (role, other)}
    assert len(before[role]) > 6 < len(before[other])
    run_stages(prompted, recipe_with(change))
    assert written(prompted, other) == before[other]
    after = written(prompted, role)
    assert after.keys() == before[role].keys()
    assert any(after[name][0] != content for name, (content, _) in before[role].items())


def test_the_student_starts_from_the_same_bytes_whatever_the_teacher(prompted, tmp_path):
    """A run that never had the first teacher has the same prompts of the student."""
    run_stages(prompted, recipe_with())
    fresh = DiseaseRun(tmp_path)
    run_stages(fresh, recipe_with("teacher.tiny.hidden=32", "teacher.tiny.vocabulary=400"))
    contents = [{name: content for name, (content, _) in written(run, "student").items()} for run in (prompted, fresh)]
    assert contents[0] == contents[1]


def test_plan_announces_the_steps_of_the_student_and_of_its_hard_label_baseline(prompted):
    run_stages(prompted, recipe := recipe_with("student.optim.batch_samples=7"))
    num_train = pl.read_parquet(prompted.samples("train")).height
    longer = as_many_updates(prompted, recipe.student.optim, num_train)
    _, known_N = read_hard(prompted, "train")
    student, baseline = num_steps(num_train, 7, recipe.student.optim.epochs), num_steps(known_N.sum(), 7, longer.epochs)
    assert student != baseline  # one cannot stand for the other
    text = of_student(recipe, prompted).text
    assert f" {student} steps," in text and text.endswith(f" and a hard-label baseline of {baseline} steps")
