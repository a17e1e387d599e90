"""Steps go on while a checkpoint is written; killed or without room meanwhile, an earlier one is gone on from."""

import errno
import os
import resource
import signal
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from threading import Event, Timer

import numpy as np
import pytest
import torch

from ckd_dist.engine import checkpoint
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import TrainingSchedule, fit
from ckd_dist.engine.saver import Saver
from ckd_dist.engine.tensors import FILE
from ckd_dist.mistakes import is_mistake
from ckd_dist.study import no_op
from ckd_dist.world import World
from tests.engine.fakes import OPTIM, TinyReader, TinyTask, loss_fn, phase_of, planned, run_ranks

BATCHES = 4  # micro-batches a step on one rank
PLAN = TrainingSchedule(40, evaluate_every=40, save_every=2)
UNSAVED = replace(PLAN, save_every=0)


class Held(DdpEngine):
    """Writes nothing until `later` is set; on no more than one save at a time, of which no copy outlives it."""

    def __init__(self):
        super().__init__(TinyReader(), OPTIM, World())
        self.later, self.copy = Event(), lambda: None

    def begin_save(self, folder):
        deadline = time.monotonic() + 5
        while self.copy() is not None:  # the thread that ends lets go of it a moment later
            assert time.monotonic() < deadline, "two copies of the state are held"
        write = super().begin_save(folder)
        self.copy = weakref.ref(write)
        return partial(self.write, write)

    def write(self, write):
        assert self.later.wait(60)
        write()


def fitted(folder, engine=None, plan=PLAN, loss=loss_fn, optim=OPTIM, **callbacks):
    """Fit to the end, on one rank; return the weights."""
    engine = engine or DdpEngine(TinyReader(), OPTIM, World())
    steps = partial(planned, world=World())
    fit(engine, TinyTask(loss), steps, plan, phase_of(folder, optim, **callbacks), lambda: {"score": 0.5})
    return {name: weight.numpy() for name, weight in engine.full_weights().items()}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The weights of a run that saved nothing on its way."""
    return fitted(tmp_path_factory.mktemp("unbroken"), plan=UNSAVED)


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


@pytest.mark.parametrize(
    ("first", "plan", "minutes"), [(2, UNSAVED, 1e-9), (10, replace(PLAN, save_every=10), 15)], ids=["clock", "every"]
)
def test_steps_go_on_while_it_is_written(tmp_path, unbroken, first, plan, minutes):
    """The first save is held for five steps: it is said then, with the step that it holds."""
    engine, batches, said, whole = Held(), [], [], []

    def loss(logits_UK, batch):
        batches.append(batch)
        if len(batches) > (first + 5) * BATCHES:
            engine.later.set()
        return loss_fn(logits_UK, batch)

    def committed(path, step, numbers):
        assert checkpoint.read_checkpoint(path, "d").step == step
        whole.append((step, len(batches) // BATCHES))

    def track(done, total, **numbers):
        said.append((done, int(numbers.get("saved", 0))))

    optim = replace(OPTIM, save_minutes=minutes)
    same(fitted(tmp_path, engine, plan, loss, optim, committed=committed, track=track), unbroken)
    assert whole[0][0] == first and first + 5 <= whole[0][1] and whole[-1] == (40, 40)
    assert [step for _, step in said if step] == [step for step, _ in whole]
    assert all(before <= after for (before, _), (after, _) in pairwise(said)), "progress never goes back"
    assert all(step <= done for done, step in said)


# --- damaged ----------------------------------------------------------------------------------------------------------


def resumed(folder):
    """A new attempt on one rank, and the step from which it goes on."""
    saver = Saver(DdpEngine(TinyReader(), OPTIM, World()), folder, "d", "score", no_op)
    return saver, saver.resume()


def saved(saver, *steps):
    for step in steps:
        saver.begin(step, {})
        saver.finish()


@pytest.mark.parametrize("injury", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:-1]])
def test_a_damaged_newest_one_deletes_no_later_save(tmp_path, caplog, injury):
    """Its step is beyond what is saved next.  It goes once that is whole, and the one before it stays."""
    saved(resumed(tmp_path)[0], 100, 400, 500)
    hurt = tmp_path / checkpoint.name_of(500, 1, 1)
    (hurt / FILE).write_bytes(injury((hurt / FILE).read_bytes()))
    saver, step = resumed(tmp_path)
    (line,) = caplog.messages
    assert step == 400 and line.endswith("; the damaged are deleted once the next one is whole")
    assert hurt.is_dir()
    saved(saver, 450)
    assert {path.name[5:] for path in tmp_path.iterdir()} >= {"000450-w1-a2", "000400-w1-a1"}
    assert not hurt.exists()
    saved(saver, 460)
    assert resumed(tmp_path)[1] == 460 and len(caplog.messages) == 1


def unread(manifest: Path) -> bytes:
    """Let a manifest be what the system cannot read: the beginning of a process's memory.  Return what it held."""
    kept = manifest.read_bytes()
    manifest.unlink()
    manifest.symlink_to("/proc/self/mem")
    return kept


def test_what_cannot_be_read_is_passed_over_in_one_line_and_gone_on_from_once_it_can_be(tmp_path, caplog):
    saved(resumed(tmp_path)[0], 100, 400, 500)
    manifest = tmp_path / checkpoint.name_of(500, 1, 1) / checkpoint.MANIFEST
    kept = unread(manifest)
    saver, step = resumed(tmp_path)
    assert step == 400 and caplog.messages == [
        "go on from step 400; checkpoints passed over: step_000500-w1-a1: cannot be read now ([Errno 5] Input/output "
        "error); what cannot be read is kept"
    ]
    saved(saver, 410, 420, 430)
    manifest.unlink()
    manifest.write_bytes(kept)
    assert resumed(tmp_path)[1] == 500


def steps_of(world, folder):
    """Whence each rank goes on, or the error's number where it cannot."""
    try:
        return Saver(DdpEngine(TinyReader(), OPTIM, world), Path(folder), "d", "score", no_op).resume()
    except OSError as error:
        return -error.errno


def test_all_ranks_go_on_from_the_same_older_one_or_all_raise(tmp_path):
    saved(resumed(tmp_path / "two")[0], 100, 200)
    saved(resumed(tmp_path / "one")[0], 200)
    for folder in ("two", "one"):
        unread(tmp_path / folder / checkpoint.name_of(200, 1, 1) / checkpoint.MANIFEST)
    assert run_ranks(2, steps_of, str(tmp_path / "two")) == [100, 100]
    assert run_ranks(2, steps_of, str(tmp_path / "one")) == [-errno.EIO] * 2


def test_the_clock_of_saves_goes_on_where_the_last_one_was_sealed(tmp_path):
    """Ranks that start anew every ten minutes would else never come to a save after fifteen."""
    saved(resumed(tmp_path)[0], 100)
    for minutes, due in ((10, False), (20, True)):
        os.utime(tmp_path / checkpoint.name_of(100, 1, 1) / checkpoint.MARKER, (time.time() - 60 * minutes,) * 2)
        engine = DdpEngine(TinyReader(), OPTIM, World())
        saver = Saver(engine, tmp_path, "d", "score", no_op, seconds=15 * 60)
        saver.resume()
        assert saver.is_due() == due


# --- no mistake of the disk -------------------------------------------------------------------------------------------


def fail(error):
    raise error


FAILURES = {
    "mistake": partial(fail, TypeError("no such dtype")),
    "memory": partial(fail, torch.OutOfMemoryError("CUDA out of memory")),
    "machine": partial(fail, RuntimeError("CUDA error: uncorrectable ECC error")),
    "stale": partial(fail, OSError(errno.ESTALE, "Stale file handle")),
    "lost": partial(fail, OSError(errno.EIO, "Input/output error")),
    "full": partial(fail, OSError(errno.ENOSPC, "No space left on device")),
    "quota": partial(fail, OSError(errno.EDQUOT, "Disk quota exceeded")),
    "torch": partial(torch.save, {"a": torch.ones(10**5)}, "/dev/full"),
}


ADVICE = ("make room", "see whether there is room", "earlier ones stand")


class Failing(DdpEngine):
    """Cannot copy on the last rank, or cannot write on the leader."""

    def __init__(self, world, why, copies):
        super().__init__(TinyReader(), OPTIM, world)
        self.why, self.copies = why, copies

    def begin_save(self, folder):
        if not self.copies and self.world.rank == self.world.num_ranks - 1:
            FAILURES[self.why]()
        return FAILURES[self.why]


def failed_saves(world, folder):
    """What each rank raised, and whether it is a mistake, of every failure at either place."""
    found = {}
    for why, copies in product(FAILURES, (True, False)):
        saver = Saver(Failing(world, why, copies), Path(folder, why, str(copies)), "d", "score", no_op)
        saver.resume()
        try:
            saved(saver, 2)
        except Exception as error:
            said = next((words for words in ADVICE if words in str(error)), "")
            found[why, copies] = type(error).__name__, is_mistake(error), said
    return found


def test_what_is_no_error_of_the_disk_keeps_its_kind_and_of_the_disk_s_a_full_one_alone_wants_room(tmp_path):
    leader, other = run_ranks(2, failed_saves, str(tmp_path))
    kinds = {
        "mistake": ("TypeError", True, ""),
        "memory": ("OutOfMemoryError", True, ""),
        "machine": ("RuntimeError", False, ""),
        "stale": ("OSError", False, ADVICE[2]),
        "lost": ("OSError", False, ADVICE[2]),
        "full": ("OSError", True, ADVICE[0]),
        "quota": ("OSError", True, ADVICE[0]),
        "torch": ("OSError", False, ADVICE[1]),
    }
    assert leader == other == {(why, copies): kind for why, kind in kinds.items() for copies in (True, False)}
    assert not list(tmp_path.rglob("step_*")), "nothing is left of them"


# --- no room ----------------------------------------------------------------------------------------------------------


def without_room(world, folder):
    """What each rank raised where no file may be longer than some bytes, from step 4 on; and how far it was."""
    engine, done = DdpEngine(TinyReader(), OPTIM, world), []

    def loss(logits_UK, batch):
        done.append(batch)
        if len(done) == 3 * BATCHES // world.num_ranks:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        time.sleep(0.02)
        return loss_fn(logits_UK, batch)

    try:
        fit(engine, TinyTask(loss), partial(planned, world=world), PLAN, phase_of(Path(folder)), dict)
    except OSError as error:
        return error.errno, error.strerror, len(done) * world.num_ranks // BATCHES
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.fault
def test_without_room_all_ranks_raise_the_same_and_earlier_ones_stand(tmp_path):
    leader, other = run_ranks(2, without_room, str(tmp_path))
    assert leader == other and leader[0] == errno.EFBIG
    assert leader[1].startswith("checkpoint could not be written (") and "earlier ones stand" in leader[1]
    assert 4 < leader[2] < 8, "it is said while steps go on"
    assert [path.name for path in tmp_path.iterdir()] == ["step_000002-w2-a1"]
    assert checkpoint.newest_whole(tmp_path, "d")[0].step == 2


# --- killed -----------------------------------------------------------------------------------------------------------


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_after_commit(_world, folder, draw):
    """Be killed within 0.3 s after a checkpoint of a step below ten is whole, both at random."""
    random = np.random.default_rng(draw)
    chosen, seconds, timers = random.integers(1, 10), random.uniform(0, 0.3), []

    def slow(logits_UK, batch):
        time.sleep(0.01)
        return loss_fn(logits_UK, batch)

    def committed(path, step, numbers):
        if step >= chosen and not timers:
            Path(folder, "whole").write_text(str(step))
            timers.append(Timer(seconds, kill))
            timers[0].start()

    fitted(Path(folder), loss=slow, committed=committed)


def killed_at(_world, folder, place):
    """Be killed while the checkpoint of step 6 is written: in the middle of a file, or at an event of Python's."""

    class Half(DdpEngine):
        def begin_save(self, folder):
            write = super().begin_save(folder)
            return partial(half, folder, write) if "000006" in folder.name else write

    def half(folder, write):
        write()
        content = (folder / FILE).read_bytes()
        (folder / FILE).write_bytes(content[: len(content) // 2])
        kill()

    def hook(event, given):
        text = " ".join(map(str, given))
        if (event == "os.rename" and place in text and "000006" in text) or (event == place and "000004" in text):
            kill()

    sys.addaudithook(hook)
    fitted(Path(folder), (Half if place == FILE else DdpEngine)(TinyReader(), OPTIM, World()))


@pytest.mark.fault
def test_killed_soon_after_a_commit_it_goes_on_from_that_very_checkpoint(tmp_path, unbroken):
    """50 draws.  A newer one may be whole by then.  Five of them go on to the end."""
    folders = [tmp_path / str(draw) for draw in range(50)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(10) as pool:
        ends = pool.map(
            lambda draw: run_ranks(1, killed_after_commit, str(folders[draw]), draw, expect_death=True), range(50)
        )
    assert list(ends) == [[-signal.SIGKILL]] * 50, "the fault fires"
    for draw, folder in enumerate(folders):
        found, _ = checkpoint.newest_whole(folder, "d")
        assert int((folder / "whole").read_text()) <= found.step < PLAN.num_steps
        if draw % 10 == 0:
            seen = []
            same(fitted(folder, plan=UNSAVED, track=lambda done, *_, seen=seen, **__: seen.append(done)), unbroken)
            assert seen[0] == found.step + 1


@pytest.mark.fault
@pytest.mark.parametrize(
    ("place", "step"), [(FILE, 4), (checkpoint.MANIFEST, 4), (checkpoint.MARKER, 4), ("shutil.rmtree", 8)]
)
def test_killed_while_it_is_written_or_older_ones_go_the_newest_whole_one_is_taken(
    tmp_path, unbroken, caplog, place, step
):
    assert run_ranks(1, killed_at, str(tmp_path), place, expect_death=True) == [-signal.SIGKILL], "the fault fires"
    seen = []
    same(fitted(tmp_path, plan=UNSAVED, track=lambda done, *_, **__: seen.append(done)), unbroken)
    assert seen[0] == step + 1
    torn = f"go on from step 4; checkpoints passed over: step_000006-w1-a1: never completed ({checkpoint.MARKER} is "
    assert [line.startswith(torn) for line in caplog.messages] == [True] * (step == 4)
