"""Tiny shapes, sentences and rows of tokens that the tests of models share."""

from dataclasses import dataclass

import numpy as np
import torch

from ckd_dist.config import Lora, Tiny
from ckd_dist.models.teacher import TeacherOptions
from ckd_dist.notes.note import tag_names

NAMES = ("Asthma", "Shock", "Gout; acute", "Fluid/electrolyte", "Stroke")
TAGS = tuple(tag_names(["disease", "symptom"]))
TEXTS = [f"The patient had disease {i % 13} and took drug {i % 7}; procedure {i % 5} was performed." for i in range(80)]
PHRASES = ["disease 3", TEXTS[0], "drug", TEXTS[1], "the patient had disease", "disease 3", "Disease 3", "p"]
TINY = Tiny(hidden=32, layers=2, heads=4, vocabulary=400)
LORA = Lora(rank=4, alpha=8, dropout=0.0)
FULL, ADAPTER = (TeacherOptions(tuning, LORA, torch.float32) for tuning in ("full", "lora"))


@dataclass
class Rows:
    """Rows of token ids in memory, as a TokenTable gives them."""

    ids: list[np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.ids])

    def row(self, i: int) -> np.ndarray:
        return self.ids[i]


def random_rows(num: int, low: int, high: int, prefix: int = 0, vocabulary: int = 60, seed: int = 0) -> Rows:
    """`num` rows of low..high tokens after `prefix` shared ones."""
    rng = np.random.default_rng(seed)
    start = rng.integers(5, vocabulary, prefix)
    tails = [rng.integers(5, vocabulary, rng.integers(low, high + 1)) for _ in range(num)]
    return Rows([np.concatenate([start, tail]).astype(np.int32) for tail in tails])


@dataclass
class WordRows(Rows):
    """Windows of words in memory, as ner's windows.Windows gives them."""

    unit_offsets_W1: np.ndarray
    first_U: np.ndarray
    last_U: np.ndarray


def random_windows(num: int, low: int, high: int, seed: int = 0) -> WordRows:
    """`num` windows of low..high tokens: one that opens them, words of 1 to 3 sub-words, one that closes them."""
    rows, rng = random_rows(num, low, high, seed=seed), np.random.default_rng(seed)
    first, last, counts = [], [], []
    for length in rows.lengths:
        starts = np.cumsum(np.concatenate([[1], rng.integers(1, 4, length)]))
        starts = starts[starts < length - 1]
        first.append(starts)
        last.append(np.append(starts, length - 1)[1:] - 1)
        counts.append(len(starts))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return WordRows(rows.ids, offsets, *(np.concatenate(places).astype(np.int32) for places in (first, last)))


def shake(model: torch.nn.Module, seed: int = 1) -> None:
    """Give every trainable weight a value of its own: LoRA's B starts at zero and would hide a lost adapter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
