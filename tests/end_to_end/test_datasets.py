"""A finished run opens as a `datasets.Dataset` that says what its own files say; README's ten lines learn from it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from datasets import load_from_disk

from ckd_dist import record
from ckd_dist.schema import SPLITS
from ckd_dist.softlabels.errors import ShardError
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies import disease, open_dataset
from ckd_dist.studies.disease.dataset import rows_of
from tests.end_to_end.small import ckd, flip, hashes, recipe_of


def soft_labels_of(run, split):
    """The shards' own: logits by sample id."""
    sample_id_N, logits_NK = read_labels(run.softlabels, record.read(run, "label").numbers[split], run.label_names())
    assert not np.array_equal(sample_id_N, np.sort(sample_id_N)), "shards are in an order of their own"
    return dict(zip(sample_id_N.tolist(), logits_NK.astype(np.float32), strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_every_sample_is_there_once_with_what_the_run_s_files_say(finished, split):
    dataset, samples = open_dataset(finished.root, split), pl.read_parquet(finished.samples(split))
    texts = {role: pl.read_parquet(finished.prompts(split, role)) for role in ("teacher", "student")}
    for name in ("sample_id", "subject_id"):
        assert list(dataset[name]) == samples[name].to_list()
    assert list(dataset["prompt"]) == texts["teacher"]["text"].to_list()
    assert list(dataset["answer"]) == texts["teacher"]["answer"].to_list()
    assert list(dataset["text"]) == texts["student"]["text"].to_list()
    assert [answer is not None for answer in dataset["answer"]] == list(dataset["known"])
    assert list(dataset["known"]) == samples["labels"].is_not_null().to_list()
    assert str(dataset.split) == split and 0 < sum(dataset["known"]) < len(dataset)

    names, soft = finished.label_names(), soft_labels_of(finished, split)
    assert dataset.features["diseases"].feature.names == names == json.loads(dataset.info.description)["names"]
    for row, bits in zip(dataset, samples["labels"].to_list(), strict=True):
        assert row["labels"] == (bits or [0] * len(names))
        assert row["diseases"] == (bits and [k for k, bit in enumerate(bits) if bit])
        np.testing.assert_array_equal(np.float32(row["soft_labels"]), soft[row["sample_id"]])


def test_what_the_student_s_hospital_does_not_have_stands_in_no_column(finished):
    """The teacher saw all labels, and its prompts have an answer for each."""
    few = recipe_of(finished, "student.labelled.train=9")
    batch = rows_of(few, finished, "train").read(0, 60)
    known = batch["known"].to_pylist()
    assert 0 < sum(known) < sum(answer is not None for answer in open_dataset(finished.root, "train")[:60]["answer"])
    assert [answer is not None for answer in batch["answer"]] == known
    assert [labels is not None for labels in batch["diseases"]] == known


def test_the_command_writes_the_same_and_changes_nothing_in_the_run(finished, tmp_path):
    before, out = hashes(finished), tmp_path / "out"
    said = ckd("dataset", "--run", finished.root, "--out", out)
    assert said.code == 0, said.err
    assert "holds records of patients" in said.out.splitlines()[-1] and hashes(finished) == before
    for split in SPLITS:
        found, wanted = load_from_disk(out)[split], open_dataset(finished.root, split)
        assert found.features == wanted.features and found.to_list() == wanted.to_list()
    assert {path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (out, *out.iterdir()) if path.is_dir()} == {0o700}
    again = ckd("dataset", "--run", finished.root, "--out", out)
    assert again.code == 2 and "is not empty" in again.err


def test_what_does_not_fit_is_refused(copy, tmp_path):
    with pytest.raises(ValueError, match="study disease has no split 'test': give train or tuning or held_out"):
        open_dataset(copy.root, "test")
    with pytest.raises(FileNotFoundError, match="no run folder"):
        open_dataset(tmp_path)
    flip(next(copy.softlabels.glob(f"{record.read(copy, 'label').numbers['train']}/shard-*-*.safetensors")))
    with pytest.raises(ShardError, match="has been altered"):
        open_dataset(copy.root)
    names = json.loads(copy.labels.read_text())
    copy.labels.write_text(json.dumps(names | {"names": names["names"][::-1]}))  # as many, in another order
    with pytest.raises(ShardError, match="label again"):
        open_dataset(copy.root)
    copy.stage("label").unlink()
    with pytest.raises(ValueError, match=r"stage label is missing \(not finished yet\): run it first"):
        open_dataset(copy.root)


def test_the_lines_of_the_page_learn_from_the_teacher(finished, tmp_path, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", (Path(disease.__file__).parent / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").symlink_to(finished.root)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert np.isfinite(names["trained"].training_loss) and names["trained"].global_step == 2
    rows = [names["train"][i] for i in (3, 0)]
    soft = soft_labels_of(finished, "train")
    wanted_NK = 1 / (1 + np.exp(-np.stack([soft[row["sample_id"]] for row in rows])))
    np.testing.assert_allclose(names["collate"](rows)["labels"].numpy(), wanted_NK, rtol=1e-5)
    shutil.rmtree(tmp_path / "OUT", ignore_errors=True)
    assert [path.name for path in tmp_path.iterdir()] == ["RUN"]
