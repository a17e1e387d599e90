"""Which tokens does a logit rest on?  Gradient times input, summed over a token's embedding.

    B samples, L tokens, K columns, C columns asked for

One forward pass and one backward pass a column (Simonyan et al. 2014; signed, as in Shrikumar et al. 2017).  A score is
how much of the logit the token adds to first order, in the logit's own unit: above 0 it speaks for the column.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ckd_dist.models.wrapper import Wrapper


def gradient_times_input(model: Wrapper, ids_BL: Tensor, attention_BL: Tensor, columns: Sequence[int]) -> Tensor:
    """Return what every token adds to the logits of `columns`, float32 [C, B, L]; 0 on padding.

    The model is one with a unit a row, in evaluation mode.  Raises ValueError where its embeddings cannot be read.
    """
    read: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: tuple, embedded_BLD: Tensor) -> Tensor:
        read.append(embedded_BLD.detach().requires_grad_())
        return read[-1]

    hook = model.plain.get_input_embeddings().register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits_BK = model(ids_BL, attention_BL)
            if len(read) != 1:
                raise ValueError(f"{type(model.plain).__name__} reads its embeddings {len(read)} times: not explained")
            (embedded_BLD,) = read
            sums = [logits_BK[:, column].sum() for column in columns]
            slopes = [torch.autograd.grad(each, embedded_BLD, retain_graph=True)[0] for each in sums]
    finally:
        hook.remove()
    scores_CBL = torch.stack([(slope_BLD * embedded_BLD).sum(-1) for slope_BLD in slopes]).detach().float()
    return scores_CBL * attention_BL
