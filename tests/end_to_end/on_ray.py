"""A command as a process of its own, which starts Ray; and waiting for the end of all that it started."""

import os
import subprocess
import sys
import time
from pathlib import Path

from ckd_dist.runfolder import RunFolder

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(name: str, run: RunFolder, *arguments: str) -> list[str]:
    """`python -m launch.run NAME`."""
    return [sys.executable, "-m", "launch.run", name, "--run", str(run.root), *arguments]


def on_ray(name: str, run: RunFolder, *arguments: str) -> str:
    """Run a command to its good end; return what it said."""
    done = subprocess.run(command(name, run, *arguments), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def start(name: str, run: RunFolder, *arguments: str) -> subprocess.Popen:
    """Start a command in a session of its own, to be killed."""
    return subprocess.Popen(command(name, run, *arguments), env=ENVIRONMENT, start_new_session=True)


def wait_for_end(session: int, seconds: float = 300) -> None:
    """Wait until nobody of a dead driver's session is left: workers notice that it is gone."""
    deadline = time.monotonic() + seconds
    while living := in_session(session):
        assert time.monotonic() < deadline, f"{len(living)} processes outlive their driver"
        time.sleep(0.5)


def in_session(session: int) -> list[int]:
    """Processes of a session that are not dead."""
    living = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            living.append(int(folder.name))
    return living
