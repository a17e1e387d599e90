"""One driver a run folder; a stale lock is taken over; a signal saves where saving is possible."""

import errno
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ckd_dist.runfolder import RunFolder
from launch import lock

HOLD = """
import sys, time
from pathlib import Path
from ckd_dist.runfolder import RunFolder
from launch import lock
with lock.hold(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def write_lock(run, **holder):
    run.root.mkdir(parents=True, exist_ok=True)
    lock.lock_file(run).write_text(json.dumps(holder))


def test_a_second_driver_is_refused_and_takes_over_when_the_first_was_killed(run):
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(run.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "held\n"
        assert lock.at_work(run)["pid"] == first.pid
        with pytest.raises(ValueError, match=f"process {first.pid} on .* is at work"), lock.hold(run):
            pass
    finally:
        first.kill()
        first.wait()
    assert lock.lock_file(run).exists()
    with lock.hold(run):
        assert lock.at_work(run)["pid"] == os.getpid()
    assert not lock.lock_file(run).exists()


def test_a_lock_of_another_host_holds_while_its_heart_beats(run):
    write_lock(run, pid=1, host="elsewhere", heartbeat=time.time())
    assert lock.at_work(run) is not None
    beat = threading.Timer(0.5, write_lock, [run], {"pid": 1, "host": "elsewhere", "heartbeat": time.time() + 1})
    beat.start()
    with pytest.raises(ValueError, match="elsewhere"), lock.hold(run):
        pass
    beat.join()


@pytest.mark.parametrize("age", [0, 5])
def test_a_driver_of_another_host_whose_heart_stands_still_is_dead(run, monkeypatch, age):
    monkeypatch.setattr(lock, "LOCK_SECONDS", 2.0)
    write_lock(run, pid=1, host="elsewhere", heartbeat=time.time() - age)
    with lock.hold(run):
        assert lock.at_work(run)["pid"] == os.getpid()


def test_a_lock_that_another_driver_has_just_taken_is_put_back(run):
    """Between the look at a stale lock and its removal somebody else may take it over."""
    write_lock(run, pid=os.getpid(), host=socket.gethostname(), heartbeat=time.time())
    lock._move_away(lock.lock_file(run))
    assert lock.at_work(run)["pid"] == os.getpid()
    assert [file.name for file in run.root.iterdir()] == ["driver.lock"]


def test_a_driver_whose_run_was_taken_over_leaves_at_once_and_takes_nothing_along(run):
    """As one that was frozen for a minute: the other one's lock stays."""
    code = f"from launch import lock; lock.HEARTBEAT_SECONDS = 0.1\n{HOLD}"
    frozen = subprocess.Popen([sys.executable, "-c", code, str(run.root)], stdout=subprocess.PIPE, text=True)
    assert frozen.stdout.readline() == "held\n"
    write_lock(run, pid=1, host="elsewhere", heartbeat=time.time())
    assert frozen.wait(timeout=20) == lock.REQUEUE
    assert lock.at_work(run)["host"] == "elsewhere"


def test_a_torn_lock_counts_from_its_last_change(run):
    run.root.mkdir()
    file = lock.lock_file(run)
    file.write_text('{"pid": 1')
    with pytest.raises(ValueError, match="is at work"), lock.hold(run):
        pass
    os.utime(file, (time.time() - 2 * lock.LOCK_SECONDS,) * 2)
    with lock.hold(run):
        pass


def test_the_lock_is_private_and_beats(run, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.05)
    with lock.hold(run):
        assert lock.lock_file(run).stat().st_mode & 0o077 == 0
        first = json.loads(lock.lock_file(run).read_text())
        assert first["host"] == socket.gethostname()
        time.sleep(0.3)
        assert json.loads(lock.lock_file(run).read_text())["heartbeat"] > first["heartbeat"]


@pytest.mark.parametrize("number, seconds", [(signal.SIGINT, math.inf), (signal.SIGTERM, 30), (signal.SIGUSR1, 300)])
def test_a_machine_s_signal_leaves_as_long_as_slurm_does_and_a_person_s_for_ever(run, monkeypatch, number, seconds):
    run.root.mkdir()
    with lock.Stop(run, print) as stop:
        stop.can_save, now = True, time.monotonic()
        os.kill(os.getpid(), number)
        assert not stop.is_late()
        monkeypatch.setattr(lock.time, "monotonic", lambda: now + min(seconds, 1e9) - 5)
        assert stop.is_late() == (seconds < math.inf), "and some are left for the end"


def test_a_flag_left_by_an_earlier_run_is_removed(run):
    run.root.mkdir()
    lock.stop_flag(run).touch()
    with lock.Stop(run, print) as stop:
        assert not stop.asked()


@pytest.mark.parametrize(
    "number, code",
    [
        (signal.SIGINT, lock.INTERRUPTED),
        (signal.SIGTERM, lock.REQUEUE),
        (signal.SIGUSR1, lock.REQUEUE),
    ],
)
def test_a_signal_raises_the_flag_where_a_stage_can_save_and_stops_where_it_cannot(run, number, code):
    run.root.mkdir()
    said = []
    with lock.Stop(run, said.append) as stop:
        stop.can_save = True
        os.kill(os.getpid(), number)
        assert stop.asked() and said
        assert stop.stopped("at step 3").code == code
        stop.can_save = False
        with pytest.raises(lock.Stopped, match="run the same command to go on"):
            os.kill(os.getpid(), signal.SIGTERM)
    assert not lock.stop_flag(run).exists()


@pytest.mark.parametrize("later", [(), (signal.SIGUSR1,), (signal.SIGTERM,), (signal.SIGUSR1, signal.SIGTERM)])
def test_a_flag_that_a_person_raised_does_not_ask_to_be_queued_again_whatever_signal_comes_later(run, later):
    run.root.mkdir()
    with lock.Stop(run, lambda words: None) as stop:
        stop.can_save = True
        lock.stop_flag(run).touch()
        for number in later:
            os.kill(os.getpid(), number)
        assert stop.asked() and stop.stopped("").code == lock.INTERRUPTED


def hiccup(file):
    raise OSError(errno.ESTALE, "Stale file handle", str(file))


def test_a_disk_that_hiccups_does_not_stop_the_heart(run, monkeypatch):
    """Nor the look whether somebody has taken over."""
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.05)
    with lock.hold(run):
        file, whole = lock.lock_file(run), lock._read_lock
        monkeypatch.setattr(lock, "_read_lock", hiccup)
        time.sleep(0.3)
        monkeypatch.setattr(lock, "_read_lock", whole)
        first = json.loads(file.read_text())["heartbeat"]
        time.sleep(0.3)
        assert json.loads(file.read_text())["heartbeat"] > first
