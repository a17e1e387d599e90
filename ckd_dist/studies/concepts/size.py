"""How large the stages of the third study will be: phrases, experiments, updates."""

from pathlib import Path

import polars as pl

from ckd_dist.engine.cost import Size, gigabytes, steps_of_phases
from ckd_dist.source import find_source
from ckd_dist.studies.concepts.cases.cases import read_cases
from ckd_dist.studies.concepts.cases.sources import SOURCES, without_name
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.concepts.embed import phrases_of
from ckd_dist.studies.concepts.grid import list_experiments
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.stages import grid_of, readable


def of_read(recipe: ConceptRecipe, run: ConceptsRun) -> Size:
    """Say how many synthetic cases, or how many bytes of every source."""
    parts = []
    for source in recipe.sites.sources:
        bare = without_name(source)
        found, where = find_source(bare, SOURCES)
        if found.make:
            parts.append(f"{where} synthetic cases a site")
        else:
            num_bytes = sum(file.stat().st_size for file in Path(where).expanduser().rglob("*") if file.is_file())
            parts.append(f"{gigabytes(num_bytes)} of {bare.partition(':')[0]} files")
    return Size(", ".join(parts))


def of_embed(recipe: ConceptRecipe, run: ConceptsRun) -> Size:
    """Say how many embeddings of how many phrases."""
    num = len(recipe.embed.models) + len(recipe.embed.endpoints)
    text = f"{num} embedding{'s' if num != 1 else ''}"
    if not run.concepts.is_file():
        return Size(text)
    return Size(f"{text} of {len(phrases_of(run, recipe.embed.phrases)):,} phrases")


def of_distill(recipe: ConceptRecipe, run: ConceptsRun) -> Size:
    """Say how many phrases the small encoder may learn, in how many steps."""
    if not recipe.student.of:
        return Size()
    if not run.concepts.is_file():
        return Size(f"learns {recipe.student.of}")
    num = len(phrases_of(run, recipe.embed.phrases))
    return Size(f"at most {num:,} phrases, {steps_of_phases([recipe.student.optim], num):,} steps")


def of_tabulate(recipe: ConceptRecipe, run: ConceptsRun) -> Size:
    """Say how many embeddings a patient model may read."""
    return Size(f"{len(readable(recipe))} embeddings")


def of_transfer(recipe: ConceptRecipe, run: ConceptsRun) -> Size:
    """Say how many experiments, and how many at once."""
    if not run.cases.is_file():
        return Size()
    names = list(readable(recipe))
    experiments, _ = list_experiments(grid_of(recipe), names, read_cases(run).num_train)
    at_once = f", {recipe.grid.workers.num:,} at once" if recipe.grid.workers.num else ""
    return Size(f"{len(experiments):,} experiments{at_once}")


def of_evaluate(recipe: ConceptRecipe, run: ConceptsRun) -> Size:
    """Say how many cases are scored."""
    if not run.cases.is_file():
        return Size()
    held_out = pl.scan_parquet(run.cases).filter(split="held_out").select(pl.len()).collect().item()
    return Size(f"{held_out:,} held-out cases")
