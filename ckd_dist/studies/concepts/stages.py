"""From two hospitals' records to what an embedding is worth at the other one, a function a stage.

    sources -> cases, concepts -> vectors' shards -> small encoder -> tables by concept -> grid of experiments -> report

Gao et al. 2024 (arXiv 2409.13893) represent a finding by a language model's vector of its phrase, train a small patient
model at one site and use it at another: as it is, tuned a little, or not at all.  An experiment of the grid is a job,
as a shard of vectors is.  The recipe stops here: what is called gets the values that it uses.
"""

import datetime
import json
from dataclasses import replace

import polars as pl

from ckd_dist.account import Account
from ckd_dist.config import Endpoint, values_of
from ckd_dist.engine.experiments import costs_of, missing, path_of
from ckd_dist.engine.export import exported_files
from ckd_dist.engine.loop import Phase
from ckd_dist.engine.train import best_of
from ckd_dist.files import files_below, replacing, sweep, write
from ckd_dist.models.base import Start
from ckd_dist.models.tiny import make_tiny_student
from ckd_dist.record import read
from ckd_dist.report.provenance import what_was_read
from ckd_dist.schema import FEWEST_SUBJECTS, check_columns
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.plans import finish_all, open_all, still_missing, sums
from ckd_dist.studies.concepts.cases.built import JoinOptions
from ckd_dist.studies.concepts.cases.kept import account_of
from ckd_dist.studies.concepts.cases.options import CaseOptions
from ckd_dist.studies.concepts.cases.sources import Sources, read_sources
from ckd_dist.studies.concepts.cases.table import CASES, CONCEPTS
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.concepts.describe import card_of, provenance_of
from ckd_dist.studies.concepts.distill import EncoderTraining, TeacherVectors, learned_rows, read_vectors, train_encoder
from ckd_dist.studies.concepts.embed import (
    MAKERS,
    EmbeddingWorker,
    embeddings_of,
    make_tiny_bases,
    phrases_of,
    plan_vectors,
    read_phrases,
    read_synonyms,
    settings_of,
    shared_phrases_of,
    sources_of,
)
from ckd_dist.studies.concepts.embeddings import EmbeddingOptions, Learned, LocalModel, ServedModel
from ckd_dist.studies.concepts.evaluate import read_scored, read_spaces, targets_of
from ckd_dist.studies.concepts.experiment import ExperimentWorker
from ckd_dist.studies.concepts.grid import GridOptions, GridPlan, check_pairs
from ckd_dist.studies.concepts.pools import PatientOptions
from ckd_dist.studies.concepts.report.measure import measure
from ckd_dist.studies.concepts.report.page import write_report
from ckd_dist.studies.concepts.report.results import Results
from ckd_dist.studies.concepts.report.wording import sentences_of
from ckd_dist.studies.concepts.result import Result
from ckd_dist.studies.concepts.tables import ONE_HOT
from ckd_dist.studies.concepts.tabulate import agreement, embed_by_student, write_vector_tables
from ckd_dist.studies.concepts.task import SpaceWeights
from ckd_dist.study import Context, Jobs, Outcome


def read_sites(context: Context) -> Outcome:
    """sources -> cases: read those of every site, and the concepts that they hold; split them by subject."""
    recipe, run = context.recipe, context.run
    readable(recipe)  # a name that cannot be is refused before anything is read, and so is a file of phrases
    read_phrases(recipe.embed.phrases)
    for model in recipe.embed.models:
        read_synonyms(model.synonyms)
    kinds = (Sources, CaseOptions, JoinOptions)
    built, files = read_sources(*(values_of(recipe.sites, kind) for kind in kinds), run, context.callbacks.track)
    check_pairs(recipe.grid.pairs, sorted(set(built.cases["site"])))
    for path, frame in ((run.concepts, built.concepts), (run.cases, built.cases)):
        with replacing(path) as temporary:
            frame.write_parquet(temporary)
    write(run.outcomes, json.dumps(list(built.outcomes)))
    numbers = {
        "flow": built.flow.rows,
        "notes": built.flow.notes,
        "concepts": len(built.concepts),
        "lost": built.lost,
        "unnamed_drugs": built.unnamed_drugs,
    }
    return Outcome([run.concepts, run.cases, run.outcomes, *files], numbers, said=account_of(built).sentence())


def embeddings(recipe: ConceptRecipe) -> EmbeddingOptions:
    """Return the embeddings by models, and how their phrases are cut into shards."""
    part = recipe.embed
    served = tuple(
        ServedModel(values_of(each, Endpoint), each.template, each.whiten, each.dimensions, each.batch)
        for each in part.endpoints
    )
    models = tuple(values_of(each, LocalModel) for each in part.models)
    return replace(values_of(part, EmbeddingOptions), models=models, endpoints=served)


def readable(recipe: ConceptRecipe) -> dict[str, int | None]:
    """Return all embeddings that a patient model may read -> directions that whitening keeps (embed.embeddings_of)."""
    return embeddings_of(embeddings(recipe), values_of(recipe.student, Learned))


def grid_of(recipe: ConceptRecipe) -> GridOptions:
    """Return the sides of the grid."""
    models = tuple(values_of(each, PatientOptions) for each in recipe.grid.models)
    return replace(values_of(recipe.grid, GridOptions), models=models)


def planned_vectors(context: Context) -> dict[str, Plan]:
    """Return what is embedded, by embedding."""
    settings = embeddings(context.recipe)
    return plan_vectors(context.run, settings, sources_of(context.run, settings))


def missing_vectors(context: Context) -> list[int]:
    """Return the shards of vectors that are not there yet, of all embeddings."""
    readable(context.recipe)  # a finished read has not looked at other names
    make_tiny_bases(context.run, embeddings(context.recipe))
    return still_missing(context.run.softlabels, planned_vectors(context), context.digest())


def embedding_worker(context: Context, device: str) -> EmbeddingWorker:
    """phrases -> shards of vectors: return one worker with every embedding."""
    planned = open_all(context.run.softlabels, context.digest())
    return EmbeddingWorker(context.run, embeddings(context.recipe), planned, device)


def finish_vectors(context: Context) -> Outcome:
    """Write the index of every finished set, and add up what each cost."""
    run, plans = context.run, planned_vectors(context)
    files = finish_all(run.softlabels, plans)
    made = [each.name for each in context.recipe.embed.models if each.base in MAKERS]
    bases = [file for name in made for file in files_below(run.base(name))]  # the student's is another stage's
    numbers = {name: plan.plan_hash for name, plan in plans.items()}
    costs = {name: sums(run.softlabels, plan) for name, plan in plans.items()}
    return Outcome([*files, *bases], numbers, costs, said=vocabulary_in_words(context) if made else "")


def vocabulary_in_words(context: Context) -> str:
    """Say from how many phrases the vocabulary of a tiny base was learned, and how many it was not."""
    further = context.recipe.embed.phrases
    num_all, num_shared = (len(phrases(context.run, further)) for phrases in (phrases_of, shared_phrases_of))
    rare = f"{num_all - num_shared:,} phrases of fewer than {FEWEST_SUBJECTS} subjects are spelled in pieces"
    return Account({"phrases for the tiny vocabulary": num_shared}, remarks=[rare]).sentence()


EMBED = Jobs(missing_vectors, embedding_worker, finish_vectors)


def distill(context: Context) -> Outcome | None:
    """vectors -> small encoder: train it to have the same space."""
    recipe, run, world = context.recipe, context.run, context.world
    readable(recipe)  # refuses a student of an embedding that there is not
    settings, phrases = recipe.student, phrases_of(run, recipe.embed.phrases)
    base = settings.base
    if base == "tiny":
        base = str(run.base(settings.name))
        if world.is_leader:
            shared = shared_phrases_of(run, recipe.embed.phrases)
            make_tiny_student(run.base(settings.name), (), settings.tiny, seed=0, public=shared)
        world.barrier()
    plan = Plan.open(run.softlabels, read(run, "embed").numbers[settings.of])
    template = settings_of(embeddings(recipe), settings.of).template
    texts = [template.format(phrase) for phrase in phrases]
    learned = learned_rows(run, recipe.grid.pairs, phrases, recipe.embed.phrases)
    teacher = TeacherVectors(texts, read_vectors(run, plan), learned)
    scalars = run.tensorboard / "student"
    phase = Phase(settings.optim, run.student, context.digest(), "cosine", context.callbacks, scalars)
    weights, anchors = values_of(settings.loss, SpaceWeights), settings.loss.anchors
    training = EncoderTraining(settings.engine, settings.dtype, settings.held_out_fraction, anchors, weights)
    start = Start(base, settings.revision, settings.max_tokens)
    fitted = train_encoder(training, start, teacher, phase, world, card_of(recipe))
    return Outcome(exported_files(run.student), best_of(fitted)) if fitted else None


def tabulate(context: Context) -> Outcome:
    """vectors -> tables: write one an embedding, keyed by concept; the small encoder embeds the vocabulary here."""
    recipe, run = context.recipe, context.run
    student, phrases = recipe.student, phrases_of(run, recipe.embed.phrases)
    plans = {name: Plan.open(run.softlabels, plan) for name, plan in read(run, "embed").numbers.items()}
    vectors = {name: read_vectors(run, plan) for name, plan in plans.items()}
    numbers = {}
    if student.of:
        template = settings_of(embeddings(recipe), student.of).template
        texts = [template.format(phrase) for phrase in phrases]
        own_ND = embed_by_student(run.student, texts, student.max_tokens, student.optim.micro_tokens)
        learned = learned_rows(run, recipe.grid.pairs, phrases, recipe.embed.phrases)
        numbers = agreement(own_ND, vectors[student.of], learned)
        vectors[student.name] = own_ND
    files = write_vector_tables(run, phrases, vectors, recipe.embed.random)
    context.callbacks.track(1, 1)
    return Outcome(files, numbers)


def planned_experiments(context: Context) -> GridPlan:
    """Return the experiments of the grid, in order, each with all that shapes it."""
    recipe = context.recipe
    return GridPlan(grid_of(recipe), readable(recipe), context.run)


def missing_experiments(context: Context) -> list[int]:
    """Return the experiments of the grid that are not done yet."""
    return missing(context.run.experiments, planned_experiments(context).plans)


def experiment_worker(context: Context, device: str) -> ExperimentWorker:
    """cases and tables -> results: return one worker that can do any experiment."""
    return ExperimentWorker(context.run, planned_experiments(context).plans, device)


def finish_experiments(context: Context) -> Outcome:
    """Read every experiment's result, and how busy the workers were."""
    grid, folder = planned_experiments(context), context.run.experiments
    files = [path_of(folder, plan.experiment) for plan in grid.plans]
    results = [Result.read(file) for file in files]
    sweep(folder)
    numbers = {"experiments": len(results), "left_out": grid.left_out}
    return Outcome(files, numbers, costs_of(results))


TRANSFER = Jobs(missing_experiments, experiment_worker, finish_experiments)


def evaluate(context: Context) -> Outcome:
    """experiments -> report: score the targets' held-out cases beside baselines, with intervals over subjects."""
    recipe, run, track = context.recipe, context.run, context.callbacks.track
    settings, student = recipe.evaluate, recipe.student
    read_by = readable(recipe)
    cases = check_columns(pl.read_parquet(run.cases), CASES, "cases")
    concepts = check_columns(pl.read_parquet(run.concepts), CONCEPTS, "concepts")
    scored = read_scored(run, grid_of(recipe), list(read_by))
    track(1, 4)
    was_read, tabulated = read(run, "read").numbers, read(run, "tabulate").numbers
    transfer = read(run, "transfer")
    transferred = transfer.numbers | transfer.costs
    provenance = provenance_of(recipe, tabulated, transferred["left_out"], datetime.date.today())
    results = Results(
        provenance=replace(provenance, was_read=what_was_read(run, "read")),
        outcomes=tuple(json.loads(run.outcomes.read_text())),
        cases=cases,
        concepts=concepts,
        targets=targets_of(scored, cases, len(concepts)),
        scored=scored,
        spaces=read_spaces(run, read_by, concepts),
        one_hot=ONE_HOT,
        learned={student.name: student.of} if student.of else {},
        idle_share=transferred["idle_share"],
        left_out={reason: excluded for reason, excluded, _ in was_read["flow"] if excluded},
        unnamed_drugs=was_read["unnamed_drugs"],
        bootstrap_draws=settings.bootstrap_draws,
        seed=settings.seed,
        neighbours=settings.neighbours,
        least_subjects=settings.least_subjects,
    )
    track(2, 4)
    tables = measure(results)
    track(3, 4)
    write_report(results.provenance, tables, sentences_of(tables), run.report)
    track(4, 4)
    return Outcome(files_below(run.report))
