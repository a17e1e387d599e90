"""What records depend on where another run's teacher labels (study.Stage.shaped_by).

It is what that teacher is and how it reads, never a path: a folder that was moved is the same.
"""

from collections.abc import Callable
from typing import Any

from ckd_dist.config import result_fields
from ckd_dist.files import digest_of, hash_file
from ckd_dist.mistakes import raise_fault
from ckd_dist.models.base import find_base
from ckd_dist.models.fingerprint import fingerprint_tokenizer
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.from_run import FIELD, RecipeRun, other_run, teachers_of
from ckd_dist.studies.disease.seen import seen_by
from ckd_dist.studies.disease.variants import VARIANTS


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
    needs = {VARIANTS[name].needs for name in recipe.experiments.variants}
    if recipe.label.from_run is None or "other run" not in needs:
        return {}
    return {f"{FIELD}_labels": _identity(recipe, labels_of)}


def labels_of(other: RecipeRun) -> list[Any]:
    """Return what identifies the other run's samples, and the labels that its teacher saw."""
    samples = [hash_file(other.run.samples(split)) for split in ("train", "tuning")]
    return [samples, vars(seen_by("teacher", other.recipe.teacher))]


def _identity(recipe: DiseaseRecipe, described: Callable[[RecipeRun], Any]) -> str | None:
    """Return a digest of how the other run is described; None where it is not here now."""
    try:
        return digest_of(described(other_run(recipe)))
    except (OSError, ValueError) as error:  # said in full by `check_teacher_run`, before anything starts
        raise_fault(error)  # it is here, and cannot be read now
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
