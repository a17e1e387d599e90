"""Ray's cluster: the one that RAY_ADDRESS names, or a private one on this machine.

What runs on the workers is a callable that knows nothing of Ray; what comes back is nothing: stages write files.  Times
and limits in this package were measured; none of them changes a result.
"""

import contextlib
import math
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray

from ckd_dist.config import Workers
from ckd_dist.files import write

from .failed import first_line
from .lock import Failure, is_running
from .missing import MISSING_SECONDS, Missing
from .packages import check_nodes
from .room import Node, check_room, filled, say_idle, this_machine

JOIN_SECONDS = 60  # for those of a cluster that somebody else started and whose size nobody says
SHORT = 26  # most characters of a folder below which Ray's sockets may lie: their paths have 107 at most
PRIVATE = "ckd-"  # begins the name of a private folder
DRIVER = "driver"  # a private folder's file with the number of the process that made it

OURS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "PYTHONPATH")  # a site's token would open a private cluster to it

_TOKEN = secrets.token_hex(32)  # of all private clusters of this process: Ray reads it once and keeps it


@contextlib.contextmanager
def connect(
    asked: dict[str, Workers], say: Callable[[str], None], connected: Callable[[], None] = lambda: None
) -> Iterator[bool]:
    """Connect to a Ray cluster for these workers: the one that RAY_ADDRESS names, else a private one on this machine.

    say: is told how many nodes have joined, and which GPUs stay idle.  connected: is called as soon as Ray is: it has
    taken SIGTERM for itself.  Raises ValueError where the cluster cannot hold
    the workers, as waiting would never end, and Failure where nodes of a Slurm job do not come.
    """
    os.umask(0o077)
    # A thread of Ray prints what its daemons tell, forty lines of a log where a node dies, even with
    # log_to_driver=False, and has no public switch.  faults.py and jobs.py say every fault in one line.
    ray._private.worker._worker_logs_enabled = False
    with _existing(asked, say, connected) if os.environ.get("RAY_ADDRESS") else _private(asked) as nodes:
        connected()
        say_idle(asked, nodes, say)
        yield True


def filled_now(workers: Workers, say: Callable[[str], None]) -> Workers:
    """Return the workers of a stage with their number, which a recipe may leave to the cluster as it is now.

    That is said.  Nodes may have gone since it was connected to; where none is left that holds a worker, they are
    waited for.  Raises Failure where they do not come.
    """
    if workers.num:
        return workers
    missing = Missing("worker", say)
    while not (found := filled(workers, _nodes())).num:
        missing.look(runs=False)
        time.sleep(1)
    say(f"{found.num} worker(s), as many as the cluster has room for")
    return found


@contextlib.contextmanager
def _existing(
    asked: dict[str, Workers], say: Callable[[str], None], connected: Callable[[], None]
) -> Iterator[list[Node]]:
    there, wanted = f"the Ray cluster at {os.environ['RAY_ADDRESS']}", int(os.environ.get("SLURM_JOB_NUM_NODES", "0"))
    check_closed(there)
    seconds = MISSING_SECONDS if wanted else JOIN_SECONDS
    wait_for_head(os.environ["RAY_ADDRESS"], seconds)
    try:
        try:
            _until(_join, _NotYet, seconds)
        except _NotYet as error:
            raise (Failure if wanted else ValueError)(f"{there} does not answer: {error}") from None
        connected()
        if wanted:
            wait_for_nodes(wanted, lambda: len(_nodes()), say)
        _until(lambda: check_room(asked, _nodes(), there), ValueError, 0 if wanted else JOIN_SECONDS)
        check_nodes()
        nodes = _nodes()
        clear = "" if os.environ.get("RAY_USE_TLS") or len(nodes) == 1 else ", which talk in clear (RAY_USE_TLS)"
        say(f"{there} has {len(nodes)} node(s){clear}")
        yield nodes
    finally:
        ray.shutdown()


class _NotYet(Exception):  # noqa: N818
    """A head that listens, and is not up yet."""


def _join() -> None:
    """Connect.  Raises ValueError where another try would meet the same, _NotYet for all else that Ray raises."""
    try:
        ray.init(log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        if re.search(r"version mismatch|authenticat|unauthorized", words, re.I):
            raise ValueError(f"the Ray cluster at {os.environ['RAY_ADDRESS']} refuses: {words}") from None
        raise _NotYet(words) from error


def check_closed(there: str) -> None:
    """Raise ValueError where a cluster is used without a token, or with one that others may read."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise ValueError(
            f"{there} may be open to everybody: start it and this command with RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH=FILE"
        )
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not os.environ.get("RAY_AUTH_TOKEN") and file.is_file() and file.stat().st_mode & 0o077:
        raise ValueError(f"others may read the token of {there}: chmod 600 {file}")


def wait_for_head(address: str, seconds: float) -> None:
    """Wait until somebody listens at HOST:PORT: a head imports from a shared file system.  Raise Failure if nobody."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    while host and port.isdigit() and "/" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                words = f"nobody answers at {address} after {seconds / 60:g} minutes: {first_line(error)}"
                raise Failure(words) from None
            time.sleep(1)


def _nodes() -> list[Node]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def wait_for_nodes(wanted: int, joined: Callable[[], int], say: Callable[[str], None]) -> None:
    """Wait until all nodes of the job have joined, and say how many have.  Raise Failure where some do not come."""
    start, said = time.monotonic(), -1
    while (num := joined()) < wanted:
        if num != said:
            say(f"waiting for nodes: {num} of {wanted} have joined")
        said = num
        if time.monotonic() - start > MISSING_SECONDS:
            raise Failure(f"{num} of the job's {wanted} nodes joined within {MISSING_SECONDS / 60:g} minutes")
        time.sleep(1)


def _until(call: Callable[[], Any], refusal: type[Exception], seconds: float) -> None:
    """Call again while it raises `refusal`: nodes of a young cluster join one by one."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            call()
            return
        except refusal:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


@contextlib.contextmanager
def _private(asked: dict[str, Workers]) -> Iterator[list[Node]]:
    """Exactly the CPUs and GPUs that the largest stage needs; token, sockets and logs in a private short folder."""
    here = this_machine()
    check_room(asked, [here], "this machine")
    most = [filled(workers, [here]) for workers in asked.values()]
    place = Path(tempfile.gettempdir() if len(tempfile.gettempdir()) <= SHORT else "/tmp")
    sweep_private(place)
    folder = Path(tempfile.mkdtemp(prefix=PRIVATE, dir=place))
    write(folder / DRIVER, f"{os.getpid()} {_pid_space()}")
    token = folder / "token"
    write(token, _TOKEN)
    before = {name: os.environ.pop(name, None) for name in OURS}
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(place) for place in sys.path)  # a study may lie anywhere
    try:
        _start(
            address="local",
            num_cpus=math.ceil(max(w.num * w.cpus for w in most)),
            num_gpus=math.ceil(max(w.num * w.gpus for w in most)),
            object_store_memory=100 * 2**20,  # nothing but names and numbers passes through it
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=str(folder / "ray"),  # Ray opens its own folders to all: only the one above is private
        )
        yield [here]
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        for name in OURS:
            os.environ.pop(name, None)
        os.environ |= {name: value for name, value in before.items() if value is not None}


def _start(**options: Any) -> None:
    """Start Ray.  Raise Failure where it does not come up in time, as on a machine that is too busy."""
    try:
        ray.init(**options)
    except Exception as error:  # of no kind of its own, where a raylet takes too long
        raise Failure(f"Ray did not start on this machine: {first_line(error)}") from error


def _pid_space() -> str:
    """Where a process number means what it says: containers may share a folder, and not their numbers."""
    return f"{socket.gethostname()}:{os.readlink('/proc/self/ns/pid')}"


def sweep_private(place: Path) -> None:
    """Delete the private folders that killed drivers of this user left below `place`: a token, sockets and logs."""
    for file in place.glob(f"{PRIVATE}*/{DRIVER}"):
        with contextlib.suppress(OSError, ValueError):  # another user's, or gone meanwhile
            pid, space = file.read_text().split()
            if file.stat().st_uid == os.getuid() and space == _pid_space() and not is_running(int(pid)):
                shutil.rmtree(file.parent, ignore_errors=True)
