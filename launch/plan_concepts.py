"""How large the stages of the third study will be: phrases, cells, updates."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from ckd_dist.schema import Run
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.concepts.embed import phrases_of
from ckd_dist.studies.concepts.experiment import Planned, embeddings_of
from launch.plan import Size, gigabytes, num_steps


def _read(recipe: ConceptRecipe, run: Run) -> Size:
    said = []
    for source in recipe.sites.sources:
        kind, _, where = source.rpartition("=")[2].partition(":")
        if kind == "synthetic":
            said.append(f"{where} made-up cases a site")
        else:
            num_bytes = sum(file.stat().st_size for file in Path(where).rglob("*") if file.is_file())
            said.append(f"{gigabytes(num_bytes)} of {kind} files")
    return ", ".join(said), None


def _embed(recipe: ConceptRecipe, run: Run) -> Size:
    num = len(recipe.embed.models) + len(recipe.embed.endpoints)
    said = f"{num} embedding{'s' if num != 1 else ''}"
    if not run.concepts.is_file():
        return said, None
    return f"{said} of {len(phrases_of(run, recipe.embed.phrases)):,} phrases", None


def _distill(recipe: ConceptRecipe, run: Run) -> Size:
    if not recipe.student.of:
        return "", None
    if not run.concepts.is_file():
        return f"learns {recipe.student.of}", None
    num = len(phrases_of(run, recipe.embed.phrases))
    return f"at most {num:,} phrases, {num_steps(recipe.student.optim, num):,} steps", None


def _tabulate(recipe: ConceptRecipe, run: Run) -> Size:
    return f"{len(embeddings_of(recipe))} embeddings", None


def _transfer(recipe: ConceptRecipe, run: Run) -> Size:
    if not run.cases.is_file():
        return "", None
    planned = Planned(recipe, run)
    return f"{len(planned.cells):,} cells, {recipe.grid.workers.num:,} at once", None


def _evaluate(recipe: ConceptRecipe, run: Run) -> Size:
    if not run.cases.is_file():
        return "", None
    held_out = pl.scan_parquet(run.cases).filter(split="held_out").select(pl.len()).collect().item()
    return f"{held_out:,} held-out cases", None


CONCEPTS: dict[str, Callable[[ConceptRecipe, Run], Size]] = {
    "read": _read,
    "embed": _embed,
    "distill": _distill,
    "tabulate": _tabulate,
    "transfer": _transfer,
    "evaluate": _evaluate,
}
