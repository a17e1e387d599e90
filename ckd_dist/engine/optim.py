"""AdamW with the groups a fine-tuned model wants, and the learning rate as a pure function of the step."""

import math
from collections.abc import Callable

import torch
from torch import nn

from ckd_dist.config import Optim

HEAD = {"score", "classifier", "crf"}  # what transformers calls the heads of Qwen2 and of BERT, and our own chain


def parameter_groups(module: nn.Module, optim: Optim) -> list[dict]:
    """Split the trainable parameters of `module` by learning rate (backbone, head) and decay (not biases and norms).

    A parameter belongs to the head when one dotted part of its name is in HEAD.  Groups without a member are left out.
    Raises ValueError where nothing is trainable.
    """
    head_rate = optim.learning_rate if optim.head_learning_rate is None else optim.head_learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rate = head_rate if set(name.split(".")) & HEAD else optim.learning_rate
            decay = optim.weight_decay if num_dimensions(parameter) > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise ValueError("no parameter of the model is trainable")
    return [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]


def num_dimensions(parameter: nn.Parameter) -> int:
    """Count the dimensions of the whole parameter: one that ZeRO-3 has sharded at load looks flat."""
    return len(getattr(parameter, "ds_shape", parameter.shape))  # its true shape


def adamw(groups: list[dict], optim: Optim) -> torch.optim.AdamW:
    """Make an AdamW of one fused kernel an update (six times faster than the loop on CPU too)."""
    return torch.optim.AdamW(groups, betas=(0.9, optim.beta2), fused=True)


def schedule(optim: Optim, num_steps: int) -> Callable[[int], float]:
    """Return the factor on the peak learning rate, of step 0 .. num_steps - 1: a linear warm-up, then `optim.schedule`.

    >>> rate = schedule(Optim(warmup_fraction=0.2, schedule="linear"), num_steps=10)
    >>> [round(rate(step), 3) for step in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.125]
    """
    num_warm = round(optim.warmup_fraction * num_steps)
    after: dict[str, Callable[[float], float]] = {
        "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
        "linear": lambda done: 1 - done,
        "constant": lambda done: 1.0,
    }

    def factor(step: int) -> float:
        if step < num_warm:
            return (step + 1) / num_warm
        return after[optim.schedule]((step - num_warm) / max(1, num_steps - num_warm))

    return factor
