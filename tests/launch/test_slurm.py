"""A real two-node Slurm cluster on one host: `sbatch slurm/teacher.sh` and the others, over both nodes, to the end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ckd_dist.studies.disease.runfolder import DiseaseRun
from launch import run as command_line
from tests.end_to_end.small import ledger_of

ROOT = Path(__file__).parents[2]
SMALL = [
    "select.absent_labels=allow",
    "teacher.sft.epochs=0.1",
    "teacher.labels.epochs=0.2",
    "student.optim.epochs=0.2",
    "evaluate.bootstrap_draws=100",
]
JOBS = (  # the last one finds all but the report done; student.sh asks for one node, and these have one core each
    "slurm/teacher.sh",
    "slurm/label.sh",
    "slurm/student.sh student.workers.num=1",
    "slurm/pipeline.sh",
)

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]


@pytest.fixture
def prompts(tmp_path):
    """A run folder that is ready for its teacher."""
    programs = ("slurmctld", "slurmd", "munged", "sbatch")
    search = os.environ["PATH"] + ":/usr/sbin"
    if os.geteuid() != 0 or any(shutil.which(program, path=search) is None for program in programs):
        pytest.skip("wants root, and Debian's slurm-wlm and munge")
    run = DiseaseRun(tmp_path / "run")
    first = ["--recipe", "tiny", "--source", "synthetic:400", *SMALL]
    for stage in ("extract", "select", "prompt_teacher", "prompt_student"):
        assert command_line.main([stage, "--run", str(run.root), *first]) == 0
        first = []
    return run


def test_every_script_runs_over_two_nodes(prompts, tmp_path):
    log = tmp_path / "job.log"
    jobs = " && ".join(f"sbatch --wait --output={log} {job}" for job in JOBS)
    done = subprocess.run(
        [ROOT / "tests/launch/slurm_cluster.sh", "bash", "-c", jobs],
        cwd=ROOT,
        env=os.environ | {"RUN_DIR": str(prompts.root), "VENV": sys.prefix},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr + log.read_text()
    assert {state.state for state in ledger_of(prompts).status()} == {"done"}
    assert not list(prompts.root.glob(".job-*"))
    checkpoints = [path.name for path in prompts.teacher.glob("step_*")]
    assert checkpoints and all("-w2-" in name for name in checkpoints)
