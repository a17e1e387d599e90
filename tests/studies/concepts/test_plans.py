"""What shapes an experiment undoes it, and no other; what the grid gains leaves the others done."""

import os
from dataclasses import replace

import polars as pl
import pytest

from ckd_dist.studies.concepts.cases.cases import read_concepts
from ckd_dist.studies.concepts.config import PatientModel
from ckd_dist.studies.concepts.grid import source_experiment
from ckd_dist.studies.concepts.regimes import TUNED
from ckd_dist.studies.concepts.tables import Table, keys_of, random_table
from tests.studies.concepts.small import (
    SMALL,
    STUDENT,
    TEACHER,
    change,
    fork,
    grid,
    plans_of,
    turned,
    undone,
)


def test_a_plan_has_its_source_models_own_plan(worker):
    by_experiment = {plan.experiment: plan for plan in worker.plans}
    for plan in worker.plans:
        first = source_experiment(plan.experiment)
        assert plan.source == (by_experiment[first] if first else None)


def test_what_the_grid_gains_leaves_done_experiments_done(done, run):
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
    assert {experiment.embedding for experiment in new} == {"random"}
    assert not undone(grid(SMALL, regimes=("local", "shared")), run)


def test_what_only_changes_speed_leaves_done_experiments_done(done, run):
    slow = {"micro_tokens": 64, "save_every": 5}
    how = grid(SMALL, train=replace(SMALL.grid.train, **slow), tune=replace(SMALL.grid.tune, **slow))
    assert not undone(how, run)


def test_what_shapes_an_experiment_undoes_it_and_no_other(done, run, tmp_path):
    old = SMALL.grid
    wider = replace(old.models[0], dropout=0.25)
    white = replace(SMALL.embed, models=(replace(SMALL.embed.models[0], whiten=5),))
    everything = set(done)
    curves = {each for each in done if each.regime in TUNED and each.size is None}
    expected = [
        (grid(SMALL, models=(wider, old.models[1])), {each for each in done if each.model == "max"}),
        (grid(SMALL, train=replace(old.train, epochs=4)), everything),
        (grid(SMALL, rates=(1e-3,)), everything),
        (grid(SMALL, tune=replace(old.tune, epochs=4)), {each for each in done if each.regime in TUNED}),
        (grid(SMALL, steps_curve=2), curves),
        (grid(SMALL, adversary_weight=0.3), {each for each in done if each.regime == "adversarial"}),
        (replace(SMALL, embed=white), {each for each in done if each.embedding in (TEACHER, STUDENT)}),
    ]
    for recipe, experiments in expected:
        assert undone(recipe, run) == experiments
    other = fork(run, tmp_path)
    os.symlink(run.experiments, other.experiments)
    assert not undone(SMALL, other)
    table = Table.open(run.vectors(STUDENT))
    table.vectors_VD[0, 0] += 1
    table.save(other.vectors(STUDENT))
    assert undone(SMALL, other) == {each for each in done if each.embedding == STUDENT}
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
    other = fork(run, tmp_path)
    Table.open(run.vectors(TEACHER)).save(other.vectors(name))
    digests = []
    for cases, concepts in (
        (None, None),
        (turned(pl.read_parquet(run.cases), pl.col("case_id") == 0), None),
        (None, read_concepts(run).with_columns(code=pl.lit("other"))),
    ):
        change(other, cases, concepts)
        digests.append({plan.digest for plan in plans_of(recipe, other) if plan.experiment.embedding == name})
    assert not digests[0] & digests[1] and not digests[1] & digests[2]
