"""Make one vector a row out of the hidden states of its tokens.  Padding, on the right, never counts.

    B samples, L tokens, D hidden

In float32 whatever the hidden states are: a mean of hundreds of bfloat16 numbers would lose a digit.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Pool = Callable[[Tensor, Tensor], Tensor]  # pool(hidden_BLD, attention_BL): float32 [B, D]


def mean(hidden_BLD: Tensor, attention_BL: Tensor) -> Tensor:
    """Return the mean over real tokens, float32 [B, D]; a row without any gives zeros."""
    weight_BL = attention_BL.float() / attention_BL.sum(1, keepdim=True).clamp(min=1)
    return (weight_BL.unsqueeze(2) * hidden_BLD.float()).sum(1)  # no product of matrices: autocast would round it


def cls(hidden_BLD: Tensor, attention_BL: Tensor) -> Tensor:
    """Return the first token, BERT's [CLS], float32 [B, D]."""
    return hidden_BLD[:, 0].float()


def last(hidden_BLD: Tensor, attention_BL: Tensor) -> Tensor:
    """Return the last real token, the one that has seen all others of a causal model, float32 [B, D]."""
    row_B = torch.arange(len(hidden_BLD), device=hidden_BLD.device)
    return hidden_BLD[row_B, attention_BL.sum(1) - 1].float()


POOLINGS: dict[str, Pool] = {"mean": mean, "cls": cls, "last": last}
