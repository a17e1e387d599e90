"""Tiny bases are real folders, and the same in any process."""

import os
import subprocess
import sys

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from ckd_dist.config import Tiny
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from tests.data import ROOT
from tests.models.small import LORA, NAMES, TEXTS, TINY

ELSEWHERE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.models.small import TEXTS, TINY
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
for make, name in ((make_tiny_teacher, "teacher"), (make_tiny_student, "student")):
    make(Path(sys.argv[2]) / name, TEXTS, TINY, seed=0)
    print(fingerprint(Path(sys.argv[2]) / name))
"""


def test_same_texts_and_seed_give_the_same_model_in_another_process(tmp_path, teacher_base, student_base):
    command = [sys.executable, "-c", ELSEWHERE, str(ROOT), str(tmp_path)]
    seen = subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert seen.stdout.split()[-2:] == [fingerprint(teacher_base), fingerprint(student_base)]


def test_another_seed_is_another_model(tmp_path, teacher_base):
    make_tiny_teacher(tmp_path / "t", TEXTS, TINY, seed=1)
    assert fingerprint(tmp_path / "t") != fingerprint(teacher_base)


def test_making_twice_is_harmless_and_leaves_no_litter(tmp_path):
    for _ in range(2):
        make_tiny_student(tmp_path / "s", TEXTS, TINY, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_teacher_speaks_chatml_and_any_text_survives(teacher_base):
    tokenizer = AutoTokenizer.from_pretrained(teacher_base)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Fieber 39.5°, été 日本"}], tokenize=False)
    assert text == "<|im_start|>user\nFieber 39.5°, été 日本<|im_end|>\n"
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 1
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.pad_token == "<|endoftext|>"
    assert len(tokenizer) <= TINY.vocabulary


def test_folders_load_with_plain_transformers(teacher_base, student_base):
    assert AutoModelForCausalLM.from_pretrained(teacher_base).config.tie_word_embeddings
    student = AutoModelForSequenceClassification.from_pretrained(student_base, num_labels=len(NAMES))
    tokenizer = AutoTokenizer.from_pretrained(student_base)
    assert student(**tokenizer(TEXTS[:2], return_tensors="pt", padding=True)).logits.shape == (2, len(NAMES))
    assert tokenizer.unk_token_id not in tokenizer(TEXTS[0].upper()).input_ids  # lower-cased, all letters known


def test_a_shape_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"tiny.hidden=36 must be a multiple of 8"):
        make_tiny_teacher(tmp_path / "t", TEXTS, Tiny(hidden=36, heads=4), seed=0)
    assert LORA.rank and not (tmp_path / "t").exists()
