"""The faults: how each is made to happen to a training, how it was seen to happen, and what is then asserted."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ckd_dist.progress import last
from launch.lock import CODES, INTERRUPTED, REQUEUE
from tests.end_to_end.small import flip
from tests.launch.fault_points import notes
from tests.launch.fault_runs import FROZEN_SECONDS, SAVE_EVERY, Disturbed, Recovery, Row, is_alive, is_whole

AFTER_SAVE = 0.3  # seconds within which a rank is killed after a save


@dataclass(frozen=True)
class Fault:
    """A fault.  strike: makes it happen, asserts that it did, returns when.

    code: of the driver, where the fault ends it; the same command then goes on.  between: what happens before that.
    costs: most steps that it may cost.
    """

    name: str
    when: str
    strike: Callable[[Disturbed], float]
    code: int | None = None
    between: Callable[[Disturbed], None] | None = None
    costs: float = 2 * SAVE_EVERY  # a save may be under way


def suffer(training: Disturbed, fault: Fault) -> Recovery:
    """Let a fault happen, wait until training goes on, and assert that it cost no more than it may."""
    said = len(training.said)
    moment = fault.strike(training)
    if fault.code is not None:
        training.wait_for_exit(fault.code)
        if fault.between:
            fault.between(training)
    whole = max(training.whole(), default=0)
    if fault.costs == 0:
        saved = last(training.run.progress(training.stage)).numbers.get("saved")
        assert saved == whole, f"{fault.name}: the screen says that {saved} is saved, {whole} is"
    if fault.code is not None:
        training.start()
        moment = training.began
    recovery = training.wait_for_recovery(moment)
    assert recovery.resumed >= whole, f"{fault.name}: it went on from {recovery.resumed}, {whole} was whole"
    assert recovery.lost <= fault.costs, f"{fault.name}: {recovery}"
    if fault.code is None:
        assert "trying again" in training.said[said:], f"{fault.name}: nothing was said of it"
    return recovery


def row_of(fault: Fault, recovery: Recovery, equal: bool) -> Row:
    """Put a fault that was survived into the table's words."""
    lost = f"{recovery.lost} steps" if recovery.lost != 1 else "1 step"
    return Row(fault.name, fault.when, lost, f"{recovery.seconds:.0f} s", "equal" if equal else "DIFFERENT")


# --- ranks -----------------------------------------------------------------------------------------------------------


def kill(training: Disturbed, rank: int) -> float:
    """SIGKILL a rank."""
    pid, moment = training.pid_of(rank), time.time()
    os.kill(pid, signal.SIGKILL)
    training.wait_until(lambda: not is_alive(pid), every=0.005)
    return moment


def kill_after_save(training: Disturbed, rank: int) -> float:
    """SIGKILL a rank at a random moment within AFTER_SAVE after a checkpoint was sealed."""
    before = {path.parent for path in training.folder.glob("step_*/COMMITTED")}
    sealed = training.wait_until(lambda: {f.parent for f in training.folder.glob("step_*/COMMITTED")} - before, every=0)
    time.sleep(random.uniform(0, AFTER_SAVE))
    moment = kill(training, rank)
    assert all(map(is_whole, sealed)), "it was killed after the seal"
    return moment


def kill_while_saving(training: Disturbed, rank: int) -> float:
    """SIGKILL a rank, the leader, between the first and the last file of a checkpoint."""
    for _ in range(5):
        started = training.wait_until(lambda: unsealed(training.folder), every=0)
        moment = kill(training, rank)
        if any(path.exists() and not (path / "COMMITTED").exists() for path in started):
            return moment
        training.wait_for_recovery(moment)  # the seal was quicker
    raise AssertionError("each time the checkpoint was sealed before the rank was dead")


def unsealed(folder: Path) -> list[Path]:
    """Checkpoints that are being written."""
    return [path for path in folder.glob("step_*") if not (path / "COMMITTED").exists()]


def raised(kind: str, rank: int) -> Callable[[Disturbed], float]:
    """Return what makes a rank raise an error at its next update."""

    def strike(training: Disturbed) -> float:
        num = len(training.trace("struck"))
        (order := notes(training.run) / "order").write_text(kind)
        order.rename(notes(training.run) / f"raise-{rank}")
        struck = training.wait_until(lambda: training.trace("struck")[num:])
        assert (struck[0]["who"], struck[0]["kind"]) == (rank, kind)
        return struck[0]["time"]

    return strike


def freeze(training: Disturbed, rank: int) -> float:
    """SIGSTOP a rank: it lives, and does nothing."""
    pid, moment = training.pid_of(rank), time.time()
    os.kill(pid, signal.SIGSTOP)
    training.wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", every=0.005)
    return moment


# --- the driver ------------------------------------------------------------------------------------------------------


def signalled(number: int) -> Callable[[Disturbed], float]:
    """Return what sends a signal to the driver."""

    def strike(training: Disturbed) -> float:
        moment = time.time()
        training.driver.send_signal(number)
        return moment

    return strike


def touch_stop(training: Disturbed) -> float:
    """Ask by the file that a person can make."""
    (training.run.root / "STOP").touch()
    return time.time()


# --- files, between two drivers --------------------------------------------------------------------------------------


def damage(how: Callable[[Path], None]) -> Callable[[Disturbed], None]:
    """Return what damages the newest checkpoint, and asserts that it is whole no more and an older one is."""

    def between(training: Disturbed) -> None:
        *_, older, newest = training.whole()
        folder = next(path for path in training.folder.glob(f"step_{newest:06d}-*") if is_whole(path))
        how(folder / "trainable.safetensors")
        assert training.whole()[-1] == older

    return between


def truncate(file: Path) -> None:
    """Cut the last half off a file."""
    os.truncate(file, file.stat().st_size // 2)


def tear_notes(training: Disturbed) -> None:
    """Cut Ray's own notes of a training in two, as a crash in the middle of writing them does."""
    notes_of_ray = list((training.run.root / "ray").rglob("checkpoint_manager_snapshot.json"))
    assert notes_of_ray, "the killed driver left Ray's notes"
    for file in notes_of_ray:
        truncate(file)


WHILE = "while steps are made"
RANK_FAULTS = (
    Fault("SIGKILL of a rank, not the leader", WHILE, lambda training: kill(training, 1)),
    Fault("SIGKILL of the leader's rank", WHILE, lambda training: kill(training, 0)),
    Fault("SIGKILL of a rank", "0 to 0.3 s after a save", lambda training: kill_after_save(training, 1)),
    Fault(
        "SIGKILL of the leader's rank", "while a checkpoint is written", lambda training: kill_while_saving(training, 0)
    ),
    Fault("uncorrectable ECC error in a rank", "before an update", raised("ECC", 1)),
    Fault("stale file handle (ESTALE) in the leader's rank", "before an update", raised("ESTALE", 0)),
    Fault("input/output error (EIO) in a rank", "before an update", raised("EIO", 1)),
    Fault("frozen rank (SIGSTOP)", f"{WHILE}; given up after {FROZEN_SECONDS} s", lambda training: freeze(training, 1)),
)
STOPS = (
    Fault("SIGTERM to the driver", WHILE, signalled(signal.SIGTERM), CODES[signal.SIGTERM], costs=0),
    Fault("SIGINT (Ctrl-C) to the driver", WHILE, signalled(signal.SIGINT), CODES[signal.SIGINT], costs=0),
    Fault("SIGUSR1 to the driver", WHILE, signalled(signal.SIGUSR1), CODES[signal.SIGUSR1], costs=0),
    Fault("touch RUN/STOP", WHILE, touch_stop, INTERRUPTED, costs=0),
    Fault("SIGKILL of the driver", WHILE, signalled(signal.SIGKILL), -signal.SIGKILL),
)
IN_CI = tuple(fault for fault in STOPS if "USR1" not in fault.name)  # which Slurm sends in test_slurm.py
TORN_NOTES = Fault(
    "Ray's notes in RUN/ray torn", "after SIGKILL of the driver", signalled(signal.SIGKILL), -signal.SIGKILL, tear_notes
)
TRUNCATED = Fault(
    "newest checkpoint truncated", "between two starts", signalled(signal.SIGTERM), REQUEUE, damage(truncate)
)
FLIPPED = Fault(
    "bit of the newest checkpoint flipped",
    "between two starts",
    signalled(signal.SIGTERM),
    REQUEUE,
    damage(flip),
)
DAMAGES = (TRUNCATED, FLIPPED, TORN_NOTES)
