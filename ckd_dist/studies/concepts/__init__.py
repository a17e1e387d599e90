"""Concept embeddings across sites: what a language model's vectors of findings are worth at another hospital."""

from ckd_dist.record import NUMBERS
from ckd_dist.runfolder import SHARDS
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.concepts.recipes import RECIPES
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.study import RunDataset, Stage, Study

STAGES, SIZE = f"{__name__}.stages", f"{__name__}.size"

CASES = ("concepts/*",)
VECTORS = (*SHARDS, NUMBERS)
NAMED = ("embed.models", "embed.endpoints", "student.of", "student.name")  # which embeddings there are


def has_student(recipe: ConceptRecipe) -> bool:
    """Say whether a small encoder learns one of the embeddings."""
    return bool(recipe.student.of)


STUDY = Study(
    "concepts",
    "What embeddings of clinical concepts are worth at another site, from records of several sites.",
    ConceptRecipe,
    RECIPES,
    (
        Stage(
            "read",
            f"{STAGES}:read_sites",
            "Sources to cases of every site: concepts and outcomes.",
            part="sites",
            sources=("sites.sources",),
            size=f"{SIZE}:of_read",
        ),
        Stage(
            "embed",
            f"{STAGES}:EMBED",
            "Concepts to vectors of every embedding, by independent Ray workers.",
            part="embed",
            runs="jobs",
            fields=tuple(f"embed.{name}" for name in ("models", "endpoints", "phrases", "shard_rows", "order_seed")),
            reads={"read": CASES},
            sources=("embed.phrases", "embed.models"),
            size=f"{SIZE}:of_embed",
        ),
        Stage(
            "distill",
            f"{STAGES}:distill",
            "Vectors of a large model to a small encoder with the same space, data-parallel on Ray workers.",
            part="student",
            runs="ranks",
            fields=("student", "grid.pairs", "embed.phrases"),
            reads={"read": CASES, "embed": VECTORS},
            sources=("embed.phrases", "student.base"),
            needed=has_student,
            size=f"{SIZE}:of_distill",
        ),
        Stage(
            "tabulate",
            f"{STAGES}:tabulate",
            "Vectors to tables by concept, outside of every model; the small encoder's too.",
            part="embed",
            fields=(*NAMED, "embed.random", "embed.phrases"),
            reads={"read": CASES, "embed": VECTORS, "distill": ()},
            sources=("embed.phrases",),
            size=f"{SIZE}:of_tabulate",
        ),
        Stage(
            "transfer",
            f"{STAGES}:TRANSFER",
            "Cases and tables to every experiment of the grid, by independent Ray workers.",
            part="grid",
            runs="jobs",
            fields=("grid", *NAMED, "embed.one_hot", "embed.random"),
            reads={"read": CASES, "tabulate": ()},
            size=f"{SIZE}:of_transfer",
        ),
        Stage(
            "evaluate",
            f"{STAGES}:evaluate",
            "Experiments to report: metrics.json, report.md, report.html.",
            part="evaluate",
            fields=("sites", "embed", "student", "grid", "evaluate"),  # the report shows the whole recipe
            reads=dict.fromkeys(("read", "tabulate", "transfer"), ()),
            size=f"{SIZE}:of_evaluate",
        ),
    ),
    run_folder=ConceptsRun,
    dataset=RunDataset(f"{__name__}.dataset:rows_of", ("read", "embed"), ("train", "held_out")),
)
