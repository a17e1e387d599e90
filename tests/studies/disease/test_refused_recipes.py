"""A recipe that could never show what it asks for is one sentence, before anything starts."""

from pathlib import Path

import numpy as np
import pytest

from ckd_dist.config import dump
from ckd_dist.hospital import law
from ckd_dist.recipefile import load
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.checks import check_asked, check_run, check_texts
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.soft_sources import is_law_known


def check(name: str, *overrides: str) -> None:
    """Load a recipe, and look whether it can be run in an empty folder; what needs another run, as far as that goes."""
    recipe = load(DiseaseRecipe, dump(STUDY.recipes[name]()), overrides)
    if recipe.label.from_run is None and "elsewhere" not in recipe.experiments.variants:
        check_run(recipe, DiseaseRun(Path("nothing")))
    check_asked(recipe.experiments)
    check_texts(recipe)


@pytest.mark.parametrize("name", STUDY.recipes)
def test_our_own_recipes_are_none_of_them(name):
    check(name)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["experiments.seeds=2"], "experiments.claims need at least 3 seeds, and experiments.seeds=2: raise it, or"),
        (['experiments.variants=["hard"]'], "experiments.claims are about 'distilled', which is not among"),
        (["experiments.budgets=[40,20,40]"], r"experiments.budgets=\[40, 20, 40\] names one twice"),
        (["prompt.efficacies=2"], "student.labelled hides|fitted on labels which some budgets or seeds hide"),
        (["student.labelled.train=.inf"], "student.labelled.train"),
        (["student.loss.unlabelled_weight=.inf"], "student.loss.unlabelled_weight"),
    ],
    ids=range(6),
)
def test_of_the_demo_s_students(overrides, said):
    with pytest.raises(ValueError, match=said) as error:
        check("few_labels", *overrides)
    assert "\n" not in str(error.value) and "{" not in str(error.value)


@pytest.mark.parametrize("hidden", ["student.labelled.train=40", "student.labelled.noise=0.1"])
def test_texts_that_name_treatments_fitted_on_hidden_labels(hidden):
    """The run's own teacher sees all labels, and what is fitted on them would stand in the student's texts."""
    with pytest.raises(ValueError, match="hides labels on which the treatments that the student's texts name"):
        check("tiny", hidden)
    check("tiny", hidden, "prompt.efficacies=0")
    check("tiny", hidden, "prompt.teacher_only=[efficacies]")
    check("tiny", hidden, hidden.replace("student", "teacher"))
    check("tiny", hidden, "label.from_run=elsewhere")  # then they are fitted on what the student sees


@pytest.mark.parametrize(
    ("students", "teachers", "is_refused"),
    [("train=80", "train=40", False), ("train=40", "train=80", True), ("train=80", "train=0.5", True)],
)
def test_a_teacher_that_sees_less_in_the_same_order_hides_nothing_from_the_student(students, teachers, is_refused):
    asked = [f"student.labelled.{students}", f"teacher.labelled.{teachers}"]
    if is_refused:
        with pytest.raises(ValueError, match="because the teacher sees them"):
            check("tiny", *asked)
    else:
        check("tiny", *asked)
    with pytest.raises(ValueError, match="because the teacher sees them"):
        check("tiny", *asked, "teacher.labelled.seed=1")


def test_a_claim_about_hard_labels_is_one_about_what_is_done_where_their_teacher_is():
    claim = 'experiments.claims=[{"first": "own", "second": "hard", "bound": "within", "value": 0.01}]'
    check("few_labels", 'experiments.variants=["distilled","own"]', claim)


def test_what_is_refused_before_it_runs_can_still_be_looked_at():
    """A finished run of an earlier version keeps such a recipe."""
    load(DiseaseRecipe, dump(STUDY.recipes["few_labels"]()), ["experiments.seeds=1", "prompt.efficacies=2"])


def test_a_gate_without_a_teacher_to_judge():
    with pytest.raises(ValueError, match="leaves no teacher to judge"):
        check("tiny", "label.gate=refuse", "label.import_from=theirs.json")


def test_the_law_is_known_of_its_own_labels_by_code_and_with_the_visit_before(tmp_path):
    first, second = list(law.COLUMN)[:2]
    codes = {name: next(code for code, k in law.CODES.items() if k == law.COLUMN[name]) for name in (first, second)}
    labels = "{name}:\n  type: acute\n  codes: [{code!r}]\n"
    for name, code in ((first, codes[first]), (second, codes[first])):
        (tmp_path / f"{law.COLUMN[name]}.yaml").write_text(labels.format(name=repr(name), code=code.split("//")[-1]))
    assert is_law_known("synthetic:10", "phenotypes25", history_visits=1)
    assert not is_law_known("synthetic:10", "phenotypes25", history_visits=0)
    assert not is_law_known("mimic3:folder", "phenotypes25", history_visits=1)
    stranger = tmp_path / f"{law.COLUMN[second]}.yaml"  # a known name, another disease's code
    assert not is_law_known("synthetic:10", str(stranger), history_visits=1)
    assert np.all([code.startswith("DIAGNOSIS//ICD//") for code in codes.values()])
