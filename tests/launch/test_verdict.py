"""How a failure ends a command: 2 where the same would come again, 85 where another start may find better machines."""

import errno

import pytest
import torch.distributed as dist

from ckd_dist.softlabels.errors import LabelerFault, ShardError
from launch.lock import REQUEUE, Failure, JobsFailed
from launch.verdict import verdict

OF_MACHINES = [
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("NCCL error in: ProcessGroupNCCL.cpp, unhandled system error"),
    dist.DistStoreError("Timed out after 301 seconds waiting for clients. 3/16 clients joined."),
    dist.DistNetworkError("The server socket has failed to listen: EADDRINUSE"),
    LabelerFault("shard-00012 could not be labelled: RuntimeError at models/predict.py:80"),
    OSError(errno.ESTALE, "Stale file handle"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    TimeoutError("nobody answered"),
    Failure("workers were lost 4 times in a row"),
]
MISTAKES = [ValueError("labels.yaml has 24 labels"), ShardError("cut short"), FileNotFoundError("no such recipe")]
MISTAKES += [PermissionError(errno.EACCES, "Permission denied"), ValueError("the driver's file times out: NCCL")]


@pytest.mark.parametrize("error", OF_MACHINES, ids=str)
def test_what_machines_did_is_run_again_with_ray_or_without_it(error):
    said, code = verdict(error)
    assert code == REQUEUE and said.endswith("run the same command to go on")


@pytest.mark.parametrize("error", MISTAKES, ids=str)
def test_a_mistake_is_not(error):
    assert verdict(error) == (str(error), 2)


@pytest.mark.parametrize("code", [1, REQUEUE])
def test_jobs_that_failed_say_themselves_whether_machines_did_it(code):
    assert verdict(JobsFailed("job 3 of 9 failed; 3: RuntimeError CUDA error: GPU is lost", code))[1] == code


def test_a_fault_of_the_program_is_called_so():
    assert verdict(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))[1] == 1
