"""Labelling under kills, races, poison and full disks.  The outcome is read from the files by other means."""

import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from safetensors.numpy import load_file

from ckd_dist.endpoints.errors import UnansweredError
from ckd_dist.mistakes import is_mistake
from ckd_dist.softlabels.errors import DiskError, LabelerFault, ShardError
from ckd_dist.softlabels.generate import finish, generate, missing
from ckd_dist.softlabels.read import LabelStream, read_labels
from tests.data import ROOT
from tests.softlabels.fakes import NAMES, calls_of, plan_of, teacher


def worker(root, plan, worker, num_workers, seconds, log, before=()) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "tests.softlabels.worker",
        root,
        plan.plan_hash,
        worker,
        num_workers,
        seconds,
        log,
    ]
    return subprocess.Popen(
        [*before, *map(str, command)], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=PIPE, stderr=PIPE
    )


def audit(folder: Path, plan) -> None:
    """Nothing lost, nothing twice, every hash right, no litter: independently of the code under test."""
    manifests = [json.loads(path.read_text()) for path in sorted(folder.glob("shard-?????.json"))]
    files = {manifest["file"] for manifest in manifests}
    assert {path.name for path in folder.glob("*.safetensors")} == files | {"rows.safetensors"}
    assert not list(folder.glob(".*"))
    ids = []
    for manifest in manifests:
        content = (folder / manifest["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == manifest["sha256"]
        tensors = load_file(folder / manifest["file"])
        np.testing.assert_array_equal(tensors["logits_UK"], teacher(tensors["sample_id_N"]))
        ids.append(tensors["sample_id_N"])
    np.testing.assert_array_equal(np.concatenate(ids), plan.sample_id_N)


@pytest.mark.fault
def test_ten_kills_lose_nothing_and_repeat_one_shard_each(tmp_path):
    """T9 without Ray: two workers over 200 shards, SIGKILL at random moments, rerun until done."""
    plan, log, draw, num_killed = plan_of(800, shard_rows=4), tmp_path / "calls", random.Random(0), 0
    plan.save(tmp_path)
    running = [worker(tmp_path, plan, w, 2, 0.01, log) for w in (0, 1)]
    while num_killed < 10:
        before = len(calls_of(log))
        while len(calls_of(log)) < before + draw.randint(2, 8):
            time.sleep(0.002)
        victim = draw.randrange(2)
        running[victim].kill()
        assert running[victim].wait() == -signal.SIGKILL  # it was still at work
        num_killed += 1
        running[victim] = worker(tmp_path, plan, victim, 2, 0.01, log)
    assert missing(tmp_path, plan)
    assert [process.wait(120) for process in running] == [0, 0]
    assert missing(tmp_path, plan) == []
    finish(tmp_path, plan)
    audit(plan.folder(tmp_path), plan)
    num_again = sum(count - 1 for count in Counter(calls_of(log)).values())
    assert num_again <= num_killed + 2  # and where two sweeps meet

    start, num_calls = time.monotonic(), len(calls_of(log))
    generate(plan, tmp_path, range(plan.num_shards), teacher)
    finish(tmp_path, plan)
    assert len(calls_of(log)) == num_calls and time.monotonic() - start < 5


@pytest.mark.fault
def test_kill_of_a_lone_worker_recomputes_at_most_the_shard_in_flight(tmp_path):
    plan, log = plan_of(), tmp_path / "calls"
    plan.save(tmp_path)
    process = worker(tmp_path, plan, 0, 1, 0.1, log)
    while len(calls_of(log)) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = missing(tmp_path, plan)
    assert left and left[0] in (2, 3)
    assert worker(tmp_path, plan, 0, 1, 0, log).wait() == 0
    finish(tmp_path, plan)
    audit(plan.folder(tmp_path), plan)
    assert sum(count - 1 for count in Counter(calls_of(log)).values()) <= 1


def test_litter_of_the_dead_is_swept_at_the_end(tmp_path):
    plan = plan_of()
    folder = plan.save(tmp_path)
    (folder / ".shard-00001-0123456789abcdef.safetensors.abcd_123.tmp").write_bytes(b"half")
    (folder / "shard-00001-0123456789abcdef.safetensors").write_bytes(b"renamed, never claimed")
    generate(plan, tmp_path, range(plan.num_shards), teacher)
    finish(tmp_path, plan)
    audit(folder, plan)


def test_two_generators_on_every_shard_at_once_are_harmless(tmp_path):
    """They meet on each shard, with logits that differ in a bit, as two devices' may."""
    plan, meet, errors = plan_of(), threading.Barrier(2, timeout=60), []
    plan.save(tmp_path)

    def run(nudge: float) -> None:
        def together(ids):
            meet.wait()
            return teacher(ids) + np.float32(nudge)

        try:
            generate(plan, tmp_path, range(plan.num_shards), together)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(nudge,)) for nudge in (0, 1 / 256)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors and missing(tmp_path, plan) == []
    finish(tmp_path, plan)
    folder = plan.folder(tmp_path)
    assert len(list(folder.glob("shard-*.safetensors"))) == plan.num_shards
    ids, logits = read_labels(tmp_path, plan, NAMES)
    offset = (logits - teacher(ids))[:, 0]
    for number in range(plan.num_shards):  # each shard is wholly one generator's
        assert len(set(offset[plan.rows_of(number)])) == 1


def test_poison_shard_is_set_aside_without_a_word_of_the_record(tmp_path):
    """The others go on, before it and after it."""
    plan, tried = plan_of(), []

    def poisoned(ids):
        tried.append(ids)
        if ids[0] == plan.sample_ids_of(2)[0]:
            raise ValueError("cannot read 'Mr Canary has sepsis'")
        return teacher(ids)

    with pytest.raises(
        ShardError, match=r"1 shards could not be labelled.*shard-00002 \(3 attempts, ValueError at"
    ) as e:
        generate(plan, tmp_path, range(plan.num_shards), poisoned)
    assert len(tried) == plan.num_shards + 2 and missing(tmp_path, plan) == [2]
    error_file = plan.folder(tmp_path) / "shard-00002.error.json"
    assert "Canary" not in str(e.value) + error_file.read_text()
    for read in (lambda: finish(tmp_path, plan), lambda: LabelStream(tmp_path, plan).labels_of(2)):
        with pytest.raises(ShardError, match="shard-00002"):
            read()
    generate(plan, tmp_path, missing(tmp_path, plan), teacher)  # the fault is mended
    assert not error_file.exists()
    finish(tmp_path, plan)
    audit(plan.folder(tmp_path), plan)


def test_teacher_that_diverges_is_named(tmp_path):
    plan = plan_of()
    with pytest.raises(ShardError, match="3 numbers of logits_UK are not finite"):
        generate(plan, tmp_path, [1], lambda ids: np.where(ids[:, None] == ids[0], np.nan, teacher(ids)))


def test_shard_that_fails_once_is_tried_again(tmp_path):
    plan, failures = plan_of(), iter([MemoryError()])

    def stumbling(ids):
        if error := next(failures, None):
            raise error
        return teacher(ids)

    generate(plan, tmp_path, range(plan.num_shards), stumbling)
    finish(tmp_path, plan)
    audit(plan.folder(tmp_path), plan)
    assert json.loads((plan.folder(tmp_path) / "shard-00000.json").read_text())["attempt"]["attempt"] == 2


class Failing:
    """A teacher that raises the same whenever it is asked, or the first few times."""

    def __init__(self, error: Exception, times: int = 10**9):
        self.error, self.times, self.asked = error, times, 0

    def __call__(self, ids):
        self.asked += 1
        if self.asked <= self.times:
            raise self.error
        return teacher(ids)


GPU, STALE = RuntimeError("CUDA error: uncorrectable ECC error"), OSError(errno.ESTALE, "Stale file handle")
FULL = OSError(errno.ENOSPC, "No space left on device")
AWAY = UnansweredError("labeler 'llm': http://127.0.0.1:8000/v1 cannot be reached")


@pytest.mark.parametrize(("fault", "tries"), [(GPU, 1), (STALE, 2), (TimeoutError(), 2), (AWAY, 2), (FULL, 1)])
def test_a_machine_s_fault_leaves_as_it_is_and_sets_no_shard_aside(tmp_path, fault, tries):
    """A fresh worker may do better: a GPU that is lost would fail shard after shard in this process."""
    plan, failing = plan_of(), Failing(fault)
    with pytest.raises(type(fault)) as raised:
        generate(plan, tmp_path, range(plan.num_shards), failing)
    assert raised.value is fault and failing.asked == tries
    assert not list(plan.folder(tmp_path).glob("*.error.json")) and len(missing(tmp_path, plan)) == plan.num_shards


def test_a_file_system_that_hiccups_once_costs_one_try(tmp_path):
    plan = plan_of()
    generate(plan, tmp_path, range(plan.num_shards), Failing(STALE, times=1))
    finish(tmp_path, plan)
    audit(plan.folder(tmp_path), plan)


def test_a_disk_that_cannot_be_written_is_no_mistake_of_the_shard(tmp_path, monkeypatch):
    """It fails for as long as three tries of a shard would take, and is whole again for what tells of them."""
    plan, fsync, errors = plan_of(), os.fsync, iter([errno.EIO] * 3)
    plan.save(tmp_path)

    def broken(descriptor):
        if code := next(errors, None):
            raise OSError(code, os.strerror(code))
        return fsync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error") as raised:
        generate(plan, tmp_path, range(plan.num_shards), teacher)
    monkeypatch.undo()
    assert raised.value.errno == errno.EIO and not is_mistake(raised.value)
    assert not list(plan.folder(tmp_path).glob("*.error.json"))


@pytest.mark.parametrize("words", ["cannot read 'Mr Canary has sepsis'", "Canary: eccentric hypertrophy, a driver"])
def test_a_stranger_s_exception_leaves_without_a_word_of_the_record(tmp_path, words):
    """It may be the machine's, so it is no mistake; words that a machine has too may be those of a note."""
    plan, failing = plan_of(), Failing(RuntimeError(words))
    with pytest.raises(LabelerFault, match=r"shard-00002 could not be labelled: RuntimeError at test_generate.py") as e:
        generate(plan, tmp_path, [2], failing)
    assert failing.asked == 1 and not is_mistake(e.value)
    assert "Canary" not in "".join(traceback.format_exception(e.value))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_full_disk_stops_with_one_sentence_and_leaves_what_is_finished(tmp_path, monkeypatch, code):
    """The system refuses at every place where a shard's bytes go to disk, one after the other."""
    plan = plan_of()
    folder = plan.save(tmp_path)
    generate(plan, tmp_path, [0, 1], teacher)
    finished = {path.name: path.read_bytes() for path in folder.iterdir()}
    fsync, calls, refused = os.fsync, 0, 0

    for place in range(3):  # the shard's bytes; its name; its manifest's bytes
        calls = 0

        def full(descriptor, place=place):
            nonlocal calls, refused
            calls += 1
            if calls > place:
                refused += 1
                raise OSError(code, os.strerror(code))
            return fsync(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DiskError, match=f"shard-00002.*{os.strerror(code)}.*run the same command again"):
            generate(plan, tmp_path, range(plan.num_shards), teacher)
        monkeypatch.undo()
        assert refused == place + 1  # it fired
        assert missing(tmp_path, plan) == [2, 3, 4, 5, 6]
        assert not list(folder.glob(".*"))
        assert {name: (folder / name).read_bytes() for name in finished} == finished
    generate(plan, tmp_path, range(plan.num_shards), teacher)
    finish(tmp_path, plan)
    audit(folder, plan)


DISKS = {
    "No space left on device": "mount -t tmpfs -o size=160k none $DISK && cp -r $PLANS/* $DISK",
    "Read-only file system": "mount -t tmpfs none $DISK && cp -r $PLANS/* $DISK && mount -o remount,ro $DISK",
}


@pytest.mark.fault
@pytest.mark.parametrize("refusal", DISKS)
def test_disk_that_really_is_full_or_read_only(tmp_path, refusal):
    """A file system of its own in a user namespace; its last state is listed after the worker has given up."""
    disk, plans, log, plan = tmp_path / "disk", tmp_path / "plans", tmp_path / "calls", plan_of(4000, shard_rows=500)
    disk.mkdir()
    plan.save(plans)
    shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*shell, f"mount -t tmpfs none {disk}"], check=False).returncode:
        pytest.skip("no user namespaces with mounts here")
    script = f'DISK={disk} PLANS={plans}; {DISKS[refusal]} && "$@"; code=$?; ls -A $DISK/*; exit $code'
    process = worker(disk, plan, 0, 1, 0, log, before=[*shell, script, "sh"])
    listed, errors = (text.decode() for text in process.communicate(timeout=120))
    assert process.returncode == 1 and f"({refusal}): make room or give access" in errors.splitlines()[-1]
    num_finished = len(re.findall(r"^shard-\d{5}\.json$", listed, re.MULTILINE))
    assert num_finished == len(calls_of(log)) - 1  # all but the one that met the fault
    assert (num_finished > 0) == (refusal == "No space left on device")
    assert ".tmp" not in listed


def test_student_may_read_while_the_teacher_labels(tmp_path):
    """The same rows as waiting, though shards come out of order and late."""
    plan = plan_of(200, shard_rows=8)
    plan.save(tmp_path)
    numbers = random.Random(0).sample(range(plan.num_shards), plan.num_shards)
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        time.sleep(seconds)

    def slow(ids):
        time.sleep(0.005)
        return teacher(ids)

    stream = LabelStream(tmp_path, plan, timeout_seconds=60, poll_seconds=0.002, sleep=sleep)
    labelling = threading.Thread(target=generate, args=(plan, tmp_path, numbers, slow))
    labelling.start()
    while_labelling = np.concatenate([stream.logits_of(range(row, row + 5)) for row in range(0, 200, 5)])
    labelling.join()
    assert waits  # it did have to wait
    finish(tmp_path, plan)
    np.testing.assert_array_equal(while_labelling, read_labels(tmp_path, plan, NAMES)[1])
    np.testing.assert_array_equal(while_labelling, LabelStream(tmp_path, plan).logits_of(range(200)))
    assert stream.logits_of([]).shape == (0, len(NAMES))


def test_waiting_ends_with_a_sentence(tmp_path):
    """The clock starts anew with every shard that comes, whichever it is."""
    plan, slept = plan_of(), []
    plan.save(tmp_path)

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            generate(plan, tmp_path, [5], teacher)

    stream = LabelStream(tmp_path, plan, timeout_seconds=10, poll_seconds=2, sleep=sleep)
    with pytest.raises(ShardError, match=r"shard-00000 has not come.*for 10 seconds \(1 of 7 are there\)"):
        stream.wait_for_rows(9)
    assert len(slept) == 3 + 5
    generate(plan, tmp_path, [0, 1], teacher)
    stream.wait_for_rows(9)
    np.testing.assert_array_equal(stream.logits_of([8, 3]), teacher(plan.sample_id_N[[8, 3]]))


def test_stream_refuses_a_damaged_shard(tmp_path):
    plan = plan_of()
    generate(plan, tmp_path, range(plan.num_shards), teacher)
    file = next(plan.folder(tmp_path).glob("shard-00001-*"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ShardError, match=r"shard-00001.*altered"):
        LabelStream(tmp_path, plan).logits_of(range(20))
