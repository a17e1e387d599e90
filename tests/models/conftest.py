"""Tiny models, a made-up vocabulary of sentences, and the environment of a machine without a network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from ckd_dist.config import Lora, Tiny
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher

NAMES = ("Asthma", "Shock", "Gout; acute", "Fluid/electrolyte", "Stroke")
TEXTS = [f"The patient had disease {i % 13} and took drug {i % 7}; procedure {i % 5} was performed." for i in range(80)]
TINY = Tiny(hidden=32, layers=2, heads=4, vocabulary=400)
LORA = Lora(rank=4, alpha=8, dropout=0.0)


@dataclass
class Rows:
    """Rows of token ids in memory, as a TokenTable gives them."""

    ids: list[np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.ids])

    def row(self, i: int) -> np.ndarray:
        return self.ids[i]


def random_rows(num: int, low: int, high: int, prefix: int = 0, vocabulary: int = 250, seed: int = 0) -> Rows:
    """`num` rows of low..high tokens after `prefix` shared ones."""
    rng = np.random.default_rng(seed)
    start = rng.integers(5, vocabulary, prefix)
    tails = [rng.integers(5, vocabulary, rng.integers(low, high + 1)) for _ in range(num)]
    return Rows([np.concatenate([start, tail]).astype(np.int32) for tail in tails])


def shake(model: torch.nn.Module, seed: int = 1) -> None:
    """Give every trainable weight a value of its own: LoRA's B starts at zero and would hide a lost adapter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


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
