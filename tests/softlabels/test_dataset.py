"""Soft labels as a `datasets.Dataset`: the shards' own numbers by sample id, and a folder that is the owner's alone."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from datasets import Features, config, load_from_disk

from ckd_dist.softlabels.dataset import BATCH_ROWS, Rows, lists_of_vectors, open_shards, save, soft_feature
from ckd_dist.softlabels.errors import ShardError
from ckd_dist.softlabels.generate import finish, generate
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import MappedLabels
from tests.softlabels.fakes import NAMES, TEACHER, plan_of, teacher

FEATURES = Features({"soft": soft_feature(2, one_unit=False)})


def finished(root: Path, **settings) -> Plan:
    plan = plan_of(**settings)
    generate(plan, root, range(plan.num_shards), teacher)
    finish(root, plan)
    return plan


@pytest.mark.parametrize(("dtype", "shard_rows"), [("float32", 8), ("float32", 50), ("float16", 7)])
def test_a_folder_of_shards_opens_in_the_order_of_sample_ids(tmp_path, dtype, shard_rows):
    plan = finished(tmp_path, num_rows=50, shard_rows=shard_rows, dtype=dtype)
    assert not np.array_equal(plan.sample_id_N, np.sort(plan.sample_id_N)), "the plan's own order is another"
    dataset = open_shards(plan.folder(tmp_path))
    assert dataset["sample_id"] == list(range(1000, 1050)) and str(dataset.split) == "train"
    wanted_NK = teacher(np.arange(1000, 1050)).astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(np.array(dataset["soft_labels"], np.float32), wanted_NK)
    assert json.loads(dataset.info.description) == {"names": [*NAMES], "plan": plan.plan_hash, "teacher": TEACHER}
    assert dataset.features["soft_labels"] == soft_feature(3)


def test_rows_of_several_units_keep_theirs(tmp_path):
    """A row's logits say which row, unit and column they are."""
    units_N = np.arange(20) % 4  # none, one and more
    plan = plan_of(num_rows=20, units=units_N)

    def predict(sample_ids: np.ndarray) -> np.ndarray:
        return np.concatenate([teacher(np.full(i % 4, i)) + 0.01 * np.arange(i % 4)[:, None] for i in sample_ids])

    generate(plan, tmp_path, range(plan.num_shards), predict)
    finish(tmp_path, plan)
    dataset = open_shards(plan.folder(tmp_path))
    assert dataset.features["soft_labels"] == soft_feature(3, one_unit=False)
    for row in dataset:
        wanted_UK = predict(np.array([row["sample_id"]])).astype(np.float32)
        np.testing.assert_array_equal(np.array(row["soft_labels"], np.float32).reshape(-1, 3), wanted_UK)


def test_an_unfinished_or_altered_set_is_refused(tmp_path):
    plan = plan_of()
    generate(plan, tmp_path, range(3), teacher)
    with pytest.raises(ShardError, match=r"index\.json is missing: 3 of 7 shards"):
        open_shards(plan.folder(tmp_path))
    whole = finished(tmp_path / "whole")
    file = max(whole.folder(tmp_path / "whole").glob("shard-*-*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ShardError, match="has been altered"):
        open_shards(whole.folder(tmp_path / "whole"))


def test_a_sample_that_the_set_lacks_is_refused(tmp_path):
    labels = MappedLabels(tmp_path, finished(tmp_path))
    assert 1049 in labels and 999 not in labels and 1050 not in labels
    with pytest.raises(ShardError, match="has no soft labels of sample 1050"):
        labels.logits_of([1000, 1050])


def rows_of(num: int) -> Rows:
    """A row i of i % 3 units whose numbers are i; no soft labels where i is a multiple of 5."""
    made = [None if i % 5 == 0 else np.full((i % 3, 2), i, np.float32) for i in range(num)]
    return Rows(
        features=FEATURES,
        num=num,
        read=lambda start, stop: {"soft": lists_of_vectors(made[start:stop], 2)},
        metadata={"names": ["é", "b"]},
    )


def test_a_folder_holds_every_row_of_every_split_for_its_owner_alone(tmp_path):
    cached = set(Path(config.HF_CACHE_HOME).rglob("*"))
    sizes = {"train": 2 * BATCH_ROWS + 1, "tuning": BATCH_ROWS, "held_out": 0}
    before = os.umask(0o022)
    try:
        counts = save({split: rows_of(num) for split, num in sizes.items()}, tmp_path / "new" / "out")
    finally:
        os.umask(before)
    assert counts == sizes
    found = load_from_disk(tmp_path / "new" / "out")
    for split, num in sizes.items():
        wanted = [None if i % 5 == 0 else [[i, i]] * (i % 3) for i in range(num)]
        assert list(found[split]["soft"]) == wanted
        assert json.loads(found[split].info.description) == {"names": ["é", "b"]}
    below = [tmp_path / "new" / "out", *(tmp_path / "new" / "out").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in below if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in below if path.is_file()} == {0o600}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert set(Path(config.HF_CACHE_HOME).rglob("*")) == cached


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    save({"train": rows_of(3)}, tmp_path / "out")  # empty: taken
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(ValueError, match="is not empty"):
        save({"train": rows_of(4)}, tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "kept" and len(load_from_disk(tmp_path / "out")["train"]) == 3


def test_a_file_is_left_alone_and_called_a_file(tmp_path):
    (tmp_path / "out").write_text("kept")
    with pytest.raises(ValueError, match="out is a file: give --out a new folder"):
        save({"train": rows_of(4)}, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "kept"


def test_a_failure_leaves_nothing_behind(tmp_path):
    def fail(start: int, stop: int) -> dict:
        raise ShardError("damaged")

    with pytest.raises(ShardError):
        save({"train": rows_of(3), "tuning": Rows(FEATURES, 3, fail)}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
