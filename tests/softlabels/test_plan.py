"""A plan is what decides the labels, and nothing else."""

import errno
import stat
from dataclasses import replace

import numpy as np
import pytest

from ckd_dist.mistakes import is_mistake
from ckd_dist.softlabels.errors import ShardError
from ckd_dist.softlabels.plan import Plan, make_plan
from tests.softlabels.fakes import NAMES, SOURCE, plan_of


def test_saved_plan_opens_as_itself(tmp_path):
    plan = plan_of(50, units=np.arange(50) % 4)
    plan.save(tmp_path)
    plan.save(tmp_path)
    opened = Plan.open(tmp_path, plan.plan_hash)
    assert opened.plan_hash == plan.plan_hash and opened.names == NAMES
    np.testing.assert_array_equal(opened.sample_id_N, plan.sample_id_N)
    np.testing.assert_array_equal(opened.offsets_N1, plan.offsets_N1)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in plan.folder(tmp_path).iterdir()}
    assert modes == {0o600}


def test_shards_cut_the_rows_without_loss_in_an_order_of_the_seed():
    plan = plan_of(50, shard_rows=8)
    cut = np.concatenate([plan.sample_ids_of(number) for number in range(plan.num_shards)])
    np.testing.assert_array_equal(cut, plan.sample_id_N)
    np.testing.assert_array_equal(np.sort(cut), 1000 + np.arange(50))
    assert not np.array_equal(cut, plan_of(50, order_seed=1).sample_id_N)
    np.testing.assert_array_equal(cut, plan_of(50, shard_rows=3).sample_id_N)


def test_units_travel_with_their_rows():
    units = np.arange(50) % 4
    plan = plan_of(50, units=units)
    np.testing.assert_array_equal(plan.units_N, units[plan.sample_id_N - 1000])


@pytest.mark.parametrize(
    "change",
    [
        {"split": "tuning"},
        {"source": replace(SOURCE, names=NAMES[::-1])},
        {"source": replace(SOURCE, prompts="ff")},
        {"source": replace(SOURCE, tokenizer="ff")},
        {"source": replace(SOURCE, teacher="ff")},
        {"source": replace(SOURCE, fold=1)},
        {"dtype": "float16"},
        {"order_seed": 5},
        {"shard_rows": 9},
        {"num_rows": 51},
        {"units": 2},
    ],
)
def test_every_part_is_in_the_hash(change):
    assert plan_of(**change).plan_hash != plan_of().plan_hash
    assert plan_of().plan_hash == plan_of().plan_hash


def test_changed_plan_is_refused_and_damaged_rows_are_healed(tmp_path):
    plan = plan_of()
    folder = plan.save(tmp_path)
    rows = (folder / "rows.safetensors").read_bytes()
    for damaged in (b"", rows[:-1], rows[:-8] + bytes([rows[-8] ^ 1]) + rows[-7:]):
        (folder / "rows.safetensors").write_bytes(damaged)
        with pytest.raises(ShardError, match=r"rows\.safetensors"):
            Plan.open(tmp_path, plan.plan_hash)
        plan.save(tmp_path)
        assert Plan.open(tmp_path, plan.plan_hash).plan_hash == plan.plan_hash
    (folder / "plan.json").write_bytes(plan.text.replace(b'"fold": 0', b'"fold": 1'))
    with pytest.raises(ShardError, match="changed"):
        Plan.open(tmp_path, plan.plan_hash)
    with pytest.raises(ShardError, match="changed"):
        plan.save(tmp_path)
    with pytest.raises(ShardError, match="no soft-label plan"):
        Plan.open(tmp_path, "0" * 16)


@pytest.mark.parametrize("name", ["plan.json", "rows.safetensors"])
def test_a_plan_that_the_system_cannot_read_is_no_mistake_and_a_missing_one_is(tmp_path, name):
    """The memory of a process can be opened and, at its beginning, not be read: a real EIO."""
    plan = plan_of()
    file = plan.save(tmp_path) / name
    file.unlink()
    with pytest.raises(ShardError, match=name):
        Plan.open(tmp_path, plan.plan_hash)
    file.symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error") as raised:
        Plan.open(tmp_path, plan.plan_hash)
    assert raised.value.errno == errno.EIO and not is_mistake(raised.value)


def test_impossible_plans_are_refused():
    with pytest.raises(ShardError, match="no samples"):
        make_plan(np.array([], dtype=int), SOURCE, split="train")
    with pytest.raises(ShardError, match="1 sample ids occur twice"):
        make_plan(np.array([1, 2, 1]), SOURCE, split="train")
    with pytest.raises(ShardError, match="bfloat16"):
        make_plan(np.array([1]), SOURCE, split="train", dtype="bfloat16")
