"""Pool the values of a case's concepts: their maximum, mean, weighted mean, or what a Transformer reads.

    B cases, L concepts in a case, U different concepts of the batch (row 0: padding), F filters

Each gets `first_UF`, the first layer of every concept of the batch, and `row_BL`, the rows of each case's concepts, and
gives [B, F]: zeros for a case without a concept.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, relu, scaled_dot_product_attention

MAXIMUM = 2  # what torch.embedding_bag calls it
INNER_DROPOUT = 0.1  # in a transformer's layers; the recipe's is before the last layer of every kind


@dataclass(frozen=True)
class PatientOptions:
    """What a patient model is made of."""

    kind: Literal["max", "mean", "attention", "transformer"]
    filters: int  # width after the first layer
    dropout: float  # before the last layer
    layers: int  # of a transformer
    heads: int  # of a transformer's attention


class Maximum(nn.Module):
    """The largest value of every filter over the case.

    The maximum's place is found without a graph and one value a filter is read with it, so that the backward pass
    writes B x F numbers instead of B x L x F.  (Equal values: one of them gets the gradient.)
    """

    def __init__(self, options: PatientOptions) -> None:
        super().__init__()

    def forward(self, first_UF: Tensor, row_BL: Tensor) -> Tensor:
        """Pool every case, float32 [B, F]."""
        starts_B = torch.arange(0, row_BL.numel(), row_BL.shape[1], device=row_BL.device)
        with torch.no_grad():  # of its four outputs the last says which row of the table had each maximum
            *_, row_BF = torch.embedding_bag(
                first_UF,
                row_BL.flatten(),
                starts_B,
                mode=MAXIMUM,
                scale_grad_by_freq=False,
                sparse=False,
                per_sample_weights=None,
                include_last_offset=False,
                padding_idx=0,
            )
        present_BF = row_BF > 0
        return relu(first_UF.gather(0, row_BF)) * present_BF


class Mean(nn.Module):
    """The mean of every filter over the case."""

    def __init__(self, options: PatientOptions) -> None:
        super().__init__()

    def forward(self, first_UF: Tensor, row_BL: Tensor) -> Tensor:
        """Pool every case, float32 [B, F]."""
        member_BU = membership(row_BL, len(first_UF))
        share_BU = member_BU / member_BU.sum(1, keepdim=True).clamp(min=1)
        return share_BU @ relu(first_UF)


class Attention(nn.Module):
    """A weighted mean: the weight of a concept is its value along a learned query, softmax over the case."""

    def __init__(self, options: PatientOptions) -> None:
        super().__init__()
        self.query = nn.Linear(options.filters, 1, bias=False)

    def forward(self, first_UF: Tensor, row_BL: Tensor) -> Tensor:
        """Pool every case, float32 [B, F]."""
        member_BU = membership(row_BL, len(first_UF))
        value_UF = relu(first_UF)
        score_BU = self.query(value_UF).T.masked_fill(member_BU == 0, torch.finfo(value_UF.dtype).min)
        return (score_BU.softmax(1) * member_BU) @ value_UF


class EventTransformer(nn.Module):
    """A pre-norm Transformer over the concepts in their order (sinusoidal positions), then their mean."""

    def __init__(self, options: PatientOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(options) for _ in range(options.layers))
        self.norm = nn.LayerNorm(options.filters)

    def forward(self, first_UF: Tensor, row_BL: Tensor) -> Tensor:
        """Pool every case, float32 [B, F]."""
        present_BL = row_BL > 0
        order_BL = (present_BL.cumsum(1) - 1).clamp(min=0)  # a concept that is not present takes no position
        hidden_BLF = embedding(row_BL, first_UF)
        hidden_BLF = hidden_BLF + embedding(order_BL, positions(row_BL.shape[1], first_UF.shape[1]).to(first_UF))
        for layer in self.layers:
            hidden_BLF = layer(hidden_BLF, present_BL)
        weight_BL = present_BL / present_BL.sum(1, keepdim=True).clamp(min=1)
        return (weight_BL.to(first_UF).unsqueeze(1) @ self.norm(hidden_BLF)).squeeze(1)


class Layer(nn.Module):
    """Attention and a feed-forward layer of twice the width, each after a norm and added to what it read."""

    def __init__(self, options: PatientOptions) -> None:
        super().__init__()
        width = options.filters
        self.num_heads = options.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(INNER_DROPOUT)

    def forward(self, hidden_BLF: Tensor, present_BL: Tensor) -> Tensor:
        """Return the next hidden states.  present_BL: bool, False on padding and on codes that do not count."""
        query, key, value = self.qkv(self.norm_1(hidden_BLF)).unflatten(2, (3, self.num_heads, -1)).unbind(2)
        open_BL = present_BL | ~present_BL.any(1, keepdim=True)  # an empty case looks at padding, and is left out later
        read = scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=open_BL[:, None, None, :]
        )
        hidden_BLF = hidden_BLF + self.dropout(self.out(read.transpose(1, 2).flatten(2)))
        return hidden_BLF + self.dropout(self.down(relu(self.up(self.norm_2(hidden_BLF)))))


def membership(row_BL: Tensor, num_concepts: int) -> Tensor:
    """Return 1 where a case has a concept of the batch, float32 [B, U]; padding is nobody's."""
    member_BU = torch.zeros(len(row_BL), num_concepts, device=row_BL.device).scatter_(1, row_BL, 1.0)
    member_BU[:, 0] = 0
    return member_BU


def positions(num_positions: int, width: int) -> Tensor:
    """Return sines and cosines of every position, float32 [L, F] (Vaswani et al. 2017, sec. 3.5)."""
    rate_F = 10000.0 ** (-2 * (torch.arange(width) // 2) / width)
    angle_LF = torch.arange(num_positions)[:, None] * rate_F
    return torch.where(torch.arange(width) % 2 == 0, angle_LF.sin(), angle_LF.cos())


POOLS = {"max": Maximum, "mean": Mean, "attention": Attention, "transformer": EventTransformer}
