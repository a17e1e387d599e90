"""The grid: every cell once, source models first; results whole or not there; idle time by hand."""

import re
import stat
from dataclasses import replace

import numpy as np
import pytest
import torch

from ckd_dist.studies.concepts import tables
from ckd_dist.studies.concepts.config import Grid, PatientModel, Regime
from ckd_dist.studies.concepts.grid import (
    Cell,
    Result,
    cells,
    idle_share,
    is_done,
    members,
    pairs,
    path_of,
    source_cell,
    tidy,
)
from ckd_dist.studies.concepts.patients import build_patient, load_weights, weights_of
from tests.studies.concepts.fakes import K, logits, random_cases, settings, trained, vectors

SITES = {"north": 600, "south": 200, "east": 90}
ALL = Grid(regimes=Regime.__args__, seeds=2)


def test_every_cell_stands_once_and_none_is_missing():
    grid = replace(ALL, sizes=(50, 100), models=(PatientModel(), PatientModel("mean")))
    found, left_out = cells(grid, ["a", "b"], SITES)
    assert len(set(found)) == len(found) == len({cell.name for cell in found})
    sizes = {"north": 3, "south": 3, "east": 2}  # 100 is more than east has
    num_local = sum(sizes.values())
    num_of_pair = sum(2 * (3 * sizes[target] + 3) for target in sizes)  # frozen full pooled; shared thawed adversarial
    assert len(found) == (num_local + num_of_pair) * 2 * 2 * 2
    assert left_out == ["size 100: east has 90 training cases"]
    assert not [c for c in found if c.size and c.size >= SITES[c.target]]


def test_every_model_is_there_before_it_is_needed():
    for regimes in (Regime.__args__, ("shared",), ("full", "pooled")):
        grid = replace(ALL, regimes=regimes, sizes=(50,), pairs=("north->south", "rest->east"))
        found, _ = cells(grid, ["a"], SITES)
        place = {cell: i for i, cell in enumerate(found)}
        firsts = [source_cell(cell) for cell in found]
        assert any(firsts)
        assert all(place[first] < place[cell] for cell, first in zip(found, firsts, strict=True) if first)
        sources = [place[first] for first in set(firsts) - {None}]
        assert sorted(sources) == list(range(len(sources)))  # nothing stands between them


def test_a_source_model_has_the_seed_and_all_cases_of_its_site():
    cell = Cell("a", "max", "north", "south", "full", 50, 3)
    assert source_cell(cell) == Cell("a", "max", "north", "north", "local", None, 3)
    assert source_cell(replace(cell, source="all but south")).target == "all but south"
    assert all(source_cell(replace(cell, regime=r)) is None for r in ("local", "pooled", "adversarial"))


def test_long_cells_stand_first_and_order_is_a_function_of_the_grid():
    grid = replace(ALL, regimes=("local", "shared", "pooled"), models=(PatientModel(), PatientModel("transformer")))
    found, _ = cells(grid, ["a"], SITES)
    sources = [cell for cell in found if cell.regime == "local"]
    assert [(c.target, c.model) for c in sources[::2]][:2] == [("north", "transformer"), ("south", "transformer")]
    assert {cell.regime for cell in found[-12:]} == {"shared"}
    assert found == cells(grid, ["a"], SITES)[0]


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


def test_a_name_is_a_file_name_and_tells_cells_apart():
    one = Cell("MiniLM/v2: whitened", "max 2", "north", "all but ../süd", "full", None, 0)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", one.name) and len(one.name) < 120
    others = [replace(one, embedding="MiniLM/v2; whitened"), replace(one, size=50), replace(one, seed=1)]
    assert len({one.name, *(other.name for other in others)}) == 4
    assert sorted([one, replace(one, size=50)]) == [replace(one, size=50), one]


CELL = Cell("a", "max", "north", "south", "full", None, 0)


def result(**more) -> Result:
    given = {"probabilities_NK": np.random.default_rng(0).random((5, K)).astype(np.float32), "case_id_N": np.arange(5)}
    return Result(CELL, "abc", **(given | more))


def test_a_result_is_read_as_it_was_written(tmp_path):
    model = trained("max", vectors())
    written = result(
        curve=((10, 0.5), (20, 0.75)), begun=3.0, ended=4.5, worker=2, numbers={"steps": 7}, weights=weights_of(model)
    )
    path = written.write(tmp_path)
    read = Result.read(path, weights=True)
    assert (read.cell, read.digest, read.curve, read.worker, read.seconds) == (
        written.cell,
        "abc",
        written.curve,
        2,
        1.5,
    )
    assert np.array_equal(read.case_id_N, written.case_id_N) and read.numbers == {"steps": 7}
    assert np.array_equal(read.probabilities_NK, written.probabilities_NK)
    again = build_patient(settings("max"), K, vectors(), 5)
    load_weights(again, read.weights)
    assert torch.equal(logits(again, random_cases(9)), logits(model, random_cases(9)))
    assert Result.read(path).weights == {}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_cell_is_done_only_where_its_whole_file_of_these_inputs_is(tmp_path):
    cell = CELL
    assert not is_done(tmp_path, cell, "abc")
    path = result().write(tmp_path)
    assert is_done(tmp_path, cell, "abc") and not is_done(tmp_path, cell, "abd")
    assert not is_done(tmp_path, replace(cell, seed=1), "abc")
    path_of(tmp_path, replace(cell, seed=1)).write_bytes(path.read_bytes())  # another's file under its name
    assert not is_done(tmp_path, replace(cell, seed=1), "abc")
    path.write_bytes(path.read_bytes()[:-3])
    assert not is_done(tmp_path, cell, "abc")
    with pytest.raises(ValueError, match="cut short"):
        Result.read(path)


def test_idle_time_by_hand():
    def at(begun: float, ended: float, worker: int) -> Result:
        return result(begun=begun, ended=ended, worker=worker)

    # worker 0: 0-4 and 5-9; worker 1: 0-2 and 6-7.  Handed out from 0 to 6: 12 s of two, busy 4 + 1 + 2 + 0
    assert idle_share([at(0, 4, 0), at(5, 9, 0), at(0, 2, 1), at(6, 7, 1)]) == pytest.approx(5 / 12)
    assert idle_share([at(0, 4, 0), at(4, 9, 0)]) == 0
    assert idle_share([at(0, 4, 0)]) == idle_share([]) == 0


def test_half_written_cells_are_tidied_and_a_late_writer_writes_in_vain(tmp_path, monkeypatch):
    """Its file is gone from under it: no error where the cell is there, an error where it is not."""
    tables.write_whole(tmp_path / "cell.safetensors", b"first")
    (tmp_path / ".cell.safetensors.killed.tmp").write_bytes(b"half")
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cell.safetensors"]
    monkeypatch.setattr(tables.os, "fsync", lambda _: tidy(tmp_path))
    tables.write_whole(tmp_path / "cell.safetensors", b"late")
    assert (tmp_path / "cell.safetensors").read_bytes() == b"first"
    with pytest.raises(FileNotFoundError):
        tables.write_whole(tmp_path / "other.safetensors", b"late")
    assert [path.name for path in tmp_path.iterdir()] == ["cell.safetensors"]
