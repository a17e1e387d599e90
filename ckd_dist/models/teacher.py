"""Any Hugging Face causal language model as a teacher, full or LoRA, under the head that a study wants.

The supervised phase (published order) trains a causal LM on the answer text; the classification phase trains the same
weights under a linear head.  Full: the folder that the first phase saved is the second's base.  LoRA: adapter.py
carries the adapter over.

Under ZeRO-3 the caller hands in `loading`, a context in which transformers shards while it loads (engine/zero.py makes
it); this file knows nothing of it.  autocast_adapter_dtype=False, because ZeRO-3 wants one dtype of all trainables.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import TaskType
from torch import nn
from transformers import PreTrainedConfig

from ckd_dist.config import Lora
from ckd_dist.models.adapter import with_adapter
from ckd_dist.models.base import (
    ANSWER_HEAD,
    CLASS_HEAD,
    Head,
    check_fit,
    classifier_config,
    load_config,
    load_tokenizer,
    quiet,
)
from ckd_dist.models.load import FRESH, LoadOptions, load_model
from ckd_dist.models.seeded import seeded
from ckd_dist.models.wrapper import Wrapper


@dataclass(frozen=True)
class TeacherOptions:
    """How a teacher is made of a base, whatever head it gets."""

    tuning: str  # "full": all of it is trained; "lora": an adapter, and the head
    lora: Lora
    dtype: torch.dtype
    gradient_checkpointing: bool = False
    revision: str | None = None  # commit of a hub model
    loading: AbstractContextManager = field(default_factory=nullcontext)
    seed: int = 0  # of fresh weights


def build_classifier(
    base: str | Path, label_names: Sequence[str], options: TeacherOptions, max_tokens: int | None = None
) -> Wrapper:
    """Build the causal LM `base` under a fresh multi-label head.  max_tokens: of the longest row that will come.

    Raises ValueError or FileNotFoundError where the base does not fit.
    """
    config = classifier_config(base, label_names, options.revision, max_tokens)
    return build_teacher(base, config, CLASS_HEAD, options)


def build_answerer(base: str | Path, options: TeacherOptions) -> Wrapper:
    """Build the causal LM `base` for the supervised phase, as `build_classifier` makes one."""
    config, tokenizer = load_config(base, options.revision), load_tokenizer(base, options.revision)
    check_fit(base, config, tokenizer)
    return build_teacher(base, config, ANSWER_HEAD, options)


def build_teacher(base: str | Path, config: PreTrainedConfig, head: Head, options: TeacherOptions) -> Wrapper:
    """Load `base` under `head` and its `config`, ready to train.  Raise ValueError where they do not fit."""
    fresh = () if head is ANSWER_HEAD else FRESH
    with options.loading, quiet(), seeded(options.seed):
        how = LoadOptions(options.revision, options.dtype, attention="sdpa", fresh=fresh)
        model = load_model(base, config, head, how)
        if head is not ANSWER_HEAD and not hasattr(model, "score"):
            raise ValueError(f"base {base}: {type(model).__name__} is no causal language model, as a teacher must be")
        if options.tuning == "lora":
            model = with_adapter(model, base, options.revision, options.lora, TaskType(head.task))
    if options.gradient_checkpointing:
        recompute_activations(model)
    model.train()
    return Wrapper(model, head.kind)


def recompute_activations(model: nn.Module) -> None:
    """Let the backward pass compute activations again, by whichever name the installed transformers has for it."""
    later, earlier = "activation_checkpointing_enable", "gradient_checkpointing_enable"  # 5.23 has both, 5.17 one
    enable = getattr(model, later if hasattr(model, later) else earlier)
    enable({"use_reentrant": False})
