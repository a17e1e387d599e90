"""Who learns from what, on a run of two synthetic departments; and an experiment depends on itself alone."""

import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch

from ckd_dist.engine.experiments import idle_share, path_of
from ckd_dist.studies.concepts.cases.cases import read_concepts
from ckd_dist.studies.concepts.experiment import ExperimentWorker
from ckd_dist.studies.concepts.grid import source_experiment
from ckd_dist.studies.concepts.patients import weights_of
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.tables import Table, keys_of
from ckd_dist.studies.concepts.task import CaseTask
from tests.studies.concepts.small import (
    ONE_HOT,
    REGIMES,
    SMALL,
    STUDENT,
    TEACHER,
    change,
    do,
    do_stage,
    fork,
    grid,
    missing,
    numbers_where,
    plans_where,
    results,
    same,
    same_weights,
    turned,
    worker_of,
)

PLACES = ("source", "target")

# --- who learns from what --------------------------------------------------------------------------------------------


def learned_from(monkeypatch, worker: ExperimentWorker, plan) -> set[int]:
    """Rows of the cases that some batch of an experiment held, but for those that it only scored."""
    rows: set[int] = set()
    collate = CaseTask.collate

    def spy(self, chosen):
        if not torch.is_inference_mode_enabled():
            rows.update(int(row) for row in chosen)
        return collate(self, chosen)

    with monkeypatch.context() as patch:
        patch.setattr(CaseTask, "collate", spy)
        worker.result_of(plan)
    return rows


@pytest.mark.parametrize("embedding", [TEACHER, ONE_HOT])
def test_a_batch_holds_only_cases_that_its_regime_may_learn_from(monkeypatch, worker, embedding):
    cases, tuned_on = worker.cases, set()
    rows = {(s, p): set(cases.rows([s], p).tolist()) for s in cases.sites for p in ("train", "tuning", "held_out")}
    south, north = rows["south", "train"], rows["north", "train"]
    plans = plans_where(worker, embedding=embedding, model="max", target="south")
    assert {plan.experiment.regime for plan in plans} == set(REGIMES)
    for plan in plans:
        experiment, seen = plan.experiment, learned_from(monkeypatch, worker, plan)
        assert not seen & (rows["south", "held_out"] | rows["north", "held_out"]), experiment
        wanted = 0 if experiment.regime == "shared" else experiment.size or len(south)
        assert len(seen & south) == wanted, experiment
        takes_north = experiment.regime in ("pooled", "adversarial")
        assert seen & north == (north if takes_north else set()), experiment
        assert bool(seen & rows["north", "tuning"]) == takes_north, experiment
        if experiment.size:
            tuned_on.add(frozenset(seen & south))
            assert len(seen & rows["south", "tuning"]) < len(rows["south", "tuning"])
        if experiment.regime == "adversarial":
            assert not seen & rows["south", "tuning"]  # a checkpoint is chosen by labels
    assert len(tuned_on) == 1  # every regime has the same forty


def test_the_adversary_never_learns_from_a_targets_outcome(worker, run, tmp_path):
    other = fork(run, tmp_path)
    change(other, turned(pl.read_parquet(run.cases), pl.col("site") == "south"))
    worlds = worker, worker_of(SMALL, other)
    assert (worlds[0].cases.outcomes_NK != worlds[1].cases.outcomes_NK).any(1).sum() == 200
    for number in numbers_where(worker, regime="adversarial"):
        one, two = (weights_of(each.train(each.plans[number])[0]) for each in worlds)
        assert same_weights(one, two), worker.plans[number].experiment
    (number,) = numbers_where(worker, regime="local", target="south", embedding=TEACHER, model="max", size=None)
    one, two = (weights_of(each.train(each.plans[number])[0]) for each in worlds)
    assert not same_weights(one, two)  # the change is one that a regime with labels sees


def test_no_held_out_outcome_changes_a_probability(worker, done, run, tmp_path):
    other = fork(run, tmp_path)
    change(other, turned(pl.read_parquet(run.cases), pl.col("split") == "held_out"))
    again = worker_of(SMALL, other)
    numbers = numbers_where(worker, embedding=TEACHER, model="max")
    do(again, numbers)
    found = results(SMALL, other)
    for number in numbers:
        experiment = worker.plans[number].experiment
        assert found[experiment].probabilities_NK.tobytes() == done[experiment].probabilities_NK.tobytes(), experiment
    assert any(found[each].curve != done[each].curve for each in found)  # the score on the way reads them


# --- an experiment depends on itself alone ---------------------------------------------------------------------------


def dense_and_codes(worker: ExperimentWorker) -> list[int]:
    """Experiments of both models that read vectors, and of one that reads codes."""
    return [*numbers_where(worker, embedding=TEACHER), *numbers_where(worker, embedding=ONE_HOT, model="max")]


def test_the_order_of_experiments_and_who_does_them_changes_nothing(worker, done, run, tmp_path):
    """Backwards, in turns, by two workers: source models are trained by whoever needs them first."""
    other = fork(run, tmp_path)
    workers = [worker_of(SMALL, other) for _ in range(2)]
    numbers = dense_and_codes(worker)
    for place, number in enumerate(reversed(numbers)):
        torch.manual_seed(number)
        workers[place % 2].do(number)
    found = results(SMALL, other)
    assert found.keys() == {worker.plans[number].experiment for number in numbers}
    for experiment, result in found.items():
        assert same(result, done[experiment]), experiment


def test_seeds_differ_and_come_in_any_order(worker, run, done, tmp_path):
    recipe = grid(SMALL, seeds=3, regimes=("local", "full"), sizes=(), models=SMALL.grid.models[:1])
    found = []
    for name, order in (("up", 1), ("down", -1)):
        other = worker_of(recipe, fork(run, tmp_path / name))
        do(other, numbers_where(other, embedding=TEACHER)[::order])
        found.append(results(recipe, other.run))
    assert found[0].keys() == found[1].keys()
    assert all(same(found[0][each], found[1][each]) for each in found[0])
    assert all(same(found[0][each], done[each]) for each in found[0] if each.seed == 0)  # of how many, does not matter
    south = [result.probabilities_NK.tobytes() for each, result in found[0].items() if each.regime == "full"]
    assert len(set(south)) == len(south) == 3


def tear(path) -> None:
    """Another file, cut short: somebody may still read the old one."""
    torn = path.with_suffix(".torn")
    torn.write_bytes(path.read_bytes()[:100])
    os.replace(torn, path)


def test_a_second_run_does_nothing_and_a_lost_experiment_alone_is_done_again(worker, run, done):
    assert missing("transfer", SMALL, run) == []
    before = {path: path.stat().st_mtime_ns for path in run.experiments.iterdir()}
    do(worker, range(len(worker.plans)))
    assert {path: path.stat().st_mtime_ns for path in run.experiments.iterdir()} == before
    for regime, harm in (("full", os.remove), ("local", tear)):
        number = numbers_where(worker, regime=regime, embedding=TEACHER, target="south")[0]
        experiment = worker.plans[number].experiment
        harm(path_of(run.experiments, experiment))
        if regime == "local":  # a torn file is there: only its hash, or a reader, tells
            run.stage("transfer").unlink()
        assert missing("transfer", SMALL, run) == [number]
        do_stage("transfer", SMALL, run)
        assert same(results(SMALL, run)[experiment], done[experiment])
        assert missing("transfer", SMALL, run) == []


def test_all_other_sites_are_that_site_where_there_is_one(done, run, tmp_path):
    recipe = grid(SMALL, pairs=("rest->south",), models=SMALL.grid.models[:1])
    other = worker_of(recipe, fork(run, tmp_path))
    do(other, numbers_where(other, embedding=TEACHER, target="south"))
    found = results(recipe, other.run)
    assert {experiment.source for experiment in found} == {"south", "all but south"}
    for experiment, result in found.items():
        values = vars(experiment).items()
        north = {name: site.replace("all but south", "north") for name, site in values if name in PLACES}
        wanted = done[replace(experiment, **north)]
        if experiment.regime == "local" and experiment.source != "south":  # a union is no target: its model counts
            assert same_weights(result.weights, wanted.weights)
        else:
            assert same(result, wanted), experiment


def test_time_is_counted_once_whoever_trains_a_source_model(run, tmp_path):
    """A worker that needs a source model first trains it inside another experiment's turn."""
    other = worker_of(SMALL, fork(run, tmp_path))
    do(other, numbers_where(other, embedding=TEACHER, regime="full", model="max"))
    found = sorted(results(SMALL, other.run).values(), key=lambda result: result.begun)
    assert found[0].experiment.regime == "local" and len(found) > 2
    assert all(one.ended <= two.begun for one, two in pairwise(found))
    assert 0 <= idle_share(found) <= 1


# --- vectors by concept ----------------------------------------------------------------------------------------------


def shuffled(run: ConceptsRun, folder) -> ConceptsRun:
    """The same run with CONCEPTS in another order and three more that no case has; CASES renumbered."""
    other = fork(run, folder)
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
        Table(keys_V, np.concatenate([old.vectors_VD, far]), old.metadata).save(other.vectors(name))
    return other


def _pairs(place_V):
    return list(range(len(place_V))), place_V.tolist()


def test_another_order_of_the_vocabulary_with_unseen_codes_predicts_the_same(worker, done, run, tmp_path):
    other = worker_of(SMALL, shuffled(run, tmp_path))
    assert other.keys_V[: len(worker.keys_V)].tolist() != worker.keys_V.tolist()
    do(other, dense_and_codes(other))
    for each, result in results(SMALL, other.run).items():
        np.testing.assert_allclose(result.probabilities_NK, done[each].probabilities_NK, atol=1e-4, err_msg=str(each))


@pytest.mark.parametrize("whiten", [None, 6])
def test_whitening_is_fitted_on_the_sources_training_concepts_alone(run, tmp_path, whiten):
    models = (replace(SMALL.embed.models[0], whiten=whiten),)
    recipe = replace(SMALL, embed=replace(SMALL.embed, models=models))
    one, two = worker_of(recipe, fork(run, tmp_path / "one")), worker_of(recipe, fork(run, tmp_path / "two"))
    seen_V = one.cases.seen_V(one.cases.rows(["north"], "train"))
    assert 10 < seen_V.sum() < len(seen_V) - 10
    table = Table.open(run.vectors(TEACHER))
    changed = np.isin(table.keys_V, one.keys_V[~seen_V])
    vectors_VD = np.where(changed[:, None], 7 * table.vectors_VD[::-1] + 3, table.vectors_VD)
    Table(table.keys_V, vectors_VD, table.metadata).save(two.run.vectors(TEACHER))
    for name in ("north", "south"):
        mine, other = one.vectors(TEACHER, name, whiten), two.vectors(TEACHER, name, whiten)
        assert not np.array_equal(mine[~seen_V], other[~seen_V])
        assert np.array_equal(mine[seen_V], other[seen_V]) == (name == "north")
    source = plans_where(one, regime="full", embedding=TEACHER)[0].source
    assert source.experiment == source_experiment(plans_where(one, regime="full", embedding=TEACHER)[0].experiment)
    assert same_weights(*(weights_of(each.train(source)[0]) for each in (one, two)))
    for plan in plans_where(one, embedding=TEACHER, regime="full", size=None, model="max"):  # tuned and pooled too
        inputs = one.inputs_of(plan, np.zeros(0, int))
        assert np.array_equal(inputs.vectors_VD, one.vectors(TEACHER, "north", whiten))
