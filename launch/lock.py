"""One driver a run folder, and an orderly end: the lock, the STOP flag, and the signals that raise it.

The flag is a file because ranks on other nodes see it, with or without Ray, and because `touch RUN/STOP` is all that a
Slurm script or a person needs.  Not covered: two hosts whose clocks differ by more than LOCK_SECONDS.
"""

import contextlib
import json
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckd_dist.runfolder import RunFolder

from .background import in_background

LOCK_SECONDS = 60.0  # seconds after which a lock without a heartbeat may be taken over
HEARTBEAT_SECONDS = 5.0
REQUEUE = 85  # exit code: run me again; what was finished is kept
INTERRUPTED = 130  # exit code: a person asked to stop, by Ctrl-C or the flag; saved
CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: REQUEUE, signal.SIGUSR1: REQUEUE}  # of the run that it stopped
# Seconds until the machine is taken away, less those of an end: KillWait is 30, and scripts ask for USR1 at 300.
SECONDS_LEFT = {signal.SIGINT: math.inf, signal.SIGTERM: 20.0, signal.SIGUSR1: 240.0}


class Stopped(BaseException):
    """The run was asked to stop, saved, and did."""

    def __init__(self, words: str, code: int):
        super().__init__(words)
        self.code = code


class Failure(Exception):  # noqa: N818
    """A stage failed by a fault of machines: workers that died too often, nodes that do not come."""


class JobsFailed(Exception):  # noqa: N818
    """Some jobs of a stage failed; all others are done."""

    def __init__(self, words: str, code: int):
        """code: REQUEUE where all of them failed by faults of machines."""
        super().__init__(words)
        self.code = code


def stop_flag(run: RunFolder) -> Path:
    """Return the file that every rank looks for: where it exists the stage saves and returns."""
    return run.root / "STOP"


def is_raised(flag: Path) -> bool:
    """Say whether the flag is there; where the disk hiccups it is not, for now."""
    try:
        return flag.exists()
    except OSError:  # Path.exists passes on a stale handle
        return False


def lock_file(run: RunFolder) -> Path:
    """Return the file with process, host and last heartbeat of the driver that is at work."""
    return run.root / "driver.lock"


def ray_folder(run: RunFolder) -> Path:
    """Return the folder of Ray's own notes, of faults, and of where workers stand, while a stage runs on a cluster."""
    return run.root / "ray"


def faults_file(folder: Path) -> Path:
    """Return the file of such a folder with a line for every fault that the stage met."""
    return folder / "faults"


def error_file(run: RunFolder, rank: int = 0) -> Path:
    """Return the file with the whole of the last failure, for whoever wants more than its sentence."""
    return run.root / (f"error-{rank}.log" if rank else "error.log")


def at_work(run: RunFolder) -> dict[str, Any] | None:
    """Return the living driver of a run folder: pid, host, heartbeat; None where there is none."""
    holder = _read_lock(lock_file(run))
    return holder if _is_alive(holder) else None


@contextlib.contextmanager
def hold(run: RunFolder) -> Iterator[None]:
    """Hold the run folder.  Raises ValueError where another living driver holds it."""
    file = lock_file(run)
    file.parent.mkdir(parents=True, exist_ok=True)
    _take(file)
    try:
        with in_background(_heartbeat, file):
            yield
    finally:
        if _is_mine(_read_lock(file)):
            file.unlink(missing_ok=True)


def _take(file: Path) -> None:
    """Create the lock file, or take over a stale one.  Creation is atomic, and so is moving a stale one away."""
    for _ in range(3):
        try:
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            holder = _read_lock(file)
            if _is_alive(holder) and _beats(file, holder):
                raise ValueError(
                    f"{file.parent}: process {holder['pid']} on {holder['host']} is at work in this run folder; "
                    f"wait for it, or give another --run"
                ) from None
            _move_away(file)
        else:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(_me())
            return
    raise ValueError(f"{file.parent}: several drivers start in this run folder at once; try again")


def _beats(file: Path, holder: dict[str, Any]) -> bool:
    """Say whether the heart of a living holder beats.  A killed one of another host is known by that alone."""
    if holder["host"] == socket.gethostname() or not holder["pid"]:
        return True
    deadline = time.monotonic() + 2 * LOCK_SECONDS  # its clock may be ahead of ours
    while (now := _read_lock(file)) == holder and _is_alive(now) and time.monotonic() < deadline:
        time.sleep(0.5)
    return bool(now) and now != holder


def _move_away(file: Path) -> None:
    """Delete a stale lock; one that somebody else has taken meanwhile is put back."""
    stale = file.with_suffix(f".{os.getpid()}.stale")
    with contextlib.suppress(FileNotFoundError):
        os.rename(file, stale)
        if _is_alive(_read_lock(stale)):
            with contextlib.suppress(FileExistsError):
                os.link(stale, file)
        stale.unlink()


def _is_mine(holder: dict[str, Any]) -> bool:
    return holder.get("pid") == os.getpid() and holder.get("host") == socket.gethostname()


def _me() -> str:
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "heartbeat": time.time()})


def _read_lock(file: Path) -> dict[str, Any]:
    """Who holds the lock; a torn or fresh empty file counts as held since its last change."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        with contextlib.suppress(FileNotFoundError):
            return {"pid": 0, "host": "another host", "heartbeat": file.stat().st_mtime}
        return {}


def _is_alive(holder: dict[str, Any]) -> bool:
    if not holder or time.time() - holder["heartbeat"] > LOCK_SECONDS:
        return False
    return holder["host"] != socket.gethostname() or not holder["pid"] or is_running(holder["pid"])


def is_running(pid: int) -> bool:
    """Say whether a process of this host runs, whoever it belongs to."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _heartbeat(file: Path, ended: threading.Event) -> None:
    partial = file.with_suffix(f".{os.getpid()}.tmp")
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):  # a disk that is full or hiccups must not end the run, nor this thread
            if (holder := _read_lock(file)) and holder["pid"] and not _is_mine(holder):
                print(f"{file.parent}: taken over by process {holder['pid']} on {holder['host']}", file=sys.stderr)
                os._exit(REQUEUE)  # this process stood still for a minute: what it would write now is another one's
            partial.write_text(_me())
            os.replace(partial, file)


def leave_signals_to_the_leader() -> None:
    """Ignore what asks to stop: torchrun tells every rank, and the leader raises the flag that all of them see."""
    for number in CODES:
        signal.signal(number, signal.SIG_IGN)


@dataclass
class Stop:
    """The STOP flag of a run and why it was raised.

    While `can_save`, a signal raises the flag and the stage ends by itself at its next step; else it raises `Stopped`
    on the spot, because a stage that cannot save half of its work is simply done again.
    """

    run: RunFolder
    say: Callable[[str], None]
    code: int | None = None  # of the signal that came; None: none came
    can_save: bool = False
    _deadline: float = math.inf  # when the machine is taken away
    _old: dict[int, Any] = field(default_factory=dict)

    def asked(self) -> bool:
        """Say whether the run was asked to stop, by anybody."""
        return is_raised(stop_flag(self.run))

    def is_late(self) -> bool:
        """Say whether there is no time to wait for what is under way; a person has any."""
        return time.monotonic() > self._deadline

    def stopped(self, words: str) -> Stopped:
        """Return what to raise after the stage has ended because of the flag."""
        return Stopped(f"stopped {words}; run the same command to go on", self.code or INTERRUPTED)

    def __enter__(self) -> "Stop":
        stop_flag(self.run).unlink(missing_ok=True)
        self._old = {number: signal.getsignal(number) for number in CODES}
        self.listen()
        return self

    def listen(self) -> None:
        """Handle the signals; again after somebody else took them, as ray.init takes SIGTERM."""
        for number in CODES:
            signal.signal(number, lambda number, _: self._came(signal.Signals(number)))

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        stop_flag(self.run).unlink(missing_ok=True)

    def _came(self, number: signal.Signals) -> None:
        code = CODES[number]
        self._deadline = min(self._deadline, time.monotonic() + SECONDS_LEFT[number])
        if self.code == INTERRUPTED and code == INTERRUPTED:
            self.say("left at once; the last checkpoint stands")
            lock_file(self.run).unlink(missing_ok=True)
            os._exit(INTERRUPTED)
        by_hand = self.code is None and self.asked()  # who wants the run to end does not want it queued again
        if self.code != INTERRUPTED:
            self.code = INTERRUPTED if by_hand else code
        stop_flag(self.run).touch()
        if not self.can_save:
            raise self.stopped("before the stage was done")
        self.say("saving, then stopping; Ctrl-C again leaves at once")
