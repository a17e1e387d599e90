"""A job of the Slurm scripts on this machine: what stands in for programs, and what a test asks of a job.

A fake `srun` runs the node's part here, a fake `ray` waits or fails, a fake `python` is the driver.
"""

import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAITS = "exec sleep 60"
SAVES = """trap 'kill $!; exit 85' USR1 TERM; touch "$RUN_DIR/up"; sleep 60 & wait"""
FAKES = {
    "srun": 'while [[ $1 == --* ]]; do shift; done; SLURM_NODEID=0 SLURM_CPUS_ON_NODE=2 exec "$@"',
    "scontrol": 'case "$1" in show) echo n1 n2 ;; *) echo "$@" >> "$RUN_DIR/scontrol" ;; esac',
    "squeue": "echo 1234; echo 1000",
    "hostname": "echo 192.0.2.7",
    "getent": 'echo "192.0.2.${2#n}  STREAM"; echo "127.0.1.1  STREAM"',
}
OPTIONAL = ("openssl", "nvidia-smi")  # programs that a site may lack


def wait_for(file, seconds=20):
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline, f"{file.name} did not come"
        time.sleep(0.05)


def requeues(tmp_path):
    """How often this job was asked for again."""
    file = tmp_path / "run" / "scontrol"
    return file.read_text().count("requeue 1234\n") if file.exists() else 0


def left_over(tmp_path, node_tmp):
    return [*node_tmp.iterdir(), *tmp_path.glob("run/.job-*")]
