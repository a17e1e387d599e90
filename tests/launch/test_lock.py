"""One driver a run folder; a stale lock is taken over; a signal saves where saving is possible."""

import json
import os
import signal
import socket
import subprocess
import sys
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


@pytest.mark.parametrize("age, held", [(0, True), (lock.LOCK_SECONDS + 5, False)])
def test_a_lock_of_another_host_holds_while_its_heart_beats(run, age, held):
    write_lock(run, pid=1, host="elsewhere", heartbeat=time.time() - age)
    assert (lock.at_work(run) is not None) == held
    if held:
        with pytest.raises(ValueError, match="elsewhere"), lock.hold(run):
            pass
    else:
        with lock.hold(run):
            pass


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


def test_a_flag_that_somebody_else_raised_asks_to_be_run_again(run):
    run.root.mkdir()
    with lock.Stop(run, print) as stop:
        lock.stop_flag(run).touch()
        assert stop.asked()
        assert stop.stopped("").code == lock.REQUEUE
