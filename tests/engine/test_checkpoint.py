"""A checkpoint is whole or it is nothing, and nothing is never loaded."""

import json
import shutil

import pytest
import torch

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


INJURIES = {
    "never sealed": lambda path: (path / "COMMITTED").unlink(),
    "marker torn": lambda path: truncate(path / "COMMITTED"),
    "marker empty": lambda path: (path / "COMMITTED").write_bytes(b""),
    "marker flipped": lambda path: flip(path / "COMMITTED", 5),
    "manifest gone": lambda path: (path / "MANIFEST.json").unlink(),
    "manifest torn": lambda path: truncate(path / "MANIFEST.json"),
    "manifest flipped": lambda path: flip(path / "MANIFEST.json", 40),
    "weights truncated": lambda path: truncate(path / FILE),
    "weights flipped": lambda path: flip(path / FILE, 100),
    "weights gone": lambda path: (path / FILE).unlink(),
    "weights empty": lambda path: (path / FILE).write_bytes(b""),
    "rank's file flipped": lambda path: flip(path / "native" / "rank0.pt", 0),
    "rank's file truncated": lambda path: truncate(path / "native" / "rank0.pt"),
    "a file slipped in": lambda path: (path / "native" / "rank1.pt").write_bytes(b"?"),
    "a file swapped": lambda path: shutil.copy(path / "MANIFEST.json", path / FILE),
}


@pytest.mark.fault
@pytest.mark.parametrize("injury", INJURIES)
def test_every_injury_is_seen_and_the_one_before_is_taken(tmp_path, injury):
    good, hurt = save(tmp_path, 10), save(tmp_path, 20)
    assert checkpoint.newest_whole(tmp_path, "d") == (hurt, [])
    INJURIES[injury](hurt.path)
    found, skipped = checkpoint.newest_whole(tmp_path, "d")
    assert found == good
    assert len(skipped) == 1 and "step_000020-w2-a1" in skipped[0]


def test_another_digest_is_passed_over_with_the_reason_and_kept(tmp_path):
    foreign = save(tmp_path, 30, digest="other")
    mine = save(tmp_path, 10)
    found, skipped = checkpoint.newest_whole(tmp_path, "d")
    assert found == mine and "another recipe" in skipped[0]
    checkpoint.prune(tmp_path, "d", "score")
    assert foreign.path.is_dir() and mine.path.is_dir()


def test_nothing_there(tmp_path):
    assert checkpoint.newest_whole(tmp_path, "d") == (None, [])
    assert checkpoint.best(tmp_path, "d", "score") is None
    assert checkpoint.next_attempt(tmp_path) == 1


def test_attempts_and_world_sizes_never_share_a_folder(tmp_path):
    first = save(tmp_path, 10, num_ranks=2)
    assert checkpoint.next_attempt(tmp_path) == 2
    second = save(tmp_path, 10, attempt=2, num_ranks=1)
    assert first.path != second.path
    assert checkpoint.newest_whole(tmp_path, "d")[0] == second


def test_best_and_newest_stay(tmp_path):
    scores = {10: 0.5, 20: 0.9, 30: 0.7, 40: float("nan"), 50: 0.9}
    for step, score in scores.items():
        save(tmp_path, step, score=score)
    save(tmp_path, 60)
    torn = tmp_path / checkpoint.name_of(70, 2, 1)
    torn.mkdir()
    checkpoint.prune(tmp_path, "d", "score")
    assert [path.name[5:11] for path in checkpoint.folders(tmp_path)] == ["000060", "000020"]
    assert checkpoint.best(tmp_path, "d", "score").step == 20
    flip(checkpoint.best(tmp_path, "d", "score").path / FILE, 3)
    assert checkpoint.best(tmp_path, "d", "score").step == 60, "a hurt best one gives way"


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
