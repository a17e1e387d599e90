"""A real two-node Slurm cluster on one host: a job that is ended in every way that Slurm has loses nothing saved.

One training meets them all, one after the other, and ends in the weights of a run that nobody disturbed.
"""

import shutil
import time
import warnings
from pathlib import Path

import pytest

from ckd_dist.progress import last
from ckd_dist.record import verify
from ckd_dist.studies.disease.runfolder import DiseaseRun
from launch import lock
from tests.end_to_end.on_ray import on_ray
from tests.end_to_end.small import SMALL, ckd, ledger_of
from tests.launch.slurm_site import Cluster, is_possible, two_nodes

STAGE = "train_teacher"
SAVE_EVERY = 20  # steps
LONG = [
    "teacher.sft.epochs=0",
    "teacher.labels.epochs=40",
    "teacher.labels.evaluate_every=100000",
    f"teacher.labels.save_every={SAVE_EVERY}",
]
WEIGHTS = "adapter_model.safetensors"

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def cluster():
    if not is_possible():
        pytest.skip("wants root, and Debian's slurm-wlm and munge")
    with two_nodes() as cluster:
        if not cluster.spares_processes:
            warnings.warn(
                "NOT TESTED: that requeue and scancel lose nothing.  /sys/fs/cgroup/freezer cannot be written here, so "
                "Slurm sends TERM to every process, and what is asserted is a loss of at most a save's steps",
                stacklevel=1,
            )
        yield cluster


@pytest.fixture(scope="module")
def prompted(tmp_path_factory) -> DiseaseRun:
    """A run folder that is ready for its teacher and its student."""
    run = DiseaseRun(tmp_path_factory.mktemp("prompted") / "run")
    first = ["--recipe", "tiny", "--source", "synthetic:120", "--local", "--until", "prompt_student", *SMALL, *LONG]
    said = ckd("pipeline", "--run", run.root, *first)
    assert said.code == 0, said.err
    return run


def newest_save(run: DiseaseRun) -> int:
    return max((int(file.parent.name[5:11]) for file in run.teacher.glob("step_*/COMMITTED")), default=0)


def wait_for_step(cluster: Cluster, run: DiseaseRun, job: str, step: int) -> int:
    deadline = time.monotonic() + 600
    while (point := last(run.progress(STAGE))) is None or point.done < step:
        assert time.monotonic() < deadline, f"it never came to step {step}"
        assert cluster.field(job, "JobState") in ("PENDING", "RUNNING", "COMPLETING"), (
            "the job ended before its disturbance"
        )
        time.sleep(0.3)  # asking costs the two cores something
    return point.done


def live_until(cluster: Cluster, run: DiseaseRun, job: str, strike, *states: str) -> tuple[int, int]:
    """Let a life of a job train some steps, strike, wait for its end; return the last step made and the one saved."""
    start, resumed = time.monotonic(), newest_save(run)
    first = wait_for_step(cluster, run, job, resumed + 1)
    begun = time.monotonic()
    at = wait_for_step(cluster, run, job, first + 10)
    strike()
    cluster.wait(job, *states)
    made, saved = last(run.progress(STAGE)).done, newest_save(run)
    run.progress(STAGE).unlink()  # the next life begins another
    print(
        f"from step {resumed}: first step after {begun - start:.0f} s, struck at {at}, made {made}, saved {saved}, "
        f"ended {time.monotonic() - begun:.0f} s after the first step"
    )
    assert resumed < first and saved >= resumed, "it began where the last save was"
    return made, saved


def test_a_job_that_is_ended_in_every_way_loses_nothing_that_was_saved(prompted, cluster, tmp_path):
    undisturbed = DiseaseRun(Path(shutil.copytree(prompted.root, tmp_path / "undisturbed")))
    on_ray(STAGE, undisturbed)
    run = DiseaseRun(Path(shutil.copytree(prompted.root, tmp_path / "run")))
    log = tmp_path / "job.log"

    job = cluster.submit(run, "teacher.sh", log)
    for name, strike in {  # TERM, as preemption sends it; what Slurm sends before the time limit; TERM for good
        "requeue": ["scontrol", "requeue", job],
        "USR1": ["scancel", "--batch", "--signal=USR1", job],
        "scancel": ["scancel", job],
    }.items():
        state = "CANCELLED" if name == "scancel" else "PENDING"
        made, saved = live_until(cluster, run, job, lambda strike=strike: cluster.call(*strike), state)
        if cluster.spares_processes or name == "USR1":
            assert saved == made, f"{name}: the step that was made last was saved"
        assert made - saved <= SAVE_EVERY, name
        assert not lock.lock_file(run).exists() or not cluster.spares_processes
    assert "node n2: Slurm gave 8 GPUs, nvidia-smi sees 7" in log.read_text()
    assert cluster.field(job, "Restarts") == "3", "a lost GPU, requeue and USR1"

    node_tmp = Path(cluster.environment["NODE_TMP"])
    killed = [node_tmp / f"ckd-{job}-7", run.root / f".job-{job}"]  # as kill -9 leaves them
    for folder in killed:
        folder.mkdir()
    job = cluster.submit(run, "pipeline.sh", log)
    made, saved = live_until(cluster, run, job, cluster.kill_second_node, "PENDING")
    assert made - saved <= SAVE_EVERY, "death of a node"
    assert list(node_tmp.glob(f"ckd-{job}-*")), "it really was killed"
    cluster.start_second_node()
    cluster.wait(job, "COMPLETED")

    assert (run.teacher / WEIGHTS).read_bytes() == (undisturbed.teacher / WEIGHTS).read_bytes()
    assert {state.state for state in ledger_of(run).status()} == {"done"} and verify(run) == []
    assert all("-w2-" in path.name for path in run.teacher.glob("step_*"))
    for script in ("label.sh", "student.sh"):  # find all done
        cluster.wait(cluster.submit(run, script, log), "COMPLETED")
    assert "label            done already" in log.read_text()
    assert not [*run.root.glob(".job-*"), *node_tmp.iterdir()], "nothing of a job is left"
