"""A real two-node Slurm cluster on one host, for as long as a block lasts: commands against it, and a node's death."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ckd_dist.studies.disease.runfolder import DiseaseRun
from tests.data import ROOT

# Eight GPUs a node; the first time that somebody asks, node n2 has lost one.
NVIDIA_SMI = """#!/usr/bin/env bash
num=8
if [ "$SLURMD_NODENAME" = n2 ] && mkdir "${0%/*}/asked" 2>/dev/null; then num=7; fi
for ((i = 0; i < num; i++)); do echo "GPU $i: a name (UUID: GPU-$i)"; done
"""


class Cluster:
    """The cluster while it is up: commands against it, and the death and return of its second node."""

    def __init__(self, conf: Path, settings: dict[str, str]):
        self.conf = conf
        self.environment = os.environ | {"SLURM_CONF": str(conf), "VENV": sys.prefix, **settings}
        self.spares_processes = "proctrack/cgroup" in conf.read_text()  # TERM comes to the scripts alone

    def call(self, *command: str) -> str:
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, run: DiseaseRun, script: str, log: Path) -> str:
        """sbatch a script as it is; return the job's number."""
        told = f"ALL,RUN_DIR={run.root}"
        return self.call("sbatch", "--parsable", f"--export={told}", f"--output={log}", f"slurm/{script}").strip()

    def field(self, job: str, name: str) -> str:
        words = self.call("scontrol", "show", "job", job).split()
        return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))

    def wait(self, job: str, *states: str, seconds: float = 900) -> None:
        """Wait until a job is in one of the states, and nothing of it is left on a node."""
        deadline = time.monotonic() + seconds
        while (
            state := self.call("squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T").strip()
        ) not in states:
            assert time.monotonic() < deadline, f"job {job} is {state}"
            assert state in ("RUNNING", "PENDING", "COMPLETING", "CONFIGURING"), f"job {job} is {state}"
            time.sleep(0.5)

    def kill_second_node(self) -> None:
        """All at once, as where the power fails: Slurm's daemon, the job's processes and those that mind them."""
        daemon = int((self.conf.parent / "n2.pid").read_text())
        victims = [process for process in processes() if b"SLURMD_NODENAME=n2" in environment_of(process)]
        minders = {parent_of(process) for process in victims} - {1}
        for process in {daemon, *victims, *(each for each in minders if name_of(each) == "slurmstepd")}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def start_second_node(self) -> None:
        self.call(shutil.which("slurmd", path=SEARCH), "-f", str(self.conf), "-N", "n2")


SEARCH = os.environ["PATH"] + ":/usr/sbin"


def processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def environment_of(process: int) -> list[bytes]:
    try:
        return Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def stat_of(process: int) -> tuple[str, list[str]]:
    try:
        before, _, after = Path(f"/proc/{process}/stat").read_text().rpartition(")")
    except OSError:
        return "", ["", "1"]
    return before.partition("(")[2], after.split()


def name_of(process: int) -> str:
    return stat_of(process)[0]


def parent_of(process: int) -> int:
    return int(stat_of(process)[1][1])


def is_possible() -> bool:
    """Say whether this is root, on a machine with Debian's slurm-wlm and munge."""
    return os.geteuid() == 0 and all(shutil.which(each, path=SEARCH) for each in ("slurmctld", "munged", "sbatch"))


@contextlib.contextmanager
def two_nodes() -> Iterator[Cluster]:
    """The cluster, up."""
    command = [ROOT / "tests/launch/slurm_cluster.sh", "bash", "-c", 'echo "$SLURM_CONF"; cat']
    with tempfile.TemporaryDirectory() as site, tempfile.TemporaryDirectory(prefix="n", dir="/tmp") as node_tmp:
        Path(site, "nvidia-smi").write_text(NVIDIA_SMI)
        Path(site, "nvidia-smi").chmod(0o755)
        Path(site, "site.sh").write_text(f'export PATH="{site}:$PATH"\n')
        up = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        conf = up.stdout.readline().strip()
        assert conf, "the cluster did not start"
        yield Cluster(Path(conf), {"CKD_SITE": f"{site}/site.sh", "NODE_TMP": node_tmp})
        up.stdin.close()
        up.wait()
