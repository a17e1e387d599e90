"""Rows of token ids, which of them go together, and how they become a rectangle."""

from collections.abc import Iterator
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


def batches(lengths: np.ndarray, micro_tokens: int) -> Iterator[slice]:
    """Cut rows, longest first, so that rows x longest stays within `micro_tokens`; a longer row goes alone.

    >>> list(batches(np.array([9, 5, 4, 4]), 10))
    [slice(0, 1, None), slice(1, 3, None), slice(3, 5, None)]
    """
    start = 0
    while start < len(lengths):
        stop = start + max(1, micro_tokens // int(lengths[start]))
        yield slice(start, stop)
        start = stop
