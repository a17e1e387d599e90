"""THE THIRD STUDY'S TABLE OF CONTENTS: from two hospitals' records to what an embedding is worth at the other one.

    sources -> cases, concepts -> vectors (shards) -> small encoder -> tables by concept -> grid of cells -> report

Gao et al. 2024 (arXiv 2409.13893) represent a finding by a language model's vector of its phrase, train a small patient
model at one site and use it at another: as it is, tuned a little, or not at all.  The shards, the loop and the launch
are the first study's; a cell of the grid is a job, as a shard is.  Rules of a stage: pipeline.py.
"""

import json

from ckd_dist import stages
from ckd_dist.engine.jobs import Jobs
from ckd_dist.engine.train import Committed, Watch, chosen, never, nobody_waits
from ckd_dist.models.tiny import make_tiny_student
from ckd_dist.progress import Track, nobody
from ckd_dist.schema import Run
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.plans import finish_all, still_missing, sums
from ckd_dist.studies.concepts import distill as distilling
from ckd_dist.studies.concepts import embed as embedding
from ckd_dist.studies.concepts import evaluate as score
from ckd_dist.studies.concepts import experiment as cells
from ckd_dist.studies.concepts import tabulate as tabulating
from ckd_dist.studies.concepts.cases.sources import read_sources
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.concepts.describe import card_of
from ckd_dist.studies.concepts.grid import idle_share, tidy
from ckd_dist.world import World


def read(recipe: ConceptRecipe, run: Run, track: Track = nobody) -> None:
    """sources -> cases of every site, and the concepts that they hold; split by subject."""
    if stages.is_done(recipe, run, "read"):
        return
    stages.begin(recipe, run, "read")
    cells.embeddings_of(recipe)  # a name that cannot be is refused before anything is read
    built, files = read_sources(recipe.sites, run, track)
    run.concepts.parent.mkdir(parents=True, exist_ok=True)
    built.concepts.write_parquet(run.concepts)
    built.cases.write_parquet(run.cases)
    run.outcomes.write_text(json.dumps(list(built.outcomes)))
    numbers = {"flow": built.flow.rows, "notes": built.flow.notes, "concepts": len(built.concepts)}
    stages.finish(recipe, run, "read", [run.concepts, run.cases, run.outcomes, *files], numbers)


def plan_vectors(recipe: ConceptRecipe, run: Run) -> list[int]:
    """The shards of vectors that are still missing, of all embeddings."""
    if stages.is_done(recipe, run, "embed"):
        return []
    stages.begin(recipe, run, "embed")
    embedding.make_tiny_bases(run, recipe.embed)
    return still_missing(run.softlabels, planned_vectors(recipe, run))


class Embedder(embedding.Worker):
    """phrases -> shards of vectors: one worker, every embedding.  `do(number)` publishes one; twice is harmless."""

    def __init__(self, recipe: ConceptRecipe, run: Run, device: str) -> None:
        super().__init__(run, recipe.embed, device)


def finish_vectors(recipe: ConceptRecipe, run: Run) -> None:
    """The index of every finished set, and what it cost."""
    if not stages.is_done(recipe, run, "embed"):
        planned = planned_vectors(recipe, run)
        files = finish_all(run.softlabels, planned)
        made = [
            each for each in recipe.embed.models if each.base in embedding.MAKERS
        ]  # the student's is another stage's
        bases = [file for each in made for file in stages.files_below(run.base(each.name))]
        told = {name: {"plan": plan.plan_hash, **sums(run.softlabels, plan)} for name, plan in planned.items()}
        stages.finish(recipe, run, "embed", [*files, *bases], told)


def planned_vectors(recipe: ConceptRecipe, run: Run) -> dict[str, Plan]:
    """What is embedded, by embedding."""
    return embedding.plans(run, recipe.embed, embedding.readers_of(run, recipe.embed))


def distill(
    recipe: ConceptRecipe,
    run: Run,
    world: World,
    committed: Committed = nobody_waits,
    should_stop=never,
    track: Track = nobody,
) -> None:
    """vectors -> a small encoder with the same space.  Runs on every rank."""
    if not stages.is_needed(recipe, "distill") or stages.is_done(recipe, run, "distill"):
        return
    inputs = stages.begin_on_leader(recipe, run, "distill", world)
    watch = Watch(committed, should_stop, track, run.tensorboard / "student")
    settings, phrases = recipe.student, embedding.phrases_of(run, recipe.embed.phrases)
    base = settings.base
    if base == "tiny":
        base = str(run.base(settings.name))
        if world.is_leader:
            make_tiny_student(run.base(settings.name), phrases, settings.tiny, seed=0)
        world.barrier()
    fitted = distilling.student(
        run,
        settings,
        base,
        Plan.open(run.softlabels, stages.read(run, "embed").numbers[settings.of]["plan"]),
        phrases,
        distilling.learned_rows(run, recipe.grid, phrases, recipe.embed.phrases),
        embedding.settings_of(recipe.embed, settings.of).template,
        world,
        watch,
        stages.digest_of([stages.fields_of(recipe, "distill"), inputs]),
        card_of(recipe),
    )
    if fitted and world.is_leader:
        stages.finish(recipe, run, "distill", stages.exported_files(run.student), chosen(fitted))
    world.barrier()


def tabulate(recipe: ConceptRecipe, run: Run, track: Track = nobody) -> None:
    """vectors -> a table an embedding, keyed by concept; the small encoder embeds the vocabulary here too."""
    if stages.is_done(recipe, run, "tabulate"):
        return
    stages.begin(recipe, run, "tabulate")
    phrases = embedding.phrases_of(run, recipe.embed.phrases)
    plans = {name: Plan.open(run.softlabels, told["plan"]) for name, told in stages.read(run, "embed").numbers.items()}
    learned = distilling.learned_rows(run, recipe.grid, phrases, recipe.embed.phrases) if recipe.student.of else []
    files, numbers = tabulating.tabulate(run, recipe.embed, recipe.student, plans, phrases, learned)
    stages.finish(recipe, run, "tabulate", files, numbers)
    track(1, 1)


def plan_cells(recipe: ConceptRecipe, run: Run) -> list[int]:
    """The cells of the grid that are not done yet."""
    if stages.is_done(recipe, run, "transfer"):
        return []
    stages.begin(recipe, run, "transfer")
    return cells.Planned(recipe, run).missing()


def finish_cells(recipe: ConceptRecipe, run: Run) -> None:
    """Every cell's file, and how busy the workers were."""
    if not stages.is_done(recipe, run, "transfer"):
        planned = cells.Planned(recipe, run)
        results, files = planned.results()
        tidy(run.cells)
        told = {"cells": len(results), "seconds": sum(result.seconds for result in results)}
        told |= {"idle_share": idle_share(results), "left_out": planned.left_out}
        stages.finish(recipe, run, "transfer", files, told)


def evaluate(recipe: ConceptRecipe, run: Run, track: Track = nobody) -> None:
    """cells -> report."""
    if stages.is_done(recipe, run, "evaluate"):
        return
    stages.begin(recipe, run, "evaluate")
    score.report(recipe, run, track)
    stages.finish(recipe, run, "evaluate", stages.files_below(run.report))


JOBS = {
    "embed": Jobs(plan_vectors, Embedder, finish_vectors),
    "transfer": Jobs(plan_cells, cells.Worker, finish_cells),
}
