"""One driver a run folder, and an orderly end: the lock, the STOP flag, and the signals that raise it.

The flag is a file because ranks on other nodes see it, with or without Ray, and because `touch RUN/STOP` is all that a
Slurm script or a person needs.  Not covered: two hosts whose clocks differ by more than LOCK_SECONDS.
"""

import contextlib
import json
import os
import signal
import socket
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
REQUEUE = 85  # exit code: saved, run me again
INTERRUPTED = 130  # exit code: Ctrl-C


class Stopped(Exception):  # noqa: N818 - not an error
    """The run was asked to stop, saved, and did."""

    def __init__(self, words: str, code: int):
        super().__init__(words)
        self.code = code


class Failure(Exception):  # noqa: N818
    """A stage failed for a reason that is nobody's mistake in the recipe: workers that died, too often."""


def stop_flag(run: RunFolder) -> Path:
    """Return the file that every rank looks for: where it exists the stage saves and returns."""
    return run.root / "STOP"


def lock_file(run: RunFolder) -> Path:
    """Return the file with process, host and last heartbeat of the driver that is at work."""
    return run.root / "driver.lock"


def ray_folder(run: RunFolder) -> Path:
    """Return the folder of Ray's own notes while a stage trains."""
    return run.root / "ray"


def error_file(run: RunFolder) -> Path:
    """Return the file with the whole of the last failure, for whoever wants more than its sentence."""
    return run.root / "error.log"


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
        if _read_lock(file).get("pid") == os.getpid():
            file.unlink(missing_ok=True)


def _take(file: Path) -> None:
    """Create the lock file, or take over a stale one.  Creation is atomic, and so is moving a stale one away."""
    for _ in range(3):
        try:
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            holder = _read_lock(file)
            if _is_alive(holder):
                raise ValueError(
                    f"{file.parent}: process {holder['pid']} on {holder['host']} is at work in this run folder; "
                    f"wait for it, or give another --run"
                ) from None
            with contextlib.suppress(FileNotFoundError):
                os.rename(file, stale := file.with_suffix(f".{os.getpid()}.stale"))
                stale.unlink()
        else:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(_me())
            return
    raise ValueError(f"{file.parent}: several drivers start in this run folder at once; try again")


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
    if holder["host"] != socket.gethostname() or not holder["pid"]:
        return True
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _heartbeat(file: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        partial = file.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(OSError):  # a full disk must not end the run
            partial.write_text(_me())
            os.replace(partial, file)


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
    _old: dict[int, Any] = field(default_factory=dict)

    def asked(self) -> bool:
        """Say whether the run was asked to stop, by anybody."""
        return stop_flag(self.run).exists()

    def stopped(self, words: str) -> Stopped:
        """Return what to raise after the stage has ended because of the flag."""
        return Stopped(f"stopped {words}; run the same command to go on", REQUEUE if self.code is None else self.code)

    def __enter__(self) -> "Stop":
        stop_flag(self.run).unlink(missing_ok=True)
        codes = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: REQUEUE, signal.SIGUSR1: REQUEUE}
        for number, code in codes.items():
            self._old[number] = signal.signal(number, lambda *_, code=code: self._came(code))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        stop_flag(self.run).unlink(missing_ok=True)

    def _came(self, code: int) -> None:
        if self.code == INTERRUPTED and code == INTERRUPTED:
            self.say("left at once; the last checkpoint stands")
            lock_file(self.run).unlink(missing_ok=True)
            os._exit(INTERRUPTED)
        self.code = code
        stop_flag(self.run).touch()
        if not self.can_save:
            raise self.stopped("before the stage was done")
        self.say("saving, then stopping; Ctrl-C again leaves at once")
