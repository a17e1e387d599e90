"""Floating-point operations that a model needs, and what cards can do: MFU is the first over the second.

N backbone parameters (no embeddings, no head), L layers, h width, n tokens of a row.  Forward: 2 N n for the matrices,
and for attention 2 L h n^2 where it is causal, 4 L h n^2 where every token sees all.  Backward: 2 N n for the
gradients of activations, 2 N n for those of the backbone's weights where it is trained, and twice attention's forward.
LoRA's own matrices are under one per cent, and left out.  Recomputing activations costs another forward; MFU does not
count it as useful, "with recomputation" does.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

PEAK = {"A100": 312e12, "H100 80GB HBM3": 989e12, "H200": 989e12}  # FLOP/s, bf16 dense, as the vendor says


def peak_of(card: str) -> float | None:
    """Return what the card of that name can do; None where the table does not know it (NVL cards run slower).

    >>> peak_of("NVIDIA H200"), peak_of("NVIDIA H200 NVL")
    (989000000000000.0, None)
    """
    return next((peak for name, peak in PEAK.items() if name in card and "NVL" not in card), None)


@dataclass(frozen=True)
class Backbone:
    """What decides the cost of a token."""

    parameters: int
    layers: int
    width: int
    causal: bool

    @classmethod
    def of(cls, model: nn.Module, *, causal: bool) -> "Backbone":
        """Measure a Hugging Face model, counted on its weights, whatever lies on top of its blocks."""
        numbers = (p.numel() for name, p in model.base_model.named_parameters() if "embed" not in name)
        return cls(sum(numbers), model.config.num_hidden_layers, model.config.hidden_size, causal)

    def forward(self, lengths: np.ndarray, prefix: int = 0) -> float:
        """Return the FLOP to read rows of `lengths`, a prefix that all of them share (causal only) being read once."""
        lengths = np.asarray(lengths, np.float64)
        per_pair = (2 if self.causal else 4) * self.layers * self.width
        rest = 2 * self.parameters * (lengths - prefix) + per_pair * (lengths**2 - prefix**2)
        return float(rest.sum() + 2 * self.parameters * prefix + per_pair * prefix**2)

    def training(self, lengths: np.ndarray, *, frozen: bool) -> float:
        """Return the FLOP to learn from them; `frozen`: the backbone's own weights get no gradient, as under LoRA."""
        matrices = 2 * self.parameters * float(np.sum(lengths))
        return 3 * self.forward(lengths) - (matrices if frozen else 0)
