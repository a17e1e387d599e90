"""Whose teacher labels: the run's own, or another run's (`label.from_run`).

A teacher of another run brings its way of reading: this run's records are written with that run's prompt settings,
knowledge and tokenizer, as that teacher learned to read.  The student's texts keep this run's own settings.  What this
run's `prompt.efficacies` ask for the student is fitted on this run's own training subjects, as without another teacher.

The labels must be the same by name and in the same order: another order is refused, so no column can be swapped.  A
stage of this run depends on the other teacher by its fingerprint, not by its folder, which may be moved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckd_dist.config import result_fields
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.files import digest_of, hash_file
from ckd_dist.models.base import base_model, find_base
from ckd_dist.models.fingerprint import fingerprint_tokenizer
from ckd_dist.record import verify
from ckd_dist.source import is_synthetic
from ckd_dist.studies.disease import STUDY, has_teacher
from ckd_dist.studies.disease.config import DiseaseRecipe, Extract
from ckd_dist.studies.disease.describe import OtherTeacher
from ckd_dist.studies.disease.prompts.write import Role
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import Seen, seen_by
from ckd_dist.studies.disease.teacher import Teachers
from ckd_dist.studies.disease.variants import VARIANTS
from ckd_dist.study import kept_run

FIELD = "label.from_run"
READ = {"prompt_teacher": ("prompts/knowledge.json", "base/teacher/*"), "train_teacher": ()}  # of the other run


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
    """Return the run whose teacher labels: this one, or the other that the recipe names.

    Raises ValueError, one sentence, where the other folder holds no run of this study that this version reads.
    """
    if recipe.label.from_run is None:
        return RecipeRun(recipe, run)
    try:
        _, other, folder = kept_run({STUDY.name: STUDY}, Path(recipe.label.from_run))
    except (OSError, ValueError) as error:
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
    return OtherTeacher(teacher_run(recipe, run).recipe, teachers_of(recipe, run).fingerprint(0))


def seen_of(recipe: DiseaseRecipe, role: Role) -> Seen:
    """Return the labels that a role's texts may have: the student's, where the teacher is another run's."""
    of_student = role == "student" or recipe.label.from_run is not None
    return seen_by("student", recipe.student) if of_student else seen_by("teacher", recipe.teacher)


def check_teacher_run(recipe: DiseaseRecipe, run: DiseaseRun) -> None:
    """Raise ValueError, one sentence, where the run that the recipe names cannot label this one."""
    if recipe.label.from_run is None:
        return
    other = teacher_run(recipe, run)
    where = f"{FIELD}: {other.run.root}"
    if other.run.root.resolve() == run.root.resolve():
        raise ValueError(f"{where} is this very run, whose own teacher labels where {FIELD} is left out")
    if not has_teacher(other.recipe):
        raise ValueError(f"{where} has no teacher of its own: name the run that trained the one it labels with")
    state = STUDY.ledger(other.recipe, other.run).state("train_teacher")
    if state.state != "done":
        raise ValueError(f"{where}: its train_teacher is {state.state} ({state.why}): run train_teacher there first")
    if problems := verify(other.run, READ):
        raise ValueError(f"{where}: {problems[0]}")
    _check_split(where, recipe.extract, other.recipe.extract)
    _check_labels(where, load_label_set(recipe.select.labels).names, other.run.label_names())
    most, wanted = recipe.select.history_visits, other.recipe.select.history_visits
    if most < wanted:
        raise ValueError(
            f"{where}: its teacher reads up to {wanted} earlier visits, this run's samples keep {most}: give "
            f"select.history_visits={wanted}"
        )


def _check_split(where: str, mine: Extract, theirs: Extract) -> None:
    """Raise ValueError where both runs read the same tables and split the patients otherwise."""
    synthetic = is_synthetic(mine.source) and is_synthetic(
        theirs.source
    )  # of one seed: the same patients, more or fewer
    same = mine.synthetic_seed == theirs.synthetic_seed if synthetic else mine.source == theirs.source
    for name in ("train_fraction", "tuning_fraction", "split_seed"):
        here, there = getattr(mine, name), getattr(theirs, name)
        if same and here != there:
            raise ValueError(
                f"{where}: its teacher learned from the same tables with extract.{name}={there:g}, here it is "
                f"{here:g}, so it may have read this run's held-out patients: give extract.{name}={there:g}"
            )


def _check_labels(where: str, names: list[str], theirs: list[str]) -> None:
    """Raise ValueError unless both runs have the same labels in the same order."""
    if list(names) == list(theirs):
        return
    lacking = [name for name in names if name not in theirs]
    unknown = [name for name in theirs if name not in names]
    if lacking or unknown:
        whose = f"its teacher does not score {lacking[0]!r}" if lacking else f"its teacher scores {unknown[0]!r}"
        raise ValueError(
            f"{where}: {whose}, so {len(lacking)} of this run's {len(names)} labels are not among its {len(theirs)} "
            f"and {len(unknown)} of its are not among this run's: give both the same label set (select.labels)"
        )
    raise ValueError(
        f"{where}: it has this run's {len(names)} labels in another order ({theirs[0]!r} first, here {names[0]!r}): "
        "put the label set (select.labels) into that run's order"
    )


# --- what records depend on (study.Stage.shaped_by): no path, so a folder that was moved is the same ------------------


def prompts_shaped_by(recipe: DiseaseRecipe) -> dict[str, Any]:
    """Return how the other run's teacher reads, and whose labels knowledge for the student is then fitted on."""
    if recipe.label.from_run is None:
        return {}
    seen = {f"student.labelled.{name}": value for name, value in result_fields(recipe.student.labelled).items()}
    return {f"{FIELD}_prompts": _identity(recipe, _reading)} | seen


def labels_shaped_by(recipe: DiseaseRecipe) -> dict[str, Any]:
    """Return which other teacher labels."""
    return {} if recipe.label.from_run is None else {f"{FIELD}_teacher": _identity(recipe, _fingerprints)}


def experiments_shaped_by(recipe: DiseaseRecipe) -> dict[str, Any]:
    """Return what the other hospital's regression learns from, where it is among the variants."""
    if "other run" not in {VARIANTS[name].needs for name in recipe.experiments.variants}:
        return {}
    return {f"{FIELD}_labels": _identity(recipe, labels_of)}


def labels_of(other: RecipeRun) -> list[Any]:
    """Return what identifies the other run's samples, and the labels that its teacher saw."""
    samples = [hash_file(other.run.samples(split)) for split in ("train", "tuning")]
    return [samples, vars(seen_by("teacher", other.recipe.teacher))]


def _identity(recipe: DiseaseRecipe, values_of: Callable[[RecipeRun], Any]) -> str | None:
    """Return a digest of what the other run has; None where it is not here now."""
    try:
        return digest_of(values_of(teacher_run(recipe, DiseaseRun(Path()))))
    except (OSError, ValueError):  # said in full by `check_teacher_run`, before anything starts
        return None


def _fingerprints(other: RecipeRun) -> list[str]:
    """Return what decides the other teacher's logits beside the prompts: weights, tokenizer, template, dtype."""
    teachers = teachers_of(other.recipe, other.run)
    return [teachers.dtype, *(teachers.fingerprint(fold.index) for fold in teachers.folds)]


def _reading(other: RecipeRun) -> dict[str, Any]:
    """Return all that shapes how a record becomes text for that run's teacher."""
    prompt = {name: value for name, value in result_fields(other.recipe.prompt).items() if "student" not in name}
    return {
        "prompt": prompt,
        "history_visits": other.recipe.select.history_visits,
        "labels": other.run.label_names(),
        "knowledge": hash_file(other.run.knowledge) if other.recipe.prompt.efficacies else None,
        "tokenizer": fingerprint_tokenizer(find_base(other.base("teacher"), other.recipe.teacher.revision)),
    }
