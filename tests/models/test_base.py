"""Every base that cannot work is refused before training, in one sentence, and no code of its folder runs."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from ckd_dist.config import Lora
from ckd_dist.mistakes import is_mistake
from ckd_dist.models.base import load_config, load_tokenizer, open_config, open_tokenizer
from ckd_dist.models.encoder import build_student
from ckd_dist.models.export import export_student
from ckd_dist.models.teacher import build_classifier
from tests.models.small import ADAPTER, LORA, NAMES


@pytest.fixture
def broken(tmp_path, teacher_base):
    """A copy of the tiny teacher, to be broken."""
    return shutil.copytree(teacher_base, tmp_path / "broken")


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def teacher(base, names, lora=LORA, max_tokens=None):
    return build_classifier(base, names, replace(ADAPTER, lora=lora), max_tokens)


def refused(base, *words, build=teacher, error=ValueError, **settings):
    with pytest.raises(error) as caught:
        build(base, NAMES, **settings)
    sentence = str(caught.value)
    assert "\n" not in sentence and all(word in sentence for word in words), sentence


def test_no_such_folder():
    for name in ("/no/such/folder", "nobody/no-such-model", "a b c"):
        refused(name, "no such folder", error=FileNotFoundError)


def test_code_in_the_folder_never_runs(broken, tmp_path):
    (broken / "modeling.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    edit(broken / "config.json", auto_map={"AutoModelForSequenceClassification": "modeling.Model"})
    refused(broken, "modeling.py", "never run")
    assert not (tmp_path / "ran").exists()


def test_unknown_architecture(broken):
    edit(broken / "config.json", model_type="made_up", auto_map={"AutoConfig": "somewhere--configuration.Config"})
    refused(broken, "no architecture")


def test_pickled_weights_only(broken):
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    refused(broken, "only safetensors are read")


def test_weights_that_lack_a_layer(broken):
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    refused(broken, "lack 1 tensors", "up_proj")


def test_no_pad_token(broken):
    edit(broken / "tokenizer_config.json", pad_token=None)
    refused(broken, "pad token")


def test_tokenizer_larger_than_the_model(broken, student_base):
    shutil.copy(student_base / "config.json", broken / "config.json")
    edit(broken / "config.json", vocab_size=20)
    refused(broken, "tokens, its model 20")


def test_head_of_another_label_set(tmp_path, student_base, student_tokenizer):
    export_student(build_student(student_base, ("a", "b")), student_tokenizer, tmp_path)
    refused(tmp_path, "its head has 2 labels", "5", build=build_student)
    assert build_student(tmp_path, ("a", "b")).plain.config.id2label == {0: "a", 1: "b"}


def test_rows_longer_than_the_positions(student_base, teacher_base):
    refused(student_base, "at most 1024 tokens", "2000", build=build_student, max_tokens=2000)
    refused(teacher_base, "at most 4096 tokens", max_tokens=5000)


def test_an_encoder_is_no_teacher_and_targets_must_exist(student_base, teacher_base):
    refused(student_base, "no causal language model")
    refused(teacher_base, "'c_attn'", lora=Lora(rank=2, targets=("q_proj", "c_attn")))


def test_names_must_be_distinct(teacher_base):
    with pytest.raises(ValueError, match="distinct"):
        teacher(teacher_base, ("a", "a"))


# --- what the file system does is not the base's fault ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "name"),
    [(load_config, "config.json"), (load_tokenizer, "tokenizer.json"), (load_tokenizer, "tokenizer_config.json")],
)
def test_a_file_that_cannot_be_read_now_is_a_fault(broken, load, name):
    """The memory of this process, from its first byte on, is a file that Linux finds and cannot read: EIO."""
    (broken / name).unlink()
    (broken / name).symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error") as raised:
        load(broken)
    assert raised.value.errno == errno.EIO and not is_mistake(raised.value)


@pytest.mark.parametrize("load", [open_config, open_tokenizer])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_file_that_transformers_takes_for_absent_is_a_fault(broken, load, number, monkeypatch):
    """It asks os.path.isfile, which says no where the system does not know."""
    stat = os.stat

    def failing(path, *args, **kwargs):
        if str(path).startswith(str(broken)):
            raise OSError(number, os.strerror(number), str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", failing)
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        load(broken, "some base")
    assert raised.value.errno == number and not is_mistake(raised.value)


def test_a_cache_that_cannot_be_read_now_is_not_called_empty(tmp_path, monkeypatch):
    cache = tmp_path / "models--some--model"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    iterdir = Path.iterdir

    def failing(folder):
        if folder == cache:
            raise OSError(errno.ESTALE, "Stale file handle", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", failing)
    with pytest.raises(OSError, match="Stale file handle") as raised:
        load_config("some/model")
    assert not is_mistake(raised.value)
