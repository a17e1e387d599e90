"""What the report and model card of concepts say of a run, beside the numbers."""

import datetime
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ckd_dist.config import result_fields
from ckd_dist.models.card import Card, tokenizer_in_words
from ckd_dist.report.provenance import Provenance
from ckd_dist.report.wording import without_places
from ckd_dist.source import is_synthetic, title_of
from ckd_dist.studies.concepts.cases.sources import SOURCES, without_name
from ckd_dist.studies.concepts.config import ConceptRecipe

PACKAGES = ("torch", "transformers", "peft", "ray", "numpy", "scikit-learn")


def sources_in_words(sources: tuple[str, ...]) -> str:
    """Return what the report calls the data; never a path.  Raise ValueError where a kind of source is unknown.

    >>> sources_in_words(("A=mimic3:/data/mimic", "B=eicu:/data/eicu"))
    'MIMIC-III tables and eICU tables'
    """
    return " and ".join(title_of(without_name(source), SOURCES) for source in sources)


def card_of(recipe: ConceptRecipe) -> Card:
    """Return what the small encoder's card says of its origin."""
    return Card(
        data=f"phrases of {sources_in_words(recipe.sites.sources)}",
        patients=not all(is_synthetic(without_name(source)) for source in recipe.sites.sources),
        cohort="the vocabulary of the source's training cases: phrases, never a record",
        holds=tokenizer_in_words(recipe.student.base),
        labels=f"the vector that {recipe.student.of!r} gives a phrase",
    )


def provenance_of(
    recipe: ConceptRecipe, tabulated: Mapping[str, Any], left_out: Sequence[str], date: datetime.date
) -> Provenance:
    """Return where the numbers of a report come from.  left_out: what the recipe asks for and was not run."""
    return Provenance(
        title=recipe.name,
        source=sources_in_words(recipe.sites.sources),
        date=date.isoformat(),
        recipe=without_places(result_fields(recipe)),
        versions={name: version(name) for name in PACKAGES},
        notes=[*notes_of(recipe, tabulated), *(f"Not run: {what}." for what in left_out)],
    )


def notes_of(recipe: ConceptRecipe, tabulated: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the report must know beside its numbers, a sentence each.

    tabulated: how near the small encoder comes to what it learned.
    """
    notes = []
    if any(is_synthetic(without_name(source)) for source in recipe.sites.sources):
        notes.append("The departments are synthetic: scores show that the parts work, nothing of real patients.")
    if any(model.base.startswith("tiny") for model in recipe.embed.models):
        notes.append(
            "A tiny model has random weights and a vocabulary learned from the phrases: its vectors know which word "
            "pieces two phrases share, and nothing of medicine, but for synonyms that the recipe had it learn."
        )
    if recipe.student.of and "cosine_unlearned" in tabulated:
        notes.append(
            f"The embedding {recipe.student.name!r} is a small encoder's, distilled from {recipe.student.of!r} on the "
            f"first source's phrases; on {tabulated['unlearned']:,} phrases that it never saw its mean cosine to it is "
            f"{tabulated['cosine_unlearned']:.2f}."
        )
    return notes
