"""Describe a run in sentences, for reports and model cards."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from ckd_dist.config import result_fields, values_of
from ckd_dist.ehr.sources import SOURCES
from ckd_dist.models.card import Card, tokenizer_in_words
from ckd_dist.report.provenance import Provenance
from ckd_dist.report.wording import masked, without_places
from ckd_dist.schema import FEWEST_SUBJECTS
from ckd_dist.source import is_synthetic, title_of
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.folds import Fold
from ckd_dist.studies.disease.prompts.write import PromptOptions
from ckd_dist.studies.disease.runfolder import CALIBRATION, KNOWLEDGE, READING

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "ray", "numpy", "scikit-learn")
FEW_TUNING_PAIRS = 100  # fewer fit no temperature or threshold that can be trusted
PARTS = {"history": "earlier visits", "efficacies": "efficacies of treatments", "drugs": "medications"}
UNUSUAL_CODES = {
    "num_unknown": "are in no table",
    "num_unmapped": "have no CCS category",
    "num_straddling": "set two labels",
}


@dataclass(frozen=True)
class OtherTeacher:
    """The teacher of another run, as a page may name it."""

    recipe: DiseaseRecipe  # of that run
    fingerprint: str

    def sentence(self) -> str:
        """Say whose teacher taught: no path, no record."""
        data = title_of(self.recipe.extract.source, SOURCES)
        return (
            f"The teacher is that of another run, of the recipe {self.recipe.name} (fingerprint "
            f"{self.fingerprint[:16]}), trained on {data}; it reads records as it learned there."
        )


def provenance_of(
    recipe: DiseaseRecipe,
    selected: dict,
    seen: Sequence[str],
    num_tuning_pairs: int,
    date: datetime.date,
    other: OtherTeacher | None,
) -> Provenance:
    """Return where the numbers of a report come from.

    selected: the numbers of stage select.  seen: whose labels each role sees (seen.said_of).  other: whose teacher
    labelled, where it is not the run's own; the fields shown of the teacher are then those of its recipe.
    """
    shown = result_fields(recipe)
    if other:
        theirs = result_fields(other.recipe)
        shown |= {name: value for name, value in theirs.items() if name.startswith("teacher.")}
        read = {name: value for name, value in theirs.items() if name.startswith("prompt.") and "student" not in name}
        shown |= {f"{name} (of the teacher)": value for name, value in read.items() if shown[name] != value}
    teachers = other.recipe if other else recipe
    notes = [*notes_of(recipe, teachers, selected, num_tuning_pairs), *setting_of(recipe, teachers, seen)]
    return Provenance(
        title=recipe.name,
        source=title_of(recipe.extract.source, SOURCES),
        date=date.isoformat(),
        recipe=without_places(shown),
        versions={name: version(name) for name in PACKAGES},
        notes=[*notes, other.sentence()] if other else notes,
    )


def notes_of(recipe: DiseaseRecipe, teachers: DiseaseRecipe, selected: dict, num_tuning_pairs: int) -> list[str]:
    """List what a reader of the report must know beside its numbers, a sentence each.

    teachers: the recipe of the run whose teacher labels.
    """
    sentences = [
        f"{len(absent)} of the labels never occur in {split} and are left out of its macro scores."
        for split, absent in selected["absent"].items()
        if absent
    ]
    counts = selected["codes"]
    for kind, fault in UNUSUAL_CODES.items():
        if counts[kind]:
            sentences.append(f"{counts[kind]} of {counts['num_codes']} different diagnosis codes {fault}.")
    if num_tuning_pairs < FEW_TUNING_PAIRS:
        sentences.append(
            f"Temperatures and thresholds were fitted on {num_tuning_pairs} tuning pairs: too few to trust them."
        )
    if recipe.label.import_from:
        sentences.append("Soft labels were imported, so there is no teacher to compare with.")
    if (folds := teachers.teacher.folds) > 1:
        sentences.append(
            f"Each of {folds} teachers labelled the subjects of its fold and learned from those of the "
            "others; of tuning and held_out too, so the row of the teacher is about all of them together."
        )
    if recipe.student.hard_baseline:
        sentences.append(
            "The student of hard labels alone read as many rows as the distilled one, of labelled visits alone."
        )
    return sentences


def setting_of(recipe: DiseaseRecipe, teachers: DiseaseRecipe, seen: Sequence[str]) -> list[str]:
    """List what is hidden from whom, a sentence each; small counts are not shown.

    teachers: the recipe of the run whose teacher labels, as which it reads.
    """
    sentences = [
        f"{sentence[0].upper()}{masked(sentence[1:])}; every label of held_out is scored." for sentence in seen
    ]
    permuted = teachers.prompt.teacher_only if teachers.prompt.teacher_permuted else ()
    alone = [part for part in recipe.prompt.teacher_only if part not in permuted]
    for parts, whose in ((alone, "of the same visit"), (permuted, "of another subject's visit, as a control")):
        if parts:
            sentences.append(f"The teacher alone reads {', '.join(PARTS[part] for part in parts)}: {whose}.")
    return sentences


def card_of(recipe: DiseaseRecipe, base: str) -> Card:
    """Return a model's card: what it was trained on, and for what."""
    return Card(
        data=title_of(recipe.extract.source, SOURCES),
        patients=not is_synthetic(recipe.extract.source),
        cohort="visits that ended alive, to predict the diseases coded at the same person's next visit",
        labels=f"one column a disease of the label set {Path(recipe.select.labels).name}, by diagnosis code",
        holds=tokenizer_in_words(base),
    )


def teacher_card_of(recipe: DiseaseRecipe, fold: Fold) -> Card:
    """Return the card of a fold's teacher, which says whom it did not learn from."""
    card = card_of(recipe, recipe.teacher.base)
    if fold.num == 1:
        return card
    return replace(card, cohort=f"{card.cohort}; the subjects of {fold.name} of {fold.num} left out, which it labels")


def student_card_of(recipe: DiseaseRecipe, packed: bool, other: OtherTeacher | None = None) -> Card:
    """Return a student's card.

    packed: whether its folder says how it reads new patients.  other: whose teacher taught it, where it is not the
    run's own: the records that it was trained on are then behind the student's weights too.
    """
    card, most = card_of(recipe, recipe.student.base), recipe.prompt.efficacies
    if other:
        patients = card.patients or not is_synthetic(other.recipe.extract.source)
        card = replace(card, data=f"{card.data}. {other.sentence()}", patients=patients)
    beside = {CALIBRATION: "temperatures and thresholds of the labels, fitted on tuning subjects"}
    if packed:
        beside[READING] = "fields of the recipe and label names"
    if packed and values_of(recipe.prompt, PromptOptions).lists_efficacies("student"):
        beside[KNOWLEDGE] = (
            f"names of at most {most} treatments a disease, as the records write them, each of at least "
            f"{FEWEST_SUBJECTS} subjects, without how many"
        )
    return replace(card, holds={**card.holds, **beside})
