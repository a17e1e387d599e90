"""Results of experiments: whole or not there, of these inputs or not done; idle time by hand."""

import stat
from dataclasses import replace

import numpy as np
import pytest
import torch

from ckd_dist import files
from ckd_dist.engine.experiments import idle_share, is_done, path_of, write_unless_tidied
from ckd_dist.studies.concepts.grid import Experiment
from ckd_dist.studies.concepts.patients import build_patient, load_weights, weights_of
from ckd_dist.studies.concepts.result import Result
from tests.studies.concepts.fakes import K, logits, random_cases, settings, trained, vectors

EXPERIMENT = Experiment("a", "max", "north", "south", "full", None, 0)


def result(**more) -> Result:
    given = {"probabilities_NK": np.random.default_rng(0).random((5, K)).astype(np.float32), "case_id_N": np.arange(5)}
    return Result(EXPERIMENT, "abc", **(given | more))


def test_a_result_is_read_as_it_was_written(tmp_path):
    model = trained("max", vectors())
    written = result(
        curve=((10, 0.5), (20, 0.75)), begun=3.0, ended=4.5, worker=2, numbers={"steps": 7}, weights=weights_of(model)
    )
    path = written.write(tmp_path)
    read = Result.read(path, weights=True)
    assert (read.experiment, read.digest, read.curve, read.worker, read.seconds) == (
        written.experiment,
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


def test_an_experiment_is_done_only_where_its_whole_file_of_these_inputs_is(tmp_path):
    experiment = EXPERIMENT
    assert not is_done(tmp_path, experiment, "abc")
    path = result().write(tmp_path)
    assert is_done(tmp_path, experiment, "abc") and not is_done(tmp_path, experiment, "abd")
    assert not is_done(tmp_path, replace(experiment, seed=1), "abc")
    path_of(tmp_path, replace(experiment, seed=1)).write_bytes(path.read_bytes())  # another's file under its name
    assert not is_done(tmp_path, replace(experiment, seed=1), "abc")
    path.write_bytes(path.read_bytes()[:-3])
    assert not is_done(tmp_path, experiment, "abc")
    with pytest.raises(ValueError, match="cut short"):
        Result.read(path)


def test_idle_time_by_hand():
    def at(begun: float, ended: float, worker: int) -> Result:
        return result(begun=begun, ended=ended, worker=worker)

    # worker 0: 0-4 and 5-9; worker 1: 0-2 and 6-7.  Handed out from 0 to 6: 12 s of two, busy 4 + 1 + 2 + 0
    assert idle_share([at(0, 4, 0), at(5, 9, 0), at(0, 2, 1), at(6, 7, 1)]) == pytest.approx(5 / 12)
    assert idle_share([at(0, 4, 0), at(4, 9, 0)]) == 0
    assert idle_share([at(0, 4, 0)]) == idle_share([]) == 0
    # stopped, and gone on with a day later by other processes: the night is nobody's idleness
    night = [at(0, 4, 0), at(4, 9, 0), at(86_400, 86_405, 1), at(86_405, 86_409, 1)]
    assert idle_share(night) == 0
    # a worker that joins late has waited
    assert idle_share([at(0, 4, 0), at(4, 9, 0), at(4, 6, 1), at(6, 7, 1)]) == pytest.approx(4 / 12)


def test_half_written_results_are_tidied_and_a_late_writer_writes_in_vain(tmp_path, monkeypatch):
    """Its file is gone from under it: no error where the result is there, an error where it is not."""
    write_unless_tidied(tmp_path / "result.safetensors", b"first")
    (tmp_path / ".result.safetensors.killed_1.tmp").write_bytes(b"half")
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["result.safetensors"]
    monkeypatch.setattr(files.os, "fsync", lambda _: files.sweep(tmp_path))
    write_unless_tidied(tmp_path / "result.safetensors", b"late")
    assert (tmp_path / "result.safetensors").read_bytes() == b"first"
    with pytest.raises(FileNotFoundError):
        write_unless_tidied(tmp_path / "other.safetensors", b"late")
    assert [path.name for path in tmp_path.iterdir()] == ["result.safetensors"]
