"""What the second study's report and model cards say of a run, beside the numbers."""

from ckd_dist.config_ner import NerRecipe
from ckd_dist.models.card import Card

SOURCES = {
    "brat": "a brat corpus",
    "iob": "an IOB corpus",
    "pubtator": "a PubTator corpus",
    "jsonl": "notes in JSON lines",
    "text": "a folder of texts",
    "mimic3": "MIMIC-III notes",
    "mimic4": "MIMIC-IV discharge notes",
}


def source_in_words(source: str) -> str:
    """What the report calls the corpus; never a whole path.

    >>> source_in_words("pubtator:/data/ncbi_disease"), source_in_words("synthetic:800")
    ('a PubTator corpus (ncbi_disease)', 'notes of a synthetic hospital of 800 patients')
    """
    kind, _, where = source.partition(":")
    if kind == "synthetic":
        return f"notes of a synthetic hospital of {int(where):,} patients"
    return f"{SOURCES[kind]} ({where.rstrip('/').rpartition('/')[2]})"


def card_of(recipe: NerRecipe) -> Card:
    """What a tagger's card says of where it comes from."""
    return Card(
        data=source_in_words(recipe.notes.source),
        patients=not recipe.notes.source.startswith("synthetic:"),
        cohort="notes, cut into words; a word's tag says whether an entity begins or goes on there",
        labels="O, and B and I of every type",
    )
