"""The pipeline as people run it: one command, Ray, two workers, ZeRO-3.  Minutes each."""

import shutil
import signal
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from ckd_dist import record
from ckd_dist.progress import last
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.runfolder import DiseaseRun
from tests.end_to_end.on_ray import on_ray, start, wait_for_end
from tests.end_to_end.small import SMALL, SYNTHETIC, ckd, copy_of, go, hashes, ledger_of, passed, recipe_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LONGER = ["student.optim.epochs=6", "student.optim.evaluate_every=8"]  # a student that can be met in the middle


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


def kill_in_the_middle(run, *overrides):
    """Start distill, kill its driver when the student has a checkpoint and is not done; say at which step it was."""
    driver = start("distill", run, *overrides)
    deadline = time.monotonic() + 600
    while not list(run.student.glob("step_*/COMMITTED")):
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL, "the fault fired"
    point = last(run.progress("distill"))
    wait_for_end(driver.pid)
    return point


def test_a_killed_driver_costs_nothing_but_time(on_two, tmp_path):
    undisturbed, killed = (copy_of(on_two, tmp_path / name) for name in ("undisturbed", "killed"))
    for run in (undisturbed, killed):
        shutil.rmtree(run.student)
        shutil.rmtree(run.hard_student)
        run.stage("distill").unlink()
    on_ray("distill", undisturbed, *LONGER)
    point = kill_in_the_middle(killed, *LONGER)
    assert not killed.stage("distill").exists() and not (killed.student / "model.safetensors").exists()
    assert point is None or point.done < point.total
    on_ray("distill", killed)  # the folder knows the overrides
    for folder in ("student", "student_hard"):
        for file in ("model.safetensors", "calibration.json", "config.json"):
            assert (killed.root / folder / file).read_bytes() == (undisturbed.root / folder / file).read_bytes(), file
    first = min(int(file.parent.name[5:11]) for file in killed.student.glob("step_*/COMMITTED"))
    assert first <= record.read(killed, "distill").numbers["soft"]["step"]
    assert record.verify(killed) == []
