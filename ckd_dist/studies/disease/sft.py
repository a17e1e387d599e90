"""Supervised fine-tuning: learn to write the answer.  A unit is a token of the answer, a column one of the vocabulary.

A row is prompt + answer; the answer ends with the turn's end mark.  The token at position p is predicted from p - 1, so
units point one place before their target, and nothing but those places goes through the vocabulary projection.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ckd_dist.engine.task import Batch
from ckd_dist.models.losses import answer_loss
from ckd_dist.models.rows import Tokens, pad


def encode_answers(tokenizer: PreTrainedTokenizerBase, answers: Iterable[str | None]) -> list[np.ndarray]:
    """Return the token ids of every answer and its end mark, int32; an empty array where there is no answer."""
    end = [tokenizer.eos_token_id]
    return [
        np.array([] if answer is None else tokenizer(answer, add_special_tokens=False).input_ids + end, np.int32)
        for answer in answers
    ]


class AnswerTask:
    """Next-token prediction on the answers alone."""

    def __init__(self, tokens: Tokens, answers: Sequence[np.ndarray], pad_id: int) -> None:
        """tokens: prompts up to where the answer starts.  answers: of the same rows, from `encode_answers`."""
        if len(answers) != len(tokens.lengths):
            raise ValueError(f"answers have {len(answers)} rows, the token table {len(tokens.lengths)}")
        self.tokens = tokens
        self.answers = answers
        self.pad_id = pad_id

    @property
    def weights(self) -> np.ndarray:
        """Return what each row adds to its step's weight: its answer tokens, float64 [N]."""
        return np.array([len(answer) for answer in self.answers], np.float64)

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of prompt and answer, int64 [N]: what a token budget counts."""
        return np.asarray(self.tokens.lengths) + self.weights.astype(np.int64)

    def collate(self, rows: Sequence[int]) -> Batch:
        """Pad rows on the right to their longest; return the empty slot where there is no answer among them."""
        pairs = [(self.tokens.row(row), self.answers[row]) for row in rows]
        targets = np.concatenate([np.array([], np.int64), *(answer for _, answer in pairs)]).astype(np.int64)
        if len(targets) == 0:
            one_pad = pad([np.array([self.pad_id])], self.pad_id)
            return _batch(*one_pad, np.zeros((1, 2), np.int64), np.zeros(1, np.int64), weight=0)
        units = [
            (place, len(prompt) - 1 + step)
            for place, (prompt, answer) in enumerate(pairs)
            for step in range(len(answer))
        ]
        ids_BL, attention_BL = pad([np.concatenate(pair) for pair in pairs], self.pad_id)
        return _batch(ids_BL, attention_BL, np.array(units), targets, weight=1)

    def loss(self, logits_UK: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy summed over answer tokens."""
        return answer_loss(logits_UK, batch.targets_U, batch.mask_U)

    def metrics(self, rows: np.ndarray, logits_UK: np.ndarray) -> dict[str, float]:
        """Return answer_loss and answer_accuracy a token; `logits_UK` holds the rows' units one after the other."""
        targets_U = torch.from_numpy(np.concatenate([self.answers[row] for row in rows]).astype(np.int64))
        logits = torch.from_numpy(logits_UK)
        return {
            "answer_loss": float(answer_loss(logits, targets_U, torch.ones(len(targets_U)))) / len(targets_U),
            "answer_accuracy": float((logits.argmax(1) == targets_U).float().mean()),
        }


def _batch(ids_BL: Tensor, attention_BL: Tensor, units_U2: np.ndarray, targets_U: np.ndarray, weight: int) -> Batch:
    """Return a batch whose units weigh `weight` each."""
    num_units = len(targets_U)
    return Batch(
        input_ids_BL=ids_BL,
        attention_BL=attention_BL,
        hard_UK=torch.zeros(num_units, 0),
        soft_UK=None,
        labelled_U=torch.ones(num_units),
        mask_U=torch.full((num_units,), float(weight)),
        units_U2=torch.from_numpy(units_U2),
        targets_U=torch.from_numpy(targets_U),
    )
