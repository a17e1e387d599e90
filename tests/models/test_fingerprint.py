"""A fingerprint changes with what decides the logits, and with nothing else."""

import hashlib
import json
import shutil

import pytest

from ckd_dist.models import fingerprint as module
from ckd_dist.models.export import export_teacher
from ckd_dist.models.fingerprint import fingerprint, fingerprint_tokenizer, hash_once, known_hashes, learn_hashes
from ckd_dist.models.teacher import build_classifier
from tests.models.small import ADAPTER, NAMES


@pytest.fixture
def teacher(tmp_path, teacher_base, teacher_tokenizer):
    """An exported adapter with a base of its own beside it."""
    shutil.copytree(teacher_base, tmp_path / "base")
    model = build_classifier(tmp_path / "base", NAMES, ADAPTER)
    export_teacher(model, teacher_tokenizer, tmp_path / "teacher")
    return tmp_path / "teacher"


def flip_last_byte(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_the_same_model_elsewhere_is_the_same(teacher, tmp_path):
    mark = fingerprint(teacher)
    assert len(mark) == 64
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")
    assert fingerprint(tmp_path.parent / f"{tmp_path.name}-copy" / "teacher") == mark
    (teacher / "README.md").write_text("another card")
    edit(teacher / "adapter_config.json", lambda c: c.update(peft_version="0.22"))
    assert fingerprint(teacher) == mark


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: flip_last_byte(folder / "adapter_model.safetensors"),
        lambda folder: flip_last_byte(folder.parent / "base" / "model.safetensors"),
        lambda folder: edit(folder / "tokenizer.json", lambda c: c["model"]["merges"].pop()),
        lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
        lambda folder: edit(folder / "adapter_config.json", lambda c: c.update(lora_alpha=99)),
        lambda folder: edit(folder / "classifier" / "config.json", lambda c: c["id2label"].update({"0": "Other"})),
        lambda folder: edit(folder.parent / "base" / "config.json", lambda c: c.update(rms_norm_eps=1e-3)),
    ],
    ids=["adapter", "base weights", "tokenizer", "template", "scale", "labels", "base config"],
)
def test_every_part_counts(change, teacher):
    mark = fingerprint(teacher)
    change(teacher)
    assert fingerprint(teacher) != mark


def test_tokenizers_differ(teacher_base, student_base):
    assert fingerprint_tokenizer(teacher_base) != fingerprint_tokenizer(student_base)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="no safetensors"):
        fingerprint(tmp_path)


def test_what_another_process_has_hashed_is_not_read_again(tmp_path, monkeypatch):
    file, link = tmp_path / "model.safetensors", tmp_path / "link.safetensors"
    file.write_bytes(b"weights")
    link.symlink_to(file)
    mark, known = hash_once(file), known_hashes()
    monkeypatch.setattr(module, "_hashes", {})
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("a file was read"))
    learn_hashes(json.loads(json.dumps(known)))
    assert hash_once(file) == hash_once(link) == mark
    monkeypatch.undo()
    file.write_bytes(b"Weights")
    assert hash_once(file) != mark
