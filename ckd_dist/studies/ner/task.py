"""Tagging words: a unit is a word, a column a BIO tag, exactly one of which is right.

A word is read at its first sub-word (by a student) or its last (by a causal teacher, which has seen the whole word only
there).  A student learns its further sub-words too, at a small weight and with B turned into I, so that Hugging Face's
pipeline, which looks at every sub-word, joins them into one entity.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ckd_dist.engine.task import Batch, label_loss
from ckd_dist.models.losses import Mixing, mixed_tag_loss
from ckd_dist.models.rows import pad
from ckd_dist.notes.note import best_tags, spans
from ckd_dist.studies.ner.labelers.labelled import FLOOR, known_words
from ckd_dist.studies.ner.windows import Windows

UNKNOWN = -1  # tag of a word that nobody annotated
CONTINUATION = 0.2  # weight of a sub-word after the first, in words


@dataclass(frozen=True, eq=False)
class Tags:
    """What is known of every word of a split."""

    hard_U: np.ndarray  # int64, UNKNOWN where nobody annotated
    num_columns: int
    soft_UK: np.ndarray | None = None  # logits; none: human tags alone


@dataclass(frozen=True)
class Reading:
    """At which sub-words a model reads words."""

    pad_id: int
    at: Literal["first", "last"] = "first"
    continuation: float = 0.0  # weight of a sub-word after the first, in words; 0: none is read


class NerTask:
    """Some windows of a split, to learn from human tags, soft tags or both, or to score."""

    def __init__(
        self, windows: Windows, rows_N: np.ndarray, tags: Tags, reading: Reading, mixing: Mixing, balance: float
    ) -> None:
        """rows_N: the windows.  balance: exponent by which rare tags weigh more, (1 / share)^balance.

        Raises ValueError where `tags` are not of all words of all windows.
        """
        for name, table in (("hard_U", tags.hard_U), ("soft_UK", tags.soft_UK)):
            if table is not None and len(table) != windows.num_units:
                raise ValueError(f"{name} has {len(table)} words, the windows {windows.num_units}")
        self.windows, self.rows_N = windows, np.asarray(rows_N)
        self.tags, self.reading, self.mixing, self.balance = tags, reading, mixing, balance
        self.weight_U = self._weights()

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each chosen window, int64 [N]."""
        return self.windows.lengths[self.rows_N]

    @property
    def units_N(self) -> np.ndarray:  # noqa: N802, a shape suffix
        """Words that each chosen window owns, int64 [N]."""
        return np.diff(self.windows.unit_offsets_W1)[self.rows_N]

    @property
    def weights(self) -> np.ndarray:
        """What a chosen window adds to its step's total weight, float64 [N]."""
        more_U = self.windows.last_U - self.windows.first_U
        total_U1 = np.concatenate([[0.0], (self.weight_U * (1 + self.reading.continuation * more_U)).cumsum()])
        offsets = self.windows.unit_offsets_W1
        return (total_U1[offsets[1:]] - total_U1[offsets[:-1]])[self.rows_N]

    def collate(self, rows: Sequence[int]) -> Batch:
        """Return windows padded on the right to their longest; no rows: the empty slot."""
        if len(rows) == 0:
            return self._empty()
        chosen = self.rows_N[np.asarray(rows)]
        ids_BL, attention_BL = pad([self.windows.row(row) for row in chosen], self.reading.pad_id)
        parts = [self._places(place, row) for place, row in enumerate(chosen)]
        place_U, position_U, word_U, further_U = (np.concatenate(column) for column in zip(*parts, strict=True))
        hard_U, soft_UK = self.tags.hard_U[word_U], self.tags.soft_UK
        known_U = hard_U != UNKNOWN
        hard_U = np.where(further_U & (hard_U % 2 == 1) & known_U, hard_U + 1, hard_U)  # B continues as I
        return Batch(
            input_ids_BL=ids_BL,
            attention_BL=attention_BL,
            hard_UK=torch.from_numpy(np.eye(self.tags.num_columns, dtype=np.float32)[np.where(known_U, hard_U, 0)]),
            soft_UK=None if soft_UK is None else torch.from_numpy(continued(soft_UK[word_U], further_U)),
            labelled_U=torch.from_numpy(known_U.astype(np.float32)),
            mask_U=torch.from_numpy(
                (self.weight_U[word_U] * np.where(further_U, self.reading.continuation, 1)).astype(np.float32)
            ),
            units_U2=torch.from_numpy(np.stack([place_U, position_U], 1).astype(np.int64)),
        )

    def loss(self, logits_UK: Tensor, batch: Batch) -> Tensor:
        """Return the sum over words; without soft tags, cross-entropy on the annotated ones."""
        return label_loss(mixed_tag_loss, logits_UK, batch, self.mixing)

    def metrics(self, rows: np.ndarray, logits_UK: np.ndarray) -> dict[str, float]:
        """Return entity_f1, strict and micro, of chosen windows `rows`, whose words' logits follow one another."""
        chosen = self.rows_N[rows]
        offsets, note_W = self.windows.unit_offsets_W1, self.windows.note_W
        word_U = np.concatenate([np.arange(0), *(np.arange(offsets[row], offsets[row + 1]) for row in chosen)])
        note_U = np.repeat(note_W[chosen], np.diff(offsets)[chosen])
        cuts = np.flatnonzero(np.diff(note_U)) + 1
        right = found = gold = 0
        for hard_U, score_UK in zip(np.split(self.tags.hard_U[word_U], cuts), np.split(logits_UK, cuts), strict=True):
            ours, theirs = (set(map(tuple, spans(tags).tolist())) for tags in (best_tags(score_UK), hard_U))
            right, found, gold = right + len(ours & theirs), found + len(ours), gold + len(theirs)
        return {"entity_f1": 2 * right / (found + gold) if found + gold else float("nan")}

    def _weights(self) -> np.ndarray:
        """Return the weight of every word of the split, float64 [U]: 0 where nothing is known, rare tags weigh more."""
        known_U = self.tags.hard_U != UNKNOWN
        target_UK = np.eye(self.tags.num_columns)[np.where(known_U, self.tags.hard_U, 0)] * known_U[:, None]
        if self.tags.soft_UK is not None:
            share = np.where(known_U, self.mixing.soft_weight, 1.0)[:, None]
            target_UK = (1 - share) * target_UK + share * probabilities(self.tags.soft_UK)
            target_UK[~known_words(self.tags.soft_UK)] = 0  # nobody knows them: `stood_in` has seen to those of people
        return target_UK @ tag_weights(target_UK.sum(0), self.balance)

    def _places(self, place: int, row: int) -> tuple[np.ndarray, ...]:
        """Return of each unit of a window: row in the batch, position, word, and whether it is a further sub-word."""
        words = slice(*self.windows.unit_offsets_W1[row : row + 2])
        first_U, last_U = self.windows.first_U[words], self.windows.last_U[words]
        word_U = np.arange(words.start, words.stop)
        if not self.reading.continuation:
            position_U = first_U if self.reading.at == "first" else last_U
            return np.full(len(word_U), place), position_U, word_U, np.zeros(len(word_U), bool)
        times_U = last_U - first_U + 1
        starts_U = np.concatenate([[0], times_U.cumsum()[:-1]]).astype(np.int64)
        nth = np.arange(times_U.sum()) - starts_U.repeat(times_U)
        return np.full(len(nth), place), first_U.repeat(times_U) + nth, word_U.repeat(times_U), nth > 0

    def _empty(self) -> Batch:
        """Return one pad token as one word that weighs nothing."""
        shape = (1, self.tags.num_columns)
        return Batch(
            input_ids_BL=torch.full((1, 1), self.reading.pad_id),
            attention_BL=torch.ones(1, 1, dtype=torch.int64),
            hard_UK=torch.zeros(shape),
            soft_UK=None if self.tags.soft_UK is None else torch.zeros(shape),
            labelled_U=torch.zeros(1),
            mask_U=torch.zeros(1),
            units_U2=torch.zeros(1, 2, dtype=torch.int64),
        )


def stood_in(soft_UK: np.ndarray, hard_U: np.ndarray) -> np.ndarray:
    """Return soft tags in which a human tag, where there is one, stands in for labelers that know nothing."""
    there_U = ~known_words(soft_UK) & (hard_U != UNKNOWN)
    stood_UK = np.where(there_U[:, None], np.float32(math.log(FLOOR)), soft_UK)
    stood_UK[there_U, hard_U[there_U]] = 0.0
    return stood_UK


def probabilities(logits_UK: np.ndarray) -> np.ndarray:
    """Return the softmax over columns."""
    exp_UK = np.exp(logits_UK - logits_UK.max(1, keepdims=True))
    return exp_UK / exp_UK.sum(1, keepdims=True)


def continued(soft_UK: np.ndarray, further_U: np.ndarray) -> np.ndarray:
    """Return logits for sub-words: after the first, what a B has goes to its I."""
    soft_UK = soft_UK.astype(np.float32)
    further_VK = soft_UK[further_U]
    further_VK[:, 2::2] = np.logaddexp(further_VK[:, 1::2], further_VK[:, 2::2])
    further_VK[:, 1::2] = further_VK.min(1, keepdims=True) - 10.0
    soft_UK[further_U] = further_VK
    return soft_UK


def tag_weights(count_K: np.ndarray, balance: float) -> np.ndarray:
    """Return (1 / share)^balance of every tag, scaled so that words weigh 1 on average; 1 for an absent tag.

    >>> tag_weights(np.array([90.0, 10.0]), 0.5).round(3).tolist()
    [0.833, 2.5]
    """
    total = count_K.sum()
    if total == 0:
        return np.ones(len(count_K))
    share_K = np.maximum(count_K / total, 1e-6)
    weight_K = np.where(count_K > 0, share_K**-balance, 0)
    return np.where(count_K > 0, weight_K / (weight_K @ count_K / total), 1.0)
