"""Rows of token ids, and how some of them become a rectangle.  Which go together, budget.py says."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Tokens(Protocol):
    """Rows of token ids, in memory or in a file."""

    @property
    def lengths(self) -> np.ndarray:
        """Count the tokens of every row."""
        ...

    def row(self, i: int) -> np.ndarray:
        """Return the token ids of one row."""
        ...


def pad(rows: list[np.ndarray], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return token ids and attention (1 on real tokens), int64 [B, L], padded on the right to the longest row.

    >>> pad([np.array([5, 6]), np.array([7])], 0)[1].tolist()
    [[1, 1], [1, 0]]
    """
    lengths_B = np.array([len(row) for row in rows])
    ids_BL = np.full((len(rows), lengths_B.max()), pad_id, np.int64)
    for place, row in zip(ids_BL, rows, strict=True):
        place[: len(row)] = row
    attention_BL = np.arange(ids_BL.shape[1]) < lengths_B[:, None]
    return torch.from_numpy(ids_BL), torch.from_numpy(attention_BL.astype(np.int64))
