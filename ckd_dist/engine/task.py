"""What the loop, the losses and the shards see of any study.

    B samples, L tokens, U units, K columns.  disease: a unit is an admission, a column a disease.

A task is three verbs.  How its samples came to be is a stage's business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ckd_dist.models.losses import HARD_ALONE, Mixing


@dataclass
class Batch:
    """One micro-batch.  An empty slot of a step is one row of padding whose `mask_U` is 0."""

    input_ids_BL: Tensor  # int64
    attention_BL: Tensor  # int64, 1 on real tokens
    hard_UK: Tensor  # float32, 0 or 1; anything where labelled_U is 0
    soft_UK: Tensor | None  # float32, the teacher's raw logits
    labelled_U: Tensor  # float32, 1 where hard_UK is known
    mask_U: Tensor  # float32, 0 leaves the unit out
    units_U2: Tensor | None = None  # int64 (row, position) of every unit; None: one unit a row, pooled by the model
    targets_U: Tensor | None = None  # int64, the right column of every unit, where exactly one is right (answers)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{k: v if v is None else v.to(device, non_blocking=True) for k, v in moved.items()})


def label_loss(mixed: Callable[..., Tensor], logits_UK: Tensor, batch: Batch, mixing: Mixing) -> Tensor:
    """Return the sum over units of a batch's loss; where it has no soft labels, the hard ones have the whole weight.

    mixed: models.losses.mixed_loss or mixed_tag_loss.
    """
    chosen = HARD_ALONE if batch.soft_UK is None else mixing
    labels = (batch.hard_UK, batch.soft_UK, batch.mask_U, batch.labelled_U)
    return mixed(logits_UK, *labels, soft_weight=chosen.soft_weight, temperature=chosen.temperature)


class Task(Protocol):
    """`rows` index the task's N rows; an empty list asks for the empty slot."""

    @property
    def lengths(self) -> np.ndarray:
        """Count the tokens of each row, int64 [N], for a token budget."""
        ...

    @property
    def weights(self) -> np.ndarray:
        """Return what each row adds to its step's total weight, float64 [N]."""
        ...

    def collate(self, rows: Sequence[int]) -> Batch:
        """Make one micro-batch of rows."""
        ...

    def loss(self, logits_UK: Tensor, batch: Batch) -> Tensor:
        """Return the sum over units, never a mean."""
        ...

    def metrics(self, rows: np.ndarray, logits_UK: np.ndarray) -> dict[str, float]:
        """Score predictions for `rows`, one row of logits each."""
        ...
