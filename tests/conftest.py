"""Tiny bases, and the environment of a machine without a network on which several tests run at once."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so; its 15 starves workers beside other tests

from pathlib import Path

import pytest

from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from tests.models.small import TEXTS, TINY


@pytest.fixture(scope="session")
def teacher_base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "teacher"
    make_tiny_teacher(folder, TEXTS, TINY, seed=0)
    return folder


@pytest.fixture(scope="session")
def student_base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "student"
    make_tiny_student(folder, TEXTS, TINY, seed=0)
    return folder


@pytest.fixture(scope="session")
def teacher_tokenizer(teacher_base):
    return load_tokenizer(teacher_base)


@pytest.fixture(scope="session")
def student_tokenizer(student_base):
    return load_tokenizer(student_base)
