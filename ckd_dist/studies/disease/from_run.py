"""Whose teacher labels: the run's own, or another run's (`label.from_run`).

A teacher of another run brings its way of reading: this run's records are written with that run's prompt settings,
knowledge and tokenizer, as that teacher learned to read.  The student's texts keep this run's own settings.  What this
run's `prompt.efficacies` ask for the student is fitted on this run's own training subjects, as without another teacher.

Which run cannot label is refused in from_run_refusals.py; what records depend on is in from_run_identity.py.
"""

from dataclasses import dataclass
from pathlib import Path

from ckd_dist.mistakes import raise_fault
from ckd_dist.models.base import base_model
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.describe import OtherTeacher
from ckd_dist.studies.disease.prompts.write import Role
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import Seen, seen_by
from ckd_dist.studies.disease.teacher import Teachers
from ckd_dist.study import kept_run

FIELD = "label.from_run"


@dataclass(frozen=True)
class RecipeRun:
    """A run and its recipe, which says how the role reads whose model was made there."""

    recipe: DiseaseRecipe
    run: DiseaseRun

    def base(self, role: Role) -> str:
        """Return the base of a role, a folder or a hub name, whose tokenizer the role reads with."""
        return base_model(self.run, role, getattr(self.recipe, role).base)


def run_of(role: Role, recipe: DiseaseRecipe, run: DiseaseRun) -> RecipeRun:
    """Return the run whose settings `role` reads with: the student's is always this one."""
    return teacher_run(recipe, run) if role == "teacher" else RecipeRun(recipe, run)


def teacher_run(recipe: DiseaseRecipe, run: DiseaseRun) -> RecipeRun:
    """Return the run whose teacher labels: this one, or the other that the recipe names."""
    return RecipeRun(recipe, run) if recipe.label.from_run is None else other_run(recipe)


def other_run(recipe: DiseaseRecipe) -> RecipeRun:
    """Return the other run that the recipe names.

    Raises ValueError, one sentence, where its folder holds no run of this study that this version reads.
    """
    try:
        _, other, folder = kept_run({STUDY.name: STUDY}, Path(recipe.label.from_run))
    except (OSError, ValueError) as error:
        raise_fault(error)
        raise ValueError(f"{FIELD}: {error}") from None
    return RecipeRun(other, folder)


def teachers_of(recipe: DiseaseRecipe, run: DiseaseRun) -> Teachers:
    """Return whose soft labels a recipe asks for."""
    trained, file = teacher_run(recipe, run), recipe.label.import_from
    return Teachers(
        folders=tuple(trained.run.teachers(trained.recipe.teacher.folds)),
        tokenizer=trained.base("teacher"),
        dtype=trained.recipe.teacher.dtype,
        import_from=Path(file) if file else None,
    )


def other_teacher(recipe: DiseaseRecipe, run: DiseaseRun) -> OtherTeacher | None:
    """Return whose teacher labelled; None where it is the run's own, or soft labels were imported."""
    if recipe.label.from_run is None:
        return None
    return OtherTeacher(other_run(recipe).recipe, teachers_of(recipe, run).fingerprint(0))


def seen_of(recipe: DiseaseRecipe, role: Role) -> Seen:
    """Return the labels that a role's texts may have: the student's, where the teacher is another run's."""
    of_student = role == "student" or recipe.label.from_run is not None
    return seen_by("student", recipe.student) if of_student else seen_by("teacher", recipe.teacher)
