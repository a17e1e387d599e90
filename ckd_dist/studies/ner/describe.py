"""What the second study's report and model cards say of a run, beside the numbers."""

from ckd_dist.models.card import Card
from ckd_dist.studies.ner.config import NerRecipe

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


def notes_of(recipe: NerRecipe) -> list[str]:
    """What a reader of the report must know beside its numbers, a sentence each."""
    told = []
    if recipe.notes.source.startswith("synthetic:"):
        told.append("The notes are made up: scores on them say that the parts work, nothing of real notes.")
    if recipe.notes.gold_documents is not None and recipe.student.hard_twin:
        told.append(
            f"Human labels of at most {recipe.notes.gold_documents} training notes were used, by the teacher and both "
            "students; the distilled one read the other notes with the combined tags alone."
        )
    if recipe.student.gold_sizes and recipe.label.teacher:
        told.append(
            "In the learning curve the teacher among the labelers has seen all annotated notes that the recipe allows, "
            "so its points of few notes flatter."
        )
    if recipe.combine.by == "search":
        told.append("The combination was chosen on tuning notes, out of many: its score there flatters, this one not.")
    return told
