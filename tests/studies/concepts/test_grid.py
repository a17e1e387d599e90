"""The grid: every experiment once, source models first."""

import re
from dataclasses import replace

import pytest

from ckd_dist.studies.concepts.config import Grid, PatientModel
from ckd_dist.studies.concepts.grid import Experiment, list_experiments, members, pairs, source_experiment
from ckd_dist.studies.concepts.regimes import Regime

SITES = {"north": 600, "south": 200, "east": 90}
ALL = Grid(regimes=Regime.__args__, seeds=2)


def test_every_experiment_is_listed_once_and_none_is_missing():
    grid = replace(ALL, sizes=(50, 100), models=(PatientModel(), PatientModel("mean")))
    found, left_out = list_experiments(grid, ["a", "b"], SITES)
    assert len(set(found)) == len(found) == len({experiment.name for experiment in found})
    sizes = {"north": 3, "south": 3, "east": 2}  # 100 is more than east has
    num_local = sum(sizes.values())
    num_of_pair = sum(2 * (3 * sizes[target] + 3) for target in sizes)  # frozen full pooled; shared thawed adversarial
    assert len(found) == (num_local + num_of_pair) * 2 * 2 * 2
    assert left_out == ["size 100: east has 90 training cases"]
    assert not [c for c in found if c.size and c.size >= SITES[c.target]]


def test_every_model_is_there_before_it_is_needed():
    for regimes in (Regime.__args__, ("shared",), ("full", "pooled")):
        grid = replace(ALL, regimes=regimes, sizes=(50,), pairs=("north->south", "rest->east"))
        found, _ = list_experiments(grid, ["a"], SITES)
        place = {experiment: i for i, experiment in enumerate(found)}
        firsts = [source_experiment(experiment) for experiment in found]
        assert any(firsts)
        assert all(place[first] < place[experiment] for experiment, first in zip(found, firsts, strict=True) if first)
        sources = [place[first] for first in set(firsts) - {None}]
        assert sorted(sources) == list(range(len(sources)))  # nothing comes between them


def test_a_source_model_has_the_seed_and_all_cases_of_its_site():
    experiment = Experiment("a", "max", "north", "south", "full", 50, 3)
    assert source_experiment(experiment) == Experiment("a", "max", "north", "north", "local", None, 3)
    assert source_experiment(replace(experiment, source="all but south")).target == "all but south"
    assert all(source_experiment(replace(experiment, regime=r)) is None for r in ("local", "pooled", "adversarial"))


def test_long_experiments_come_first_and_order_is_a_function_of_the_grid():
    grid = replace(ALL, regimes=("local", "shared", "pooled"), models=(PatientModel(), PatientModel("transformer")))
    found, _ = list_experiments(grid, ["a"], SITES)
    sources = [experiment for experiment in found if experiment.regime == "local"]
    assert [(c.target, c.model) for c in sources[::2]][:2] == [("north", "transformer"), ("south", "transformer")]
    assert {experiment.regime for experiment in found[-12:]} == {"shared"}
    assert found == list_experiments(grid, ["a"], SITES)[0]


def test_pairs_are_those_asked_for():
    assert pairs((), ["a", "b"]) == [("a", "b"), ("b", "a")]
    assert pairs(("a->b", "rest -> b", "a->b"), ["a", "b"]) == [("a", "b"), ("all but b", "b")]
    assert members("all but b", ["a", "b", "c"]) == ["a", "c"]
    assert pairs(("rest->b",), ["a", "b", "rest"]) == [("rest", "b")]  # a site of that name
    with pytest.raises(ValueError, match="none of the sites"):
        members("all but x", ["a", "b"])
    for wrong in ("a", "a->x", "x->a", "a->a", "rest->rest"):
        with pytest.raises(ValueError, match=re.escape(repr(wrong))):
            pairs((wrong,), ["a", "b"])
    with pytest.raises(ValueError, match="another site"):
        pairs(("rest->a",), ["a"])


def test_a_name_is_a_file_name_and_tells_experiments_apart():
    one = Experiment("MiniLM/v2: whitened", "max 2", "north", "all but ../süd", "full", None, 0)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", one.name) and len(one.name) < 120
    others = [replace(one, embedding="MiniLM/v2; whitened"), replace(one, size=50), replace(one, seed=1)]
    assert len({one.name, *(other.name for other in others)}) == 4
    assert sorted([one, replace(one, size=50)]) == [replace(one, size=50), one]
