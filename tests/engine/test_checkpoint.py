"""A checkpoint is whole or it is nothing, and nothing is never loaded."""

import errno
import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors import SafetensorError

from ckd_dist.engine import checkpoint
from ckd_dist.engine.tensors import FILE, read_state, write_state
from ckd_dist.engine.zero import refuse_foreign_classes


def save(folder, step, digest="d", attempt=1, num_ranks=2, **numbers):
    """A committed checkpoint with two files, as of a rank each."""
    path = folder / checkpoint.name_of(step, num_ranks, attempt)
    (path / "native").mkdir(parents=True)
    (path / "native" / "rank0.pt").write_bytes(bytes(range(200)))
    (path / FILE).write_bytes(b"weights of step %d" % step * 20)
    return checkpoint.commit(path, digest, numbers)


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


MANIFEST, MARKER, OF_A_RANK = "MANIFEST.json", "COMMITTED", "native/rank0.pt"
INJURIES = {  # of the file that is named
    "never sealed": (MARKER, Path.unlink),
    "marker torn": (MARKER, truncate),
    "marker empty": (MARKER, empty),
    "marker flipped": (MARKER, lambda file: flip(file, 5)),
    "manifest gone": (MANIFEST, Path.unlink),
    "manifest torn": (MANIFEST, truncate),
    "manifest flipped": (MANIFEST, lambda file: flip(file, 40)),
    "weights truncated": (FILE, truncate),
    "weights flipped": (FILE, lambda file: flip(file, 100)),
    "weights gone": (FILE, Path.unlink),
    "weights empty": (FILE, empty),
    "weights swapped": (FILE, lambda file: shutil.copy(file.parent / MANIFEST, file)),
    "rank's file flipped": (OF_A_RANK, lambda file: flip(file, 0)),
    "rank's file truncated": (OF_A_RANK, truncate),
    "a file slipped in": ("native/rank1.pt", empty),
}


@pytest.mark.fault
@pytest.mark.parametrize("injury", INJURIES)
def test_every_injury_is_seen_and_the_one_before_is_taken(tmp_path, injury):
    good, hurt = save(tmp_path, 10), save(tmp_path, 20)
    assert checkpoint.newest_whole(tmp_path, "d") == (hurt, {})
    name, injure = INJURIES[injury]
    injure(hurt.path / name)
    found, skipped = checkpoint.newest_whole(tmp_path, "d")
    assert found == good and list(skipped) == [hurt.path]
    why = str(skipped[hurt.path])
    assert why.startswith("step_000020-w2-a1: ") and name in why


@pytest.fixture
def bad_disk(monkeypatch):
    """A disk of whose files those below a folder cannot be read, for a number of readings; `bad_disk(folder, times)`.

    What is hashed is in the system's hands, which here says EIO.
    """
    digest, left = hashlib.file_digest, {}

    def read(file, kind):
        for folder in left:
            if left[folder] and Path(file.name).is_relative_to(folder):
                left[folder] -= 1
                raise OSError(errno.EIO, "Input/output error")
        return digest(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", read)
    monkeypatch.setattr(checkpoint, "PAUSES", (0.01, 0.01))
    return lambda folder, times=10**9: left.update({folder: times})


def test_a_disk_that_hiccups_once_costs_no_step(tmp_path, bad_disk):
    save(tmp_path, 10)
    newest = save(tmp_path, 20)
    bad_disk(newest.path, times=1)
    assert checkpoint.newest_whole(tmp_path, "d") == (newest, {})


@pytest.mark.parametrize("part", ["bytes", "manifest"])
def test_what_cannot_be_read_gives_way_to_an_older_one_and_is_not_deleted(tmp_path, bad_disk, part):
    """Its bytes, or its manifest: a link to this process's memory, of which the beginning cannot be read."""
    older, unread = save(tmp_path, 10, score=0.5), save(tmp_path, 20, score=0.9)
    kept = (unread.path / MANIFEST).read_bytes()
    bad_disk(unread.path)
    if part == "manifest":
        (unread.path / MANIFEST).unlink()
        (unread.path / MANIFEST).symlink_to("/proc/self/mem")
    found, skipped = checkpoint.newest_whole(tmp_path, "d")
    (why,) = map(str, skipped.values())
    assert found == older and why == "step_000020-w2-a1: cannot be read now ([Errno 5] Input/output error)"
    with pytest.raises(OSError, match="Input/output error"):
        checkpoint.best(tmp_path, "d", "score")  # a stage must not end with another one
    for step in (12, 14, 16):
        save(tmp_path, step, attempt=2, score=1.0)
        checkpoint.prune(tmp_path, "d", "score", unread=skipped)
    assert [path.name[7:11] for path in checkpoint.folders(tmp_path)] == ["0020", "0016", "0014", "0012"]
    if part == "manifest":
        checkpoint.prune(tmp_path, "d", "score")
        (unread.path / MANIFEST).unlink()
        (unread.path / MANIFEST).write_bytes(kept)
    bad_disk(unread.path, times=0)
    assert checkpoint.newest_whole(tmp_path, "d") == (unread, {}), "whole tomorrow"


def test_where_no_other_is_whole_what_cannot_be_read_is_the_system_s_error(tmp_path, bad_disk):
    torn, foreign, unread = save(tmp_path, 20), save(tmp_path, 15, digest="other"), save(tmp_path, 10, score=0.5)
    (torn.path / MARKER).unlink()
    bad_disk(unread.path)
    for look in (checkpoint.newest_whole, partial(checkpoint.best, better="score")):
        with pytest.raises(OSError, match="Input/output error") as raised:
            look(tmp_path, "d")
        assert raised.value.errno == errno.EIO
    assert foreign.path.is_dir()


def test_another_digest_is_passed_over_with_the_reason_and_kept(tmp_path):
    foreign = save(tmp_path, 30, digest="other")
    mine = save(tmp_path, 10)
    found, skipped = checkpoint.newest_whole(tmp_path, "d")
    assert found == mine and "another recipe" in str(skipped[foreign.path])
    checkpoint.prune(tmp_path, "d", "score")
    assert foreign.path.is_dir() and mine.path.is_dir()


def test_nothing_there(tmp_path):
    assert checkpoint.newest_whole(tmp_path, "d") == (None, {})
    assert checkpoint.best(tmp_path, "d", "score") is None
    assert checkpoint.next_attempt(tmp_path) == 1


def test_attempts_and_world_sizes_never_share_a_folder(tmp_path):
    first = save(tmp_path, 10, num_ranks=2)
    assert checkpoint.next_attempt(tmp_path) == 2
    second = save(tmp_path, 10, attempt=2, num_ranks=1)
    assert first.path != second.path
    assert checkpoint.newest_whole(tmp_path, "d")[0] == second


def test_the_best_and_the_two_newest_stay(tmp_path):
    scores = {10: 0.5, 20: 0.9, 30: 0.7, 40: float("nan"), 50: 0.9}
    for step, score in scores.items():
        save(tmp_path, step, score=score)
    save(tmp_path, 60)
    torn = tmp_path / checkpoint.name_of(70, 2, 1)
    torn.mkdir()
    checkpoint.prune(tmp_path, "d", "score")
    assert [path.name[5:11] for path in checkpoint.folders(tmp_path)] == ["000060", "000050", "000020"]
    assert checkpoint.best(tmp_path, "d", "score").step == 20
    flip(checkpoint.best(tmp_path, "d", "score").path / FILE, 3)
    assert checkpoint.best(tmp_path, "d", "score").step == 50, "a hurt best one gives way"


def test_a_damaged_newest_one_costs_the_steps_since_the_one_before(tmp_path):
    for step in (8, 16, 24, 32):
        save(tmp_path, step)
        checkpoint.prune(tmp_path, "d", "score")
    flip(checkpoint.newest_whole(tmp_path, "d")[0].path / FILE, 3)
    assert checkpoint.newest_whole(tmp_path, "d")[0].step == 24


def test_what_was_just_sealed_stays_whatever_an_earlier_attempt_left_at_later_steps(tmp_path):
    for step in (400, 500):
        save(tmp_path, step, score=0.9)
    sealed = save(tmp_path, 300, attempt=2, score=0.1)
    checkpoint.prune(tmp_path, "d", "score")
    assert sealed.path.is_dir()


def test_numbers_survive_and_nan_is_null(tmp_path):
    path = save(tmp_path, 10, score=0.25, other=float("nan")).path
    assert checkpoint.read_checkpoint(path, "d").numbers == {"score": 0.25, "other": None}
    assert json.loads((path / "MANIFEST.json").read_text())["num_ranks"] == 2


def test_names_sort_by_number_beyond_six_digits(tmp_path):
    save(tmp_path, 999_999)
    last = save(tmp_path, 1_000_000)
    assert checkpoint.newest_whole(tmp_path, "d")[0] == last


def test_tensors_of_another_model_are_refused(tmp_path):
    state = {"a": {part: torch.ones(2, 3) for part in ("weight", "exp_avg", "exp_avg_sq")}}
    write_state(tmp_path, state, num_updates=4)
    assert read_state(tmp_path, {"a": torch.Size([2, 3])})[0] == 4
    with pytest.raises(ValueError, match=r"another model.*first is b"):
        read_state(tmp_path, {"a": torch.Size([2, 3]), "b": torch.Size([1])})
    with pytest.raises(ValueError, match=r"a has shape \[2, 3\]"):
        read_state(tmp_path, {"a": torch.Size([3, 2])})


def test_what_the_system_cannot_read_is_its_error_and_what_is_torn_is_a_mistake(tmp_path, monkeypatch):
    (tmp_path / "folder" / FILE).mkdir(parents=True)
    with pytest.raises(OSError, match="os error") as caught:
        read_state(tmp_path / "folder", {})
    assert caught.value.errno == errno.ENODEV, "nobody maps a folder"
    (tmp_path / FILE).write_bytes(b"torn")
    with pytest.raises(ValueError, match="cannot be read: "):
        read_state(tmp_path, {})
    for kind in (SafetensorError, OSError):  # a bad disk says it in the words of either
        failing = Mock(side_effect=kind("Input/output error (os error 5)"))
        monkeypatch.setattr("ckd_dist.engine.tensors.safe_open", failing)
        with pytest.raises(OSError, match="error") as caught:
            read_state(tmp_path, {})
        assert caught.value.errno == errno.EIO and caught.value.filename == str(tmp_path / FILE)


class Planted:
    """Pickled, it touches a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def test_a_planted_pickle_is_refused_before_it_runs(tmp_path):
    target = tmp_path / "code-was-run"
    torch.save({"optimizer_state_dict": Planted(target)}, tmp_path / "rank_0_optim_states.pt")
    with pytest.raises(ValueError, match=r"rank_0_optim_states.pt would call .*open"):
        refuse_foreign_classes(tmp_path)
    assert not target.exists()
    torch.load(tmp_path / "rank_0_optim_states.pt", weights_only=False)
    assert target.exists(), "the trap works: it is the scan that kept it shut"


def test_what_is_no_checkpoint_file_is_refused(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="cannot be scanned"):
        refuse_foreign_classes(tmp_path)
