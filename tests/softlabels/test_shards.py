"""What is written is read, to the bit; what is damaged, or another's, is refused and named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ckd_dist.mistakes import is_mistake
from ckd_dist.softlabels.errors import ShardError
from ckd_dist.softlabels.generate import finish, generate, missing
from ckd_dist.softlabels.read import LabelStream, open_plan, read_labels
from ckd_dist.softlabels.shards import Shard, file_name, is_done, offsets_of, open_shard, write_shard
from tests.softlabels.fakes import NAMES, SOURCE, TEACHER, plan_of, teacher


def labelled(root, plan):
    """A finished set."""
    generate(plan, root, range(plan.num_shards), teacher)
    finish(root, plan)
    return plan.folder(root)


def file_of(folder, number):
    return folder / json.loads((folder / f"shard-{number:05d}.json").read_text())["file"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_write_read_equal(tmp_path, dtype):
    plan = plan_of(dtype=dtype)
    labelled(tmp_path, plan)
    for given in (plan, plan.plan_hash):
        sample_id_N, logits_NK = read_labels(tmp_path, given, NAMES)
        np.testing.assert_array_equal(sample_id_N, plan.sample_id_N)
        np.testing.assert_array_equal(logits_NK, teacher(plan.sample_id_N).astype(dtype))
        assert logits_NK.dtype == dtype


def test_several_units_a_row_and_further_tensors(tmp_path):
    units = np.arange(20) % 3  # some rows have none
    plan = plan_of(20, shard_rows=6, units=units)
    plan.save(tmp_path)
    spans = {"attention": np.linspace(0, 1, 7, dtype=np.float32), "attention_offsets_N1": np.array([0, 3, 7])}
    for number in range(plan.num_shards):
        ids = plan.sample_ids_of(number)
        logits_UK = teacher(np.repeat(ids, units[ids - 1000]))
        write_shard(tmp_path, plan, Shard(number, ids, offsets_of(plan, number), logits_UK, spans), {})
    shard = open_shard(tmp_path, plan, 1)
    for name, value in spans.items():
        np.testing.assert_array_equal(shard.extra[name], value)
    finish(tmp_path, plan)
    sample_id_N, logits_UK = read_labels(tmp_path, plan, NAMES)
    np.testing.assert_array_equal(logits_UK[:, 0], np.repeat(sample_id_N, plan.units_N))
    rows = np.array([13, 0, 19, 5])
    got_UK = LabelStream(tmp_path, plan).logits_of(rows)
    np.testing.assert_array_equal(got_UK[:, 0], np.repeat(sample_id_N[rows], plan.units_N[rows]))


def test_set_without_index_is_invisible(tmp_path):
    """A crash after the last shard and before the index."""
    plan = plan_of()
    generate(plan, tmp_path, range(plan.num_shards), teacher)
    with pytest.raises(ShardError, match=r"index\.json is missing: 7 of 7 shards are finished"):
        read_labels(tmp_path, plan, NAMES)
    finish(tmp_path, plan)
    read_labels(tmp_path, plan, NAMES)


@pytest.mark.parametrize("name", ["index.json", "shard-00001.json"])
def test_a_set_that_the_system_cannot_read_is_no_mistake(tmp_path, name):
    """A process's own memory, read at its beginning, is a real EIO."""
    plan = plan_of()
    file = labelled(tmp_path, plan) / name
    file.unlink()
    file.symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error") as raised:
        read_labels(tmp_path, plan, NAMES)
    assert not is_mistake(raised.value)


def test_crash_between_file_and_manifest_leaves_the_shard_missing(tmp_path):
    plan = plan_of()
    folder = labelled(tmp_path, plan)
    (folder / "index.json").unlink()
    (folder / "shard-00002.json").unlink()
    assert missing(tmp_path, plan) == [2]
    with pytest.raises(ShardError, match=r"1 of 7 shards are missing.*shard-00002"):
        finish(tmp_path, plan)
    generate(plan, tmp_path, missing(tmp_path, plan), teacher)
    finish(tmp_path, plan)
    read_labels(tmp_path, plan, NAMES)


def test_other_label_columns_are_refused(tmp_path):
    plan = plan_of()
    labelled(tmp_path, plan)
    for names in (NAMES[:2], NAMES[::-1]):
        with pytest.raises(ShardError, match=f"3 columns .*{len(names)} .*label again"):
            read_labels(tmp_path, plan, names)


def test_another_teacher_is_refused(tmp_path):
    plan = plan_of()
    labelled(tmp_path, plan)
    assert open_plan(tmp_path, plan, NAMES, TEACHER).plan_hash == plan.plan_hash
    with pytest.raises(ShardError, match="was labelled by teacher abab"):
        open_plan(tmp_path, plan, NAMES, "cd" * 32)


def empty(file):
    file.write_bytes(b"")


def truncate(file):
    file.write_bytes(file.read_bytes()[:-5])


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-3] ^= 4
    file.write_bytes(content)


def delete(file):
    file.unlink()


@pytest.mark.parametrize("damage", [empty, truncate, flip_a_bit, delete])
def test_damaged_shard_is_refused_named_and_made_again(tmp_path, damage):
    plan = plan_of()
    folder = labelled(tmp_path, plan)
    file = file_of(folder, 3)
    damage(file)
    for read in (lambda: read_labels(tmp_path, plan, NAMES), lambda: open_shard(tmp_path, plan, 3)):
        with pytest.raises(ShardError, match="shard-00003"):
            read()
    for other in set(range(plan.num_shards)) - {3}:
        assert open_shard(tmp_path, plan, other).number == other
    if damage is flip_a_bit:  # only a full read sees it; the message says to delete the manifest
        assert missing(tmp_path, plan) == []
        (folder / "shard-00003.json").unlink()
    assert missing(tmp_path, plan) == [3]
    generate(plan, tmp_path, missing(tmp_path, plan), teacher)
    finish(tmp_path, plan)
    np.testing.assert_array_equal(read_labels(tmp_path, plan, NAMES)[1], teacher(plan.sample_id_N))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"plan": 1}'])
def test_damaged_manifest_is_refused_and_made_again(tmp_path, text):
    plan = plan_of()
    folder = labelled(tmp_path, plan)
    (folder / "shard-00003.json").write_bytes(text)
    with pytest.raises(ShardError):
        read_labels(tmp_path, plan, NAMES)
    with pytest.raises(ShardError, match="shard-00003"):
        open_shard(tmp_path, plan, 3)
    generate(plan, tmp_path, missing(tmp_path, plan), teacher)
    finish(tmp_path, plan)
    read_labels(tmp_path, plan, NAMES)


def test_shard_of_another_plan_is_refused(tmp_path):
    """Both the manifest and the file itself say whose they are."""
    mine, other = plan_of(), plan_of(source=replace(SOURCE, teacher="cd" * 32))
    here, there = labelled(tmp_path, mine), labelled(tmp_path, other)
    foreign = file_of(there, 1)
    manifest = json.loads((there / "shard-00001.json").read_text())
    (here / foreign.name).write_bytes(foreign.read_bytes())
    (here / "shard-00001.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="belongs to plan"):
        open_shard(tmp_path, mine, 1)
    (here / "shard-00001.json").write_text(json.dumps(manifest | {"plan": mine.plan_hash}))
    with pytest.raises(ShardError, match="is of plan"):
        open_shard(tmp_path, mine, 1)
    with pytest.raises(ShardError, match=r"index\.json lists other shards"):
        read_labels(tmp_path, mine, NAMES)


def test_wrong_rows_shape_or_numbers_are_never_published(tmp_path):
    plan = plan_of(dtype="float16")
    folder = plan.save(tmp_path)
    ids = plan.sample_ids_of(1)
    logits_UK = teacher(ids)
    good = Shard(1, ids, offsets_of(plan, 1), logits_UK)
    bad = {
        "other rows": {"sample_id_N": plan.sample_ids_of(2)},
        "units, columns": {"logits_UK": logits_UK[:, :2]},
        "logits float16 \\(7, 3\\)": {"logits_UK": logits_UK[:7]},
        "1 numbers of logits_UK are not finite": {
            "logits_UK": np.where(np.arange(24).reshape(8, 3) == 5, np.nan, logits_UK)
        },
        "24 numbers of logits_UK are not finite in float16": {"logits_UK": logits_UK + 1e5},
        "other units": {"offsets_N1": np.arange(9) * 2},
        "may not be called": {"extra": {"logits_UK": logits_UK}},
        "of attention are not finite": {"extra": {"attention": np.array([np.inf])}},
        "shards 0 to 6, not 7": {"number": 7},
    }
    for message, change in bad.items():
        with pytest.raises(ShardError, match=message):
            write_shard(tmp_path, plan, replace(good, **change), {})
    assert {path.name for path in folder.iterdir()} == {"plan.json", "rows.safetensors"}


def test_first_claim_wins_and_the_loser_leaves_nothing(tmp_path):
    """A second attempt that differs in a bit, as another device may."""
    plan = plan_of()
    folder = plan.save(tmp_path)
    ids = plan.sample_ids_of(0)
    shard = Shard(0, ids, offsets_of(plan, 0), teacher(ids))
    first = write_shard(tmp_path, plan, shard, {"worker": 1})
    second = write_shard(tmp_path, plan, replace(shard, logits_UK=np.nextafter(teacher(ids), np.float32(np.inf))), {})
    same = write_shard(tmp_path, plan, shard, {})
    assert first == second == same
    assert [path.name for path in folder.glob("*shard*")].count(first.name) == 1
    assert len(list(folder.glob("*shard*"))) == 2
    claim = json.loads((folder / "shard-00000.json").read_text())
    assert claim["file"] == first.name == file_name(0, claim["sha256"]) and claim["attempt"] == {"worker": 1}
    assert is_done(tmp_path, plan, 0) and not is_done(tmp_path, plan, 1)
