"""The joints of the third study, on a run of two made-up departments: who learns from what, what a cell depends on,
whose vector is whose, and what is said of mistakes.
"""

import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity

from ckd_dist import recipes, stages
from ckd_dist.config import Optim, Tiny
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Step, train_step
from ckd_dist.engine.train import Watch
from ckd_dist.models.card import Card
from ckd_dist.models.embed import load_embedder
from ckd_dist.models.tiny import make_tiny_student
from ckd_dist.schema import CONCEPTS, Run
from ckd_dist.softlabels.generate import finish, generate
from ckd_dist.softlabels.plan import make_plan
from ckd_dist.softlabels.plans import find, still_missing
from ckd_dist.studies.concepts import distill as distilling
from ckd_dist.studies.concepts import fit as fitting
from ckd_dist.studies.concepts import stages as pipeline_concepts
from ckd_dist.studies.concepts.cases.cases import read_cases, read_concepts
from ckd_dist.studies.concepts.cases.sources import read_sources
from ckd_dist.studies.concepts.config import EmbeddingEndpoint, Embeddings, Encoder, PatientModel, SpaceLoss, TextModel
from ckd_dist.studies.concepts.embed import (
    make_tiny_bases,
    names_of,
    phrases_of,
    read_phrases,
    read_synonyms,
)
from ckd_dist.studies.concepts.experiment import Planned, Worker, macro_auroc
from ckd_dist.studies.concepts.grid import idle_share, path_of, source_cell
from ckd_dist.studies.concepts.patients import weights_of
from ckd_dist.studies.concepts.regimes import TUNED
from ckd_dist.studies.concepts.report.baselines import site_floors
from ckd_dist.studies.concepts.synonyms import teach_synonyms
from ckd_dist.studies.concepts.synthetic import thesaurus
from ckd_dist.studies.concepts.synthetic.findings import ALL, FINDINGS, OPAQUE
from ckd_dist.studies.concepts.tables import Table, keys_of, random_table
from ckd_dist.studies.concepts.task import CaseTask, SpaceTask
from ckd_dist.world import World
from tests.studies.concepts.small import (
    ONE_HOT,
    REGIMES,
    STUDENT,
    TEACHER,
    bce,
    build,
    change,
    do,
    grid,
    numbers_where,
    plan_of,
    results,
    small,
    turned,
    twin,
)

SMALL = small()
PLACES = ("source", "target")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Everything before the grid."""
    return build(SMALL, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def worker(run) -> Worker:
    """Of a run whose grid is done: in order, by one worker."""
    worker = Worker(SMALL, run, "cpu")
    do(worker, pipeline_concepts.plan_cells(SMALL, run))
    pipeline_concepts.finish_cells(SMALL, run)
    return worker


@pytest.fixture(scope="module")
def done(worker, run) -> dict:
    """Its results by cell."""
    return results(SMALL, run)


def same(one, other) -> bool:
    """Whether two results say the same, to the bit."""
    return (
        one.probabilities_NK.tobytes() == other.probabilities_NK.tobytes()
        and (one.curve, one.numbers) == (other.curve, other.numbers)
        and same_weights(one.weights, other.weights)
    )


def same_weights(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- who learns from what --------------------------------------------------------------------------------------------


def learned_from(monkeypatch, worker: Worker, number: int) -> set[int]:
    """Rows of the cases that some batch of a cell held, but for those that it only scored."""
    rows: set[int] = set()
    collate = CaseTask.collate

    def spy(self, chosen):
        if not torch.is_inference_mode_enabled():
            rows.update(int(row) for row in chosen)
        return collate(self, chosen)

    with monkeypatch.context() as patch:
        patch.setattr(CaseTask, "collate", spy)
        worker.result_of(worker.planned.cells[number])
    return rows


@pytest.mark.parametrize("embedding", [TEACHER, ONE_HOT])
def test_a_batch_holds_only_cases_that_its_regime_may_learn_from(monkeypatch, worker, embedding):
    cases, tuned_on = worker.cases, set()
    rows = {(s, p): set(cases.rows([s], p).tolist()) for s in cases.sites for p in ("train", "tuning", "held_out")}
    south, north = rows["south", "train"], rows["north", "train"]
    numbers = numbers_where(worker, embedding=embedding, model="max", target="south")
    assert {worker.planned.cells[number].regime for number in numbers} == set(REGIMES)
    for number in numbers:
        cell, seen = worker.planned.cells[number], learned_from(monkeypatch, worker, number)
        assert not seen & (rows["south", "held_out"] | rows["north", "held_out"]), cell
        assert len(seen & south) == (0 if cell.regime == "shared" else cell.size or len(south)), cell
        takes_north = cell.regime in ("pooled", "adversarial")
        assert seen & north == (north if takes_north else set()), cell
        assert bool(seen & rows["north", "tuning"]) == takes_north, cell
        if cell.size:
            tuned_on.add(frozenset(seen & south))
            assert len(seen & rows["south", "tuning"]) < len(rows["south", "tuning"])
        if cell.regime == "adversarial":
            assert not seen & rows["south", "tuning"]  # a checkpoint is chosen by labels
    assert len(tuned_on) == 1  # every regime has the same forty


def test_the_adversary_never_learns_from_a_targets_outcome(worker, run, tmp_path):
    other = twin(run, tmp_path)
    change(other, turned(pl.read_parquet(run.cases), pl.col("site") == "south"))
    worlds = worker, Worker(SMALL, other, "cpu")
    assert (worlds[0].cases.outcomes_NK != worlds[1].cases.outcomes_NK).any(1).sum() == 200
    for number in numbers_where(worker, regime="adversarial"):
        one, two = (weights_of(each.trained(each.planned.cells[number])[0]) for each in worlds)
        assert same_weights(one, two), worker.planned.cells[number]
    (number,) = numbers_where(worker, regime="local", target="south", embedding=TEACHER, model="max", size=None)
    one, two = (weights_of(each.trained(each.planned.cells[number])[0]) for each in worlds)
    assert not same_weights(one, two)  # the change is one that a regime with labels sees


def test_no_held_out_outcome_changes_a_probability(worker, done, run, tmp_path):
    other = twin(run, tmp_path)
    change(other, turned(pl.read_parquet(run.cases), pl.col("split") == "held_out"))
    again = Worker(SMALL, other, "cpu")
    numbers = numbers_where(worker, embedding=TEACHER, model="max")
    do(again, numbers)
    found = results(SMALL, other)
    for number in numbers:
        cell = worker.planned.cells[number]
        assert found[cell].probabilities_NK.tobytes() == done[cell].probabilities_NK.tobytes(), cell
    assert any(found[cell].curve != done[cell].curve for cell in found)  # the score on the way reads them


# --- a cell depends on itself alone ----------------------------------------------------------------------------------


def dense_and_codes(worker: Worker) -> list[int]:
    """Cells of both models that read vectors, and of one that reads codes."""
    return [*numbers_where(worker, embedding=TEACHER), *numbers_where(worker, embedding=ONE_HOT, model="max")]


def test_the_order_of_cells_and_who_does_them_changes_nothing(worker, done, run, tmp_path):
    """Backwards, in turns, by two workers: source models are trained by whoever needs them first."""
    other = twin(run, tmp_path)
    workers = [Worker(SMALL, other, "cpu") for _ in range(2)]
    numbers = dense_and_codes(worker)
    for place, number in enumerate(reversed(numbers)):
        torch.manual_seed(number)
        workers[place % 2].do(number)
    found = results(SMALL, other)
    assert found.keys() == {worker.planned.cells[number] for number in numbers}
    for cell, result in found.items():
        assert same(result, done[cell]), cell


def test_seeds_differ_and_come_in_any_order(worker, run, done, tmp_path):
    recipe = grid(SMALL, seeds=3, regimes=("local", "full"), sizes=(), models=SMALL.grid.models[:1])
    found = []
    for name, order in (("up", 1), ("down", -1)):
        other = Worker(recipe, twin(run, tmp_path / name), "cpu")
        do(other, numbers_where(other, embedding=TEACHER)[::order])
        found.append(results(recipe, other.run))
    assert found[0].keys() == found[1].keys()
    assert all(same(found[0][cell], found[1][cell]) for cell in found[0])
    assert all(same(found[0][cell], done[cell]) for cell in found[0] if cell.seed == 0)  # of how many, does not matter
    south = [result.probabilities_NK.tobytes() for cell, result in found[0].items() if cell.regime == "full"]
    assert len(set(south)) == len(south) == 3


def tear(path) -> None:
    """Another file, cut short: somebody may still read the old one."""
    torn = path.with_suffix(".torn")
    torn.write_bytes(path.read_bytes()[:100])
    os.replace(torn, path)


def test_a_second_run_does_nothing_and_a_lost_cell_alone_is_done_again(worker, run, done):
    assert pipeline_concepts.plan_cells(SMALL, run) == []
    before = {path: path.stat().st_mtime_ns for path in run.cells.iterdir()}
    do(worker, range(len(worker.planned.cells)))
    assert {path: path.stat().st_mtime_ns for path in run.cells.iterdir()} == before
    for regime, harm in (("full", os.remove), ("local", tear)):
        number = numbers_where(worker, regime=regime, embedding=TEACHER, target="south")[0]
        cell = worker.planned.cells[number]
        harm(path_of(run.cells, cell))
        if regime == "local":  # a torn file is there: only its hash, or a reader, tells
            run.stage("transfer").unlink()
        assert pipeline_concepts.plan_cells(SMALL, run) == [number]
        do(Worker(SMALL, run, "cpu"), [number])
        pipeline_concepts.finish_cells(SMALL, run)
        assert same(results(SMALL, run)[cell], done[cell])
        assert pipeline_concepts.plan_cells(SMALL, run) == []


def test_all_other_sites_are_that_site_where_there_is_one(done, run, tmp_path):
    models = SMALL.grid.models[:1]
    other = Worker(grid(SMALL, pairs=("rest->south",), models=models), twin(run, tmp_path), "cpu")
    do(other, numbers_where(other, embedding=TEACHER, target="south"))
    found = results(other.planned.recipe, other.run)
    assert {cell.source for cell in found} == {"south", "all but south"}
    for cell, result in found.items():
        north = {name: site.replace("all but south", "north") for name, site in vars(cell).items() if name in PLACES}
        wanted = done[replace(cell, **north)]
        if cell.regime == "local" and cell.source != "south":  # a union is no target: its model is what counts
            assert same_weights(result.weights, wanted.weights)
        else:
            assert same(result, wanted), cell


def undone(recipe, run: Run) -> set:
    planned = Planned(recipe, run)
    return {planned.cells[number] for number in planned.missing()}


def test_what_the_grid_gains_leaves_done_cells_done(done, run):
    old = SMALL.grid
    more = {
        "seeds": 2,
        "sizes": (20, 40),
        "models": (*old.models, PatientModel(kind="mean"), PatientModel(filters=9)),
        "pairs": (*old.pairs, "south->north"),
    }
    for field, value in more.items():
        new = undone(grid(SMALL, **{field: value}), run)
        assert new and not new & done.keys(), field
    table = random_table(keys_of(read_concepts(run)), 8, 0)
    table.save(run.vectors("random"))
    new = undone(replace(SMALL, embed=replace(SMALL.embed, random=8)), run)
    assert {cell.embedding for cell in new} == {"random"}
    assert not undone(grid(SMALL, regimes=("local", "shared")), run)


def test_what_only_changes_speed_leaves_done_cells_done(done, run):
    slow = {"micro_tokens": 64, "save_every": 5}
    how = grid(SMALL, train=replace(SMALL.grid.train, **slow), tune=replace(SMALL.grid.tune, **slow))
    assert not undone(how, run)


def test_what_shapes_a_cell_undoes_it_and_no_other(done, run, tmp_path):
    old = SMALL.grid
    wider = replace(old.models[0], dropout=0.25)
    white = replace(SMALL.embed, models=(replace(SMALL.embed.models[0], whiten=5),))
    everything = set(done)
    expected = [
        (grid(SMALL, models=(wider, old.models[1])), {cell for cell in done if cell.model == "max"}),
        (grid(SMALL, train=replace(old.train, epochs=4)), everything),
        (grid(SMALL, rates=(1e-3,)), everything),
        (grid(SMALL, tune=replace(old.tune, epochs=4)), {cell for cell in done if cell.regime in TUNED}),
        (grid(SMALL, adversary_weight=0.3), {cell for cell in done if cell.regime == "adversarial"}),
        (replace(SMALL, embed=white), {cell for cell in done if cell.embedding in (TEACHER, STUDENT)}),
    ]
    for recipe, cells in expected:
        assert undone(recipe, run) == cells
    other = twin(run, tmp_path)
    os.symlink(run.cells, other.cells)
    assert not undone(SMALL, other)
    table = Table.open(run.vectors(STUDENT))
    table.vectors_VD[0, 0] += 1
    table.save(other.vectors(STUDENT))
    assert undone(SMALL, other) == {cell for cell in done if cell.embedding == STUDENT}
    change(other, turned(pl.read_parquet(run.cases), pl.col("case_id") == 0))
    assert undone(SMALL, other) == everything


@pytest.mark.parametrize("name", ["cases", "concepts"])
def test_an_embedding_may_have_any_name(run, tmp_path, name):
    """Its table's digest does not take the place of that of the cases, or of the concepts."""
    recipe = replace(
        grid(SMALL, models=SMALL.grid.models[:1]),
        embed=replace(SMALL.embed, models=(replace(SMALL.embed.models[0], name=name),)),
        student=replace(SMALL.student, of=None),
    )
    other = twin(run, tmp_path)
    Table.open(run.vectors(TEACHER)).save(other.vectors(name))
    digests = []
    for cases, concepts in (
        (None, None),
        (turned(pl.read_parquet(run.cases), pl.col("case_id") == 0), None),
        (None, read_concepts(run).with_columns(code=pl.lit("other"))),
    ):
        change(other, cases, concepts)
        planned = Planned(recipe, other)
        digests.append({planned.digest(cell) for cell in planned.cells if cell.embedding == name})
    assert not digests[0] & digests[1] and not digests[1] & digests[2]


def test_time_is_counted_once_whoever_trains_a_source_model(run, tmp_path):
    """A worker that needs a source model first trains it inside another cell's turn."""
    other = Worker(SMALL, twin(run, tmp_path), "cpu")
    do(other, numbers_where(other, embedding=TEACHER, regime="full", model="max"))
    found = sorted(results(SMALL, other.run).values(), key=lambda result: result.begun)
    assert found[0].cell.regime == "local" and len(found) > 2
    assert all(one.ended <= two.begun for one, two in pairwise(found))
    assert 0 <= idle_share(found) <= 1


# --- what a regime does ----------------------------------------------------------------------------------------------


def test_frozen_moves_the_last_layer_and_nothing_else(worker, done):
    for number in numbers_where(worker, regime="frozen"):
        cell = worker.planned.cells[number]
        weights = weights_of(worker.trained(cell)[0])
        source = done[source_cell(cell)].weights
        moved = {name for name in source if not torch.equal(weights[name], source[name])}
        assert weights.keys() == source.keys()
        assert moved <= {"classifier.weight", "classifier.bias"} and (moved or done[cell].numbers["step"] == 0)
    assert any(done[cell].numbers["step"] for cell in done if cell.regime == "frozen")


def test_shared_is_the_source_model_itself(worker, done):
    for number in numbers_where(worker, regime="shared"):
        cell = worker.planned.cells[number]
        source, _ = worker.trained(source_cell(cell))
        held_out = worker.cases.rows([cell.target], "held_out")
        logits_NK = fitting.predict(source, CaseTask(worker.cases), held_out)
        assert done[cell].probabilities_NK.tobytes() == expit(logits_NK).tobytes()
        assert done[cell].case_id_N.tolist() == worker.cases.case_id_N[held_out].tolist()


def start_loss(worker: Worker, cell) -> float:
    """The tuning cases' loss before anything is tuned."""
    model, lesson = worker.begun(cell)
    logits_NK = fitting.predict(model, CaseTask(worker.cases), lesson.tuning)
    return bce(worker.cases.outcomes_NK[lesson.tuning], logits_NK)


@pytest.mark.parametrize("rate", [1e-3, 30.0])
def test_a_tuned_model_is_never_worse_on_tuning_cases_than_untuned(worker, run, tmp_path, rate):
    """A rate of 30 breaks every model, so that each must be left as it was."""
    tune = replace(SMALL.grid.tune, learning_rate=rate)
    recipe = grid(SMALL, tune=tune, models=SMALL.grid.models[:1], steps_curve=0)
    other = Worker(recipe, twin(run, tmp_path), "cpu")
    steps = []
    for number, cell in enumerate(other.planned.cells):
        if cell.regime in TUNED and cell.embedding in (TEACHER, ONE_HOT):
            model, numbers = other.trained(cell)
            lesson = other.begun(cell)[1]
            got = bce(
                other.cases.outcomes_NK[lesson.tuning], fitting.predict(model, CaseTask(other.cases), lesson.tuning)
            )
            assert numbers["tuning_loss"] == pytest.approx(got, rel=1e-5), number
            assert got <= start_loss(other, cell) + 1e-6, cell
            steps.append(numbers["step"])
    assert (max(steps) == 0) == (rate == 30.0)


def test_of_several_rates_the_one_that_tuning_cases_like_best_stands(worker, run, tmp_path):
    alone = {}
    for rates in ((1e-4,), (5e-3,), (1e-4, 5e-3), (5e-3, 1e-4)):
        other = Worker(grid(SMALL, rates=rates), twin(run, tmp_path / str(rates)), "cpu")
        cell = other.planned.cells[numbers_where(other, embedding=TEACHER, regime="local", target="south")[0]]
        alone[rates] = other.trained(cell)
    best = min(alone[(1e-4,)], alone[(5e-3,)], key=lambda found: found[1]["tuning_loss"])
    for rates in ((1e-4, 5e-3), (5e-3, 1e-4)):
        assert alone[rates][1] == best[1] and same_weights(weights_of(alone[rates][0]), weights_of(best[0]))


def test_a_curve_begins_with_the_source_models_own_score(worker, done):
    curves = 0
    for cell, result in done.items():
        assert bool(result.curve) == (cell.regime in TUNED and cell.size is None)
        # A model of codes that is tuned as a whole begins with vectors for the target's own codes: another model.
        if not result.curve or (cell.embedding == ONE_HOT and cell.regime != "frozen"):
            continue
        shared = done[replace(cell, regime="shared")]
        held_out = worker.cases.rows([cell.target], "held_out")
        outcomes_NK = worker.cases.outcomes_NK[held_out]
        logits_NK = fitting.predict(worker.begun(cell)[0], CaseTask(worker.cases), held_out)
        step, score = result.curve[0]
        assert step == 0
        np.testing.assert_allclose(expit(logits_NK), shared.probabilities_NK, rtol=0, atol=1e-6)
        assert score == macro_auroc(outcomes_NK, logits_NK)  # of the logits: rounded to probabilities some would tie
        steps = [step for step, _ in result.curve]
        assert steps == sorted(set(steps)) and steps[-1] == result.numbers["num_steps"] * SMALL.grid.steps_curve
        curves += 1
    assert curves == 14


def test_an_outcome_of_one_class_has_no_auroc():
    outcomes_NK, logits_NK = np.array([[0, 1, 0], [1, 1, 0], [1, 1, 0]]), np.array([[0, 1, 2], [2, 5, 1], [-1, 0, 0.0]])
    assert macro_auroc(outcomes_NK, logits_NK) == pytest.approx(roc_auc_score(outcomes_NK[:, 0], logits_NK[:, 0]))
    assert np.isnan(macro_auroc(outcomes_NK[:, 1:], logits_NK[:, 1:]))


# --- vectors by concept ----------------------------------------------------------------------------------------------


def shuffled(run: Run, folder) -> Run:
    """The same run with CONCEPTS in another order and three more that no case has; CASES renumbered."""
    other = twin(run, folder)
    concepts, cases = read_concepts(run), pl.read_parquet(run.cases)
    unseen = concepts.head(3).with_columns(text=pl.format("unheard of {}", "text"))
    order = np.random.default_rng(0).permutation(len(concepts) + 3)
    all_concepts = pl.concat([concepts, unseen])[order].with_columns(concept=pl.int_range(pl.len()))
    place_V = np.argsort(order)
    cases = cases.with_columns(pl.col("concepts").list.eval(pl.element().replace_strict(*_pairs(place_V))))
    change(other, cases, all_concepts)
    for name in (TEACHER, STUDENT):
        old = Table.open(run.vectors(name))
        far = np.full((3, old.width), 100, np.float32)
        keys_V = np.concatenate([old.keys_V, keys_of(unseen)])
        Table(keys_V, np.concatenate([old.vectors_VD, far]), old.told).save(other.vectors(name))
    return other


def _pairs(place_V):
    return list(range(len(place_V))), place_V.tolist()


def test_another_order_of_the_vocabulary_with_unseen_codes_predicts_the_same(worker, done, run, tmp_path):
    other = Worker(SMALL, shuffled(run, tmp_path), "cpu")
    assert other.keys_V[: len(worker.keys_V)].tolist() != worker.keys_V.tolist()
    do(other, dense_and_codes(other))
    for cell, result in results(SMALL, other.run).items():
        np.testing.assert_allclose(result.probabilities_NK, done[cell].probabilities_NK, atol=1e-4, err_msg=str(cell))


@pytest.mark.parametrize("whiten", [None, 6])
def test_whitening_is_fitted_on_the_sources_training_concepts_alone(run, tmp_path, whiten):
    models = (replace(SMALL.embed.models[0], whiten=whiten),)
    recipe = replace(SMALL, embed=replace(SMALL.embed, models=models))
    one, two = Worker(recipe, twin(run, tmp_path / "one"), "cpu"), Worker(recipe, twin(run, tmp_path / "two"), "cpu")
    seen_V = one.cases.seen_V(one.cases.rows(["north"], "train"))
    assert 10 < seen_V.sum() < len(seen_V) - 10
    table = Table.open(run.vectors(TEACHER))
    changed = np.isin(table.keys_V, one.keys_V[~seen_V])
    vectors_VD = np.where(changed[:, None], 7 * table.vectors_VD[::-1] + 3, table.vectors_VD)
    Table(table.keys_V, vectors_VD, table.told).save(two.run.vectors(TEACHER))
    for name in ("north", "south"):
        mine, other = one.vectors(TEACHER, name), two.vectors(TEACHER, name)
        assert not np.array_equal(mine[~seen_V], other[~seen_V])
        assert np.array_equal(mine[seen_V], other[seen_V]) == (name == "north")
    source = next(
        source_cell(cell) for cell in one.planned.cells if cell.regime == "full" and cell.embedding == TEACHER
    )
    assert same_weights(*(weights_of(each.trained(source)[0]) for each in (one, two)))
    for number in numbers_where(one, embedding=TEACHER, regime="full", size=None, model="max"):  # tuned and pooled too
        reads = one.reads(one.planned.cells[number], np.zeros(0, int))
        assert np.array_equal(reads.vectors_VD, one.vectors(TEACHER, "north"))


def test_every_concept_has_the_vector_of_its_own_phrase(run):
    concepts = read_concepts(run)
    plan = plan_of(SMALL, run)
    assert plan.num_shards > 2 and plan.sample_id_N.tolist() != sorted(plan.sample_id_N)  # an order to undo
    for name, folder in ((TEACHER, run.base(TEACHER)), (STUDENT, run.student)):
        embedder = load_embedder(folder, pooling="mean" if name == TEACHER else "own")
        table = Table.open(run.vectors(name))
        got_VD = table.rows_of(keys_of(concepts))
        for text, got_D in list(zip(concepts["text"], got_VD, strict=True))[::7]:
            np.testing.assert_allclose(got_D, embedder.embed([text], micro_tokens=1000)[0], atol=1e-4)
        assert len(np.unique(got_VD.round(4), axis=0)) > len(concepts) * 0.9


def test_shards_are_numbered_through_all_plans_each_once(tmp_path):
    def plan(num, name):
        return make_plan(np.arange(num), split="s", names=["d0"], prompts="", tokenizer="", teacher=name, shard_rows=4)

    plans = {"a": plan(9, "a"), "b": plan(4, "b"), "c": plan(1, "c")}
    found = [find(plans, number)[::2] for number in range(5)]
    assert found == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0)]
    assert all(find(plans, number)[1] is plans[find(plans, number)[0]] for number in range(5))
    with pytest.raises(ValueError, match="there are 5 shards, asked for number 5"):
        find(plans, 5)
    assert still_missing(tmp_path, plans) == [0, 1, 2, 3, 4]
    generate(plans["b"], tmp_path, [0], lambda rows: np.zeros((len(rows), 1), np.float32))
    assert still_missing(tmp_path, plans) == [0, 1, 2, 4]


# --- the student -----------------------------------------------------------------------------------------------------


def test_a_student_learns_the_phrases_of_the_source_and_of_the_recipes_list(run, tmp_path):
    cases, phrases = read_cases(run), phrases_of(run, None)
    said = {
        site: cases.concepts.filter(pl.Series(cases.seen_V(cases.rows([site], "train"))))["text"]
        for site in cases.sites
    }
    learned = {phrases[row] for row in distilling.learned_rows(run, SMALL.grid, phrases, None)}
    assert learned == set(said["north"])
    foreign = sorted(set(said["south"]) - learned)
    assert len(foreign) > 10
    listed = tmp_path / "listed.txt"
    listed.write_text(f"{foreign[0]}\n\n  a phrase of nobody  \n")
    more = phrases_of(run, str(listed))
    assert set(more) - set(phrases) == {"a phrase of nobody"}
    learned_more = {more[row] for row in distilling.learned_rows(run, SMALL.grid, more, str(listed))}
    assert learned_more - learned == {foreign[0], "a phrase of nobody"}


def test_vectors_of_phrases_that_only_the_target_says_do_not_shape_the_student(run, tmp_path):
    phrases = phrases_of(run, None)
    learned = distilling.learned_rows(run, SMALL.grid, phrases, None)
    vectors_ND = distilling.vectors_of(run, plan_of(SMALL, run))
    foreign_N = ~np.isin(np.arange(len(phrases)), learned)
    other_ND, hurt_ND = (np.where(rows[:, None], vectors_ND[:, ::-1], vectors_ND) for rows in (foreign_N, ~foreign_N))
    one, two, three = (
        taught(run, Run(tmp_path / str(place)), vectors, phrases, learned)
        for place, vectors in enumerate((vectors_ND, other_ND, hurt_ND))
    )
    assert one == two != three


def taught(run: Run, into: Run, vectors_ND: np.ndarray, phrases, learned) -> dict[str, bytes]:
    """Weights of a student of these vectors, by file."""
    plan = make_plan(
        np.arange(len(phrases)),
        split="concepts",
        names=[f"d{i}" for i in range(vectors_ND.shape[1])],
        prompts="",
        tokenizer="",
        teacher="",
        shard_rows=50,
    )
    generate(plan, into.softlabels, range(plan.num_shards), lambda rows: vectors_ND[rows])
    finish(into.softlabels, plan)
    settings = replace(SMALL.student, optim=replace(SMALL.student.optim, epochs=1))
    card = Card(data="phrases", patients=False, cohort="none", labels="vectors")
    base, alone = str(run.base(STUDENT)), World(0, 1)
    distilling.student(into, settings, base, plan, phrases, learned, "{}", alone, Watch(), "digest", card)
    files = sorted(path for path in into.student.rglob("*.safetensors") if "step_" not in str(path))
    assert len(files) == 2
    return {str(path.relative_to(into.student)): path.read_bytes() for path in files}


# --- tasks -----------------------------------------------------------------------------------------------------------


class Rows:
    """Rows of token ids in memory."""

    def __init__(self, lengths):
        self.ids = [np.arange(3, 3 + length) for length in lengths]

    def row(self, i):
        return self.ids[i]


class Bag(nn.Module):
    """The sum of a vector for every token."""

    def __init__(self, width, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(500, width)

    def forward(self, input_ids_BL, attention_BL, units_U2=None):
        return (self.table(input_ids_BL) * attention_BL.unsqueeze(2)).sum(1)


def space_task() -> SpaceTask:
    random = np.random.default_rng(0)
    vectors_NK, anchors_AK = random.normal(size=(7, 5)), random.normal(size=(4, 5))
    return SpaceTask(Rows([4, 2, 7, 1, 3, 9, 5]), 0, vectors_NK.astype(np.float32), anchors_AK, SpaceLoss())


def case_task(adversary: bool) -> CaseTask:
    class Cases:
        """Seven cases of two sites and two outcomes."""

        ids_NL = np.where(np.arange(6) < np.array([3, 1, 6, 0, 2, 4, 5])[:, None], np.arange(1, 43).reshape(7, 6), 0)
        length_N = (ids_NL > 0).sum(1)
        outcomes_NK = np.random.default_rng(1).integers(0, 2, (7, 2)).astype(np.float32)
        site_N = np.array(["a", "b", "b", "a", "a", "b", "a"])
        names = ("x", "y")

    return CaseTask(Cases(), "b" if adversary else None)


TASKS = {"space": (space_task, 5), "cases": (lambda: case_task(False), 2), "adversary": (lambda: case_task(True), 3)}


@pytest.mark.parametrize("which", TASKS)
@pytest.mark.parametrize("parts", [[[0], [1, 2, 3, 4, 5, 6]], [[6, 2], [0, 5, 1], [4], [3]]])
def test_an_update_is_the_same_whatever_the_micro_batches(which, parts):
    make, width = TASKS[which]
    task, moved = make(), []
    for micro in ([[0, 1, 2, 3, 4, 5, 6]], parts):
        model = Bag(width)
        engine = DdpEngine(model, Optim(clip_norm=0.0), World(0, 1))
        gradients = []
        model.table.weight.register_hook(gradients.append)
        loss = train_step(engine, Step([task.collate(rows) for rows in micro], 7.0), task.loss)
        moved.append((loss, sum(gradients)))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-4, atol=1e-6)
    assert moved[0][1].abs().sum() > 0


def test_the_empty_slot_of_phrases_weighs_nothing():
    task, model = space_task(), Bag(5)
    batch = task.collate([])
    loss = task.loss(model(batch.input_ids_BL, batch.attention_BL), batch)
    loss.backward()
    assert loss.item() == 0 and not model.table.weight.grad.any()
    assert batch.mask_U.tolist() == [0] and task.weights.tolist() == [1] * 7


def test_a_space_is_scored_by_its_angles_and_nearest_anchors():
    task = space_task()
    rows = np.array([4, 1, 6])
    assert task.metrics(rows, 3 * task.vectors_NK[rows]) == pytest.approx({"cosine": 1, "nearest": 1})
    got = np.random.default_rng(5).normal(size=(3, 5))
    teacher, anchors = torch.tensor(task.vectors_NK[rows]), task.anchors_AK.float()
    near = [
        cosine_similarity(vectors.float()[:, None], anchors[None], dim=2).argmax(1)
        for vectors in (torch.tensor(got), teacher)
    ]
    found = task.metrics(rows, got)
    assert found["cosine"] == pytest.approx(
        cosine_similarity(torch.tensor(got).float(), teacher).mean().item(), rel=1e-5
    )
    assert found["nearest"] == pytest.approx((near[0] == near[1]).float().mean().item())


def test_the_adversarys_loss_is_the_plain_formula():
    task, logits = case_task(True), torch.randn(7, 3)
    batch = task.collate(range(7))
    foreign = torch.tensor([0.0, 1, 1, 0, 0, 1, 0])
    outcomes = torch.from_numpy(task.cases.outcomes_NK)[foreign == 0]
    own = binary_cross_entropy_with_logits(logits[foreign == 0, :2], outcomes, reduction="none").mean(1).sum()
    sites = binary_cross_entropy_with_logits(logits[:, 2], foreign, reduction="none").sum()
    torch.testing.assert_close(task.loss(logits, batch), own + sites)
    plain = case_task(False)
    wanted = binary_cross_entropy_with_logits(
        logits[:, :2], torch.from_numpy(plain.cases.outcomes_NK), reduction="none"
    )
    torch.testing.assert_close(plain.loss(logits[:, :2], plain.collate(range(7))), wanted.mean(1).sum())


def test_cases_are_read_as_they_were_written(run, worker):
    """Concept v is id v + 1, in order, zeros after the last; outcomes and sites of the same row."""
    frame, cases = pl.read_parquet(run.cases), worker.cases
    for row in range(0, len(frame), 23):
        wanted = [v + 1 for v in frame["concepts"][row]]
        assert cases.ids_NL[row].tolist() == wanted + [0] * (cases.ids_NL.shape[1] - len(wanted))
        assert cases.outcomes_NK[row].tolist() == frame["outcomes"][row].to_list()
    assert cases.site_N.tolist() == frame["site"].to_list() and cases.case_id_N.tolist() == frame["case_id"].to_list()
    assert cases.rows(["south"], "tuning").tolist() == [
        row
        for row, (site, split) in enumerate(frame.select("site", "split").rows())
        if (site, split) == ("south", "tuning")
    ]


# --- synonyms and the thesaurus --------------------------------------------------------------------------------------


def test_a_stand_in_learns_which_phrases_mean_the_same_to_the_same_bytes(tmp_path):
    pairs = [("fever", "high temperature"), ("breathless", "short of air"), ("cough", "tussis"), ("rash", "red spots")]
    words = sorted({phrase for pair in pairs for phrase in pair})

    def likeness(folder) -> np.ndarray:
        embedder = load_embedder(folder, pooling="mean")
        one, two = (embedder.embed([pair[side] for pair in pairs], micro_tokens=500) for side in (0, 1))
        return cosine_similarity(torch.tensor(one)[:, None], torch.tensor(two)[None], dim=2).numpy()

    folders = [tmp_path / name for name in ("plain", "taught", "again")]
    losses = []
    for folder, epochs in zip(folders, (0, 15, 15), strict=True):
        make_tiny_student(folder, words, Tiny(hidden=32, layers=1, heads=2, vocabulary=300), seed=0)
        if epochs:
            torch.manual_seed(len(losses))
            losses.append(teach_synonyms(folder, pairs, "mean", epochs, seed=0))
    before, after = likeness(folders[0]), likeness(folders[1])
    assert (after.argmax(1) == np.arange(4)).all() and np.diag(after).mean() > np.diag(before).mean()
    assert losses[0] == losses[1] < 1
    files = [sorted((path.name, path.read_bytes()) for path in folder.iterdir()) for folder in folders[1:]]
    assert files[0] == files[1]


def test_a_taught_stand_in_is_made_twice_to_the_same_bytes(run, tmp_path):
    """A stage that was killed makes it again, and the shards that are there must still be its own."""
    listed = tmp_path / "synonyms.csv"
    listed.write_text("fever,high temperature\ncough,tussis\n")
    embed = replace(SMALL.embed, models=(replace(SMALL.embed.models[0], synonyms=str(listed)),))
    found = []
    for _ in range(2):
        other = twin(run, tmp_path / str(len(found)))
        make_tiny_bases(other, embed)
        found.append({path.name: path.read_bytes() for path in other.base(TEACHER).iterdir()})
    assert found[0] == found[1]
    assert found[0]["model.safetensors"] != (run.base(TEACHER) / "model.safetensors").read_bytes()


def test_the_thesaurus_knows_every_word_of_the_departments_but_their_local_codes(run):
    concepts = read_concepts(run)
    local = {("Not " * absent) + name for f in FINDINGS[OPAQUE] for name in f.names for absent in (0, 1)}
    known = set(thesaurus.phrases())
    assert set(concepts["text"]) - known <= local
    assert not known & local
    names = {finding.names for finding in ALL}
    for one, two in thesaurus.synonyms():
        assert one.startswith("Not ") == two.startswith("Not ")
        assert (one.removeprefix("Not "), two.removeprefix("Not ")) in names


# --- floors ----------------------------------------------------------------------------------------------------------


def test_floors_are_what_scikit_learn_says_and_never_look_at_held_out_outcomes(run):
    cases, num = pl.read_parquet(run.cases), len(read_concepts(run))
    found = site_floors(cases, "south", num)
    part = {split: cases.filter(site="south", split=split).sort("case_id") for split in ("train", "tuning", "held_out")}
    has, outcomes = {}, {}
    for split, frame in part.items():
        has[split] = np.zeros((len(frame), num))
        for row, concepts in enumerate(frame["concepts"]):
            has[split][row, concepts.to_list()] = 1
        outcomes[split] = np.array(frame["outcomes"].to_list())
    prevalence, logistic = found.values()
    np.testing.assert_allclose(prevalence, np.tile(outcomes["train"].mean(0), (len(part["held_out"]), 1)))
    for k in range(outcomes["train"].shape[1]):
        models = {
            C: LogisticRegression(C=C, max_iter=1000).fit(has["train"], outcomes["train"][:, k]) for C in (0.01, 0.1, 1)
        }
        losses = {
            C: log_loss(outcomes["tuning"][:, k], m.predict_proba(has["tuning"])[:, 1]) for C, m in models.items()
        }
        best = min(losses, key=losses.get)
        np.testing.assert_allclose(logistic[:, k], models[best].predict_proba(has["held_out"])[:, 1], atol=1e-4)
    blind = site_floors(turned(cases, (pl.col("split") == "held_out") | (pl.col("site") == "north")), "south", num)
    shuffled_rows = site_floors(cases.sample(fraction=1, shuffle=True, seed=1), "south", num)
    for name, floor in found.items():
        assert np.array_equal(floor, blind[name]) and np.allclose(floor, shuffled_rows[name], atol=1e-6), name


def test_a_floor_of_one_class_or_no_tuning_case_stands(run):
    cases, num = pl.read_parquet(run.cases), len(read_concepts(run))
    never = cases.with_columns(pl.col("outcomes").list.eval(pl.element() * 0))
    assert not any(floor.any() for floor in site_floors(never, "south", num).values())
    untuned = site_floors(cases.filter(pl.col("split") != "tuning"), "south", num)
    assert all(np.isfinite(floor).all() for floor in untuned.values())


# --- mistakes --------------------------------------------------------------------------------------------------------

SECRET = "zebra"


def refused(call, *arguments) -> str:
    """The one sentence that it says."""
    with pytest.raises(ValueError) as told:
        call(*arguments)
    said = str(told.value)
    assert "\n" not in said and SECRET not in said and told.value.__cause__ is None
    return said


BAD_CSV = {
    "three columns": b"zebra,b,c\n",
    "one column": b"zebra\n",
    "ragged": b"zebra,b\nzebra,d,e\n",
    "half a line": b"zebra,\n",
    "a blank phrase": b"zebra,  \n",
    "empty": b"",
    "not UTF-8": "zebraé,b\n".encode("latin-1"),
    "an open quote": b'"zebra,b\nc,d\n',
}


@pytest.mark.parametrize("what", BAD_CSV)
def test_synonyms_that_are_no_pairs_are_refused(tmp_path, what):
    file = tmp_path / "pairs.csv"
    file.write_bytes(BAD_CSV[what])
    assert str(file) in refused(read_synonyms, str(file))


@pytest.mark.parametrize("read", [read_synonyms, read_phrases])
def test_a_list_that_cannot_be_read_is_refused(tmp_path, read):
    for place in (tmp_path, tmp_path / "none"):
        assert str(place) in refused(read, str(place))


def test_lists_of_phrases_are_read_plainly(tmp_path):
    file = tmp_path / "list"
    file.write_text('b, b2\n\n  a \nb, b2\n"c, d"\n', "utf-8")
    assert read_phrases(str(file)) == ['"c, d"', "a", "b, b2"] and read_phrases(None) == []
    file.write_bytes("zebraé".encode("latin-1"))
    assert "UTF-8" in refused(read_phrases, str(file))
    file.write_text('"a, b",c\n d , e\n')
    assert read_synonyms(str(file)) == [("a, b", "c"), ("d", "e")] and read_synonyms(None) == []
    assert read_synonyms("synthetic") and read_phrases("synthetic")


@pytest.mark.parametrize("name", ["", "one-hot", "random", "a/b", "twice", ".", "..", ".hidden"])
def test_names_of_embeddings_that_cannot_be_files_are_refused(name):
    models = (TextModel(name="twice"), TextModel(name=name))
    assert repr(name) in refused(names_of, Embeddings(models=models), Encoder())
    assert repr(name) in refused(names_of, Embeddings(models=models[:1]), Encoder(of="twice", name=name))


def test_names_are_those_of_models_endpoints_and_student():
    settings = Embeddings(models=(TextModel(name="a"),), endpoints=(EmbeddingEndpoint(name="b"),))
    assert names_of(settings, Encoder(of="b", name="c")) == ["a", "b", "c"]
    assert names_of(settings, Encoder(name="a")) == ["a", "b"]  # a student of nobody has no name
    for nobody in ("d", "c"):
        assert "give one of a, b" in refused(names_of, settings, Encoder(of=nobody, name="c"))


def test_synonyms_are_not_taught_to_a_model_that_somebody_pretrained(run):
    own = replace(SMALL.embed, models=(TextModel(name="m", base="some/where", synonyms="synthetic"),))
    assert "embedding m" in refused(make_tiny_bases, run, own)


@pytest.mark.parametrize(
    "source",
    ["", "synthetic:200,", "wrong:place", "synthetic:x", "findings:/nowhere", "eicu:/nowhere", "A=mimic3:/nowhere",
     "synthetic:60,synthetic:60", "A=synthetic:60,B=synthetic:90"],
)  # fmt: skip
def test_a_source_that_is_none_is_refused_in_a_sentence(tmp_path, source):
    recipe = recipes.with_source(SMALL, source)
    refused(pipeline_concepts.read, recipe, Run(tmp_path))
    assert stages.read(Run(tmp_path), "read") is None


def test_several_sources_are_told_apart_by_commas_and_a_name_makes_one_site(tmp_path):
    recipe = recipes.with_source(SMALL, "A=mimic3:/x,B=eicu:/y,z")
    assert recipe.sites.sources == ("A=mimic3:/x", "B=eicu:/y", "z") and recipe.grid == SMALL.grid
    named = recipes.with_source(SMALL, "A=synthetic:60")
    built, _ = read_sources(named.sites, Run(tmp_path), lambda *_, **__: None)
    assert built.cases["site"].unique().to_list() == ["A"]


@pytest.mark.parametrize("template", ["", "a finding", "{name}", "{} and {}", "{"])
def test_a_template_that_does_not_hold_the_phrase_once_is_refused(template):
    with pytest.raises(ValueError):
        TextModel(template=template)


@pytest.mark.parametrize(("base", "pooling"), [("tiny", "own"), ("tiny_encoder", "own"), ("tiny_encoder", "cls")])
def test_synonyms_are_learned_as_they_will_be_read(tmp_path, base, pooling):
    run, small = Run(tmp_path), Tiny(hidden=16, layers=1, heads=2, vocabulary=400)
    run.concepts.parent.mkdir()
    rows = [(0, "finding", "fever", "F1", False)]
    pl.DataFrame(rows, schema=CONCEPTS, orient="row").write_parquet(run.concepts)
    model = TextModel(name="m", base=base, pooling=pooling, synonyms="synthetic", tiny=small)
    make_tiny_bases(run, Embeddings(models=(model,)))
    north, south = zip(*thesaurus.synonyms(), strict=True)
    embedder = load_embedder(run.base("m"), pooling=pooling)
    own, other = (torch.from_numpy(embedder.embed(side, micro_tokens=512)) for side in (north, south))
    alike = cosine_similarity(own[:, None], other[None], dim=2)
    assert alike.diagonal().mean() > alike.mean() + 0.3
