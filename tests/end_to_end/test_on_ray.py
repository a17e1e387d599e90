"""The pipeline as people run it: one command, Ray, two workers, ZeRO-3.  Minutes each."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from ckd_dist import record
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.runfolder import DiseaseRun
from tests.end_to_end.on_ray import on_ray
from tests.end_to_end.small import SMALL, SYNTHETIC, ckd, copy_of, go, hashes, ledger_of, passed, recipe_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def on_two(tmp_path_factory):
    """A finished run of two Ray workers under ZeRO-3."""
    run = DiseaseRun(tmp_path_factory.mktemp("ray") / "run")
    on_ray("pipeline", run, "--recipe", "tiny", "--source", SYNTHETIC, *SMALL)
    recipe = recipe_of(run)
    assert recipe.teacher.workers.num == recipe.student.workers.num == recipe.label.workers.num == 2
    assert recipe.teacher.sharding.startswith("zero3")
    return run


def test_the_run_ends_and_a_second_run_does_nothing(on_two):
    ranks = {int(file.parent.name.split("-w")[1].split("-")[0]) for file in on_two.root.rglob("COMMITTED")}
    assert ranks == {2}, "every checkpoint is one of two ranks"
    before = hashes(on_two)
    said = on_ray("pipeline", on_two)
    assert passed(said) == list(STUDY.stages)
    assert hashes(on_two) == before
    assert ckd("verify", on_two.root).code == 0
    assert {state.state for state in ledger_of(on_two).status()} == {"done"}
    assert not (on_two.root / "driver.lock").exists() and not (on_two.root / "STOP").exists()
    for path in [on_two.root, *on_two.root.rglob("*")]:
        assert not path.stat().st_mode & 0o077, path


def weights(folder):
    return load_file(next(file for file in folder.glob("*model.safetensors")))


@pytest.mark.parametrize("stage, folder", [("train_teacher", "teacher"), ("distill", "student")])
def test_one_worker_and_two_take_the_same_steps(on_two, tmp_path, stage, folder):
    """The same global batches: weights and tuning scores agree to what summing in another order leaves."""
    alone = copy_of(on_two, tmp_path / "alone")
    alone.stage(stage).unlink()
    shutil.rmtree(alone.root / folder)
    said = go(stage, alone)  # --local: one rank
    assert said.code == 0, said.err
    wanted, found = weights(on_two.root / folder), weights(alone.root / folder)
    assert wanted.keys() == found.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, atol=2e-3, err_msg=name)
    scores, scores_alone = (record.read(run, stage).numbers for run in (on_two, alone))
    if stage == "distill":
        scores, scores_alone = scores["soft"], scores_alone["soft"]
    assert scores["step"] == scores_alone["step"]
    assert scores["tuning"] == pytest.approx(scores_alone["tuning"], abs=0.02)
