"""What the report and the model cards say of a run beside its numbers, in sentences."""

import datetime
from importlib.metadata import version

from ckd_dist.config import result_fields
from ckd_dist.models.card import Card, tokenizer_in_words
from ckd_dist.report.provenance import Provenance
from ckd_dist.report.wording import without_places
from ckd_dist.source import find_source, is_synthetic, title_of
from ckd_dist.studies.ner.config import NerRecipe
from ckd_dist.studies.ner.sources import SOURCES

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "ray", "numpy", "nervaluate", "pyahocorasick")


def provenance_of(recipe: NerRecipe, date: datetime.date) -> Provenance:
    """Return where the numbers of a report come from."""
    return Provenance(
        title=recipe.name,
        source=source_in_words(recipe.notes.source),
        date=date.isoformat(),
        recipe=without_places(result_fields(recipe)),
        versions={name: version(name) for name in PACKAGES},
        notes=notes_of(recipe),
    )


def source_in_words(source: str) -> str:
    """Return what the report calls the corpus; never a whole path.

    >>> source_in_words("pubtator:/data/ncbi_disease"), source_in_words("synthetic:800")
    ('a PubTator corpus (ncbi_disease)', 'notes of a synthetic hospital of 800 patients')
    """
    title, (found, place) = title_of(source, SOURCES), find_source(source, SOURCES)
    return title if found.make else f"{title} ({place.rstrip('/').rpartition('/')[2]})"


def card_of(recipe: NerRecipe, base: str) -> Card:
    """Return what a tagger's card says of where it comes from, and of what is in its folder."""
    return Card(
        data=source_in_words(recipe.notes.source),
        patients=not is_synthetic(recipe.notes.source),
        cohort="notes, cut into words; a word's tag says whether an entity begins or continues there",
        labels="O, and B and I of every type",
        holds=tokenizer_in_words(base),
    )


def notes_of(recipe: NerRecipe) -> list[str]:
    """List what a reader of the report must know beside its numbers, a sentence each."""
    sentences = []
    if is_synthetic(recipe.notes.source):
        sentences.append("The notes are synthetic: scores on them show that the parts work, nothing of real notes.")
    if recipe.notes.gold_documents is not None and recipe.student.hard_baseline:
        sentences.append(
            f"Human labels of at most {recipe.notes.gold_documents} training notes were used, by the teacher and both "
            "students; the distilled one read the other notes with the combined tags alone."
        )
    if recipe.student.gold_sizes and recipe.label.teacher:
        sentences.append(
            "In the learning curve the teacher among the labelers has seen all annotated notes that the recipe allows, "
            "so its points of few notes flatter."
        )
    if recipe.combine.by == "search":
        sentences.append(
            "The combination was chosen on tuning notes, out of many: its score there flatters, this one not."
        )
    return sentences
