"""A Ray cluster on this host that somebody else started: a head without cores, and nodes of one core to take away."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.data import ROOT
from tests.end_to_end.on_ray import in_session

RAY = Path(sys.executable).with_name("ray")


class Nodes:
    """The processes of the cluster.  environment: what a driver needs to connect."""

    def __init__(self, folder: Path) -> None:
        token = folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        self.folder, self.address = folder, f"127.0.0.1:{free_port()}"
        self.environment = {"RAY_ADDRESS": self.address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self.nodes = [self._start("--head", f"--port={self.address.rpartition(':')[2]}", f"--temp-dir={folder}/ray")]
        wait_for_port(self.address)
        self.add()
        self.add()

    def add(self) -> None:
        """Let a node of one core join; wait for its raylet, as two that start at once may take the same ports."""
        self.nodes.append(node := self._start(f"--address={self.address}", cores=1))
        deadline = time.monotonic() + 120
        while not any(is_raylet(pid) for pid in in_session(node.pid)):
            assert node.poll() is None and time.monotonic() < deadline, "the node did not start"
            time.sleep(0.2)
        time.sleep(2)

    def lose(self, pid_of_rank: int) -> float:
        """SIGKILL the raylet of the node on which a process is; return when.  Its processes go with it."""
        node = next(node for node in self.nodes if pid_of_rank in in_session(node.pid))
        raylets = [pid for pid in in_session(node.pid) if is_raylet(pid)]
        assert len(raylets) == 1, f"{len(raylets)} raylets on one node"
        moment = time.time()
        os.kill(raylets[0], signal.SIGKILL)
        node.wait(timeout=60)
        self.nodes.remove(node)
        return moment

    def stop(self) -> None:
        """End every node."""
        for node in reversed(self.nodes):
            node.terminate()
        for node in self.nodes:
            node.wait(timeout=60)
            for pid in in_session(node.pid):
                os.kill(pid, signal.SIGKILL)

    def _start(self, *options: str, cores: int = 0) -> subprocess.Popen:
        command = [RAY, "start", *options, f"--num-cpus={cores}", "--object-store-memory=100000000", "--block"]
        if "--head" in options:
            command += ["--include-dashboard=false"]
        environment = os.environ | self.environment | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        environment |= {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", "PYTHONPATH": str(ROOT)}
        environment.pop("RAY_ADDRESS")
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **silent)


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Two nodes of one core beside a head of none; nothing of them is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="n", dir="/tmp"))
    nodes = None
    try:
        nodes = Nodes(folder)
        yield nodes
    finally:
        if nodes:
            nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def is_raylet(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "raylet"
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(address: str, seconds: float = 120) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the head did not start"
            time.sleep(0.5)
