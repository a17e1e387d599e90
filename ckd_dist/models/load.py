"""Load the weights of a base model: the one place where transformers reads them, from safetensors on this machine.

No code of the folder is run.  What the folder lacks is refused, but for a fresh last layer, which is drawn: by the
process's randomness, so call it within `seeded`.

A model goes straight to its device, tensor by tensor.  The files are mapped, not read: eight processes of a node share
one copy in the page cache, which the first one fetches.  By way of the CPU, 1 GB of bf16 cost a process 173 MB of
memory of its own, and 2.2 GB where it was to be float32.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from ckd_dist.models.base import Head, check_loaded, find_base, quiet

# heads and poolers that a base need not have
FRESH = ("classifier.", "pre_classifier.", "score.", "bert.pooler.", "pooler.", "head.")


@dataclass(frozen=True)
class LoadOptions:
    """How a base is read."""

    revision: str | None = None  # commit of a hub model
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    attention: str | None = None  # which implementation; none: transformers' choice
    fresh: tuple[str, ...] = ()  # what the names of tensors start with that the folder may lack


def load_model(
    base: str | Path, config: PreTrainedConfig, head: Head | None = None, options: LoadOptions = LoadOptions()
) -> PreTrainedModel:
    """Load the weights of `base`, a folder or a hub name, under `head`; without one, up to the last hidden states.

    Raises ValueError or FileNotFoundError where the base does not fit, as models/base.py says.
    """
    auto = getattr(transformers, head.auto) if head else AutoModel
    with quiet():
        model, report = auto.from_pretrained(
            find_base(base, options.revision),
            config=config,
            dtype=options.dtype,
            device_map=None if str(options.device) == "cpu" else {"": options.device},  # ZeRO-3 places them itself
            attn_implementation=options.attention,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    check_loaded(base, set(report["missing_keys"]), options.fresh)
    model.config._name_or_path = str(base)  # not the snapshot's path
    return model


def meta_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Return the backbone of `config` on the meta device: its shape, without weights."""
    with torch.device("meta"):
        return AutoModel.from_config(config)
