"""Ranks that torchrun started, without Ray: a signal to all of them saves, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ckd_dist.progress import last
from tests.data import ROOT
from tests.launch.fault_runs import is_whole, prompted, step_of

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


def test_a_signal_saves_on_all_ranks_and_the_same_command_goes_on(tmp_path):
    run = prompted(tmp_path / "run", 4)
    ranks = torchrun(run)
    wait_for_step(run, 10, ranks)
    ranks.send_signal(signal.SIGTERM)  # torchrun hands it on to each
    ranks.wait(60)
    point = last(run.progress("train_teacher"))
    whole = max(step_of(folder) for folder in run.teacher.glob("step_*") if is_whole(folder))
    assert whole == point.done == point.numbers["saved"], "no step was lost"
    assert not (run.root / "STOP").exists() and not (run.root / "driver.lock").exists()
    assert torchrun(run).wait(300) == 0
    assert last(run.progress("train_teacher")).done == point.total


def torchrun(run):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-port=0",
        "--rdzv-backend=c10d",
    ]
    command += ["--rdzv-endpoint=127.0.0.1:0", "-m", "--", "launch.run", "train_teacher", "--local", "--run", run.root]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True)


def wait_for_step(run, step, ranks, seconds=240):
    deadline = time.monotonic() + seconds
    while (point := last(run.progress("train_teacher"))) is None or point.done < step:
        assert ranks.poll() is None and time.monotonic() < deadline, "the ranks made no steps"
        time.sleep(0.2)
