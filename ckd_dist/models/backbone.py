"""Load a model without its head, up to the last hidden states: a base, or an export of ours, adapters merged."""

from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from ckd_dist.models.base import head_of, load_config, open_config
from ckd_dist.models.load import LoadOptions, load_model, meta_model
from ckd_dist.models.saved import load_saved
from ckd_dist.models.seeded import seeded


def load_backbone(
    base: str | Path,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> PreTrainedModel:
    """Load the backbone of `base`, a folder or a hub name, in evaluation mode; a pooler that it may have is left out.

    Raises ValueError or FileNotFoundError where the base does not fit, as models/base.py says.
    """
    if is_adapter(Path(base)):
        return _merged(Path(base), dtype, device)
    config = _config(base, revision)
    with seeded(0):  # a missing pooler would be drawn
        backbone = load_model(base, config, options=LoadOptions(revision, dtype, device, fresh=("pooler.",)))
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # nothing here reads it, and DDP wants every weight to have a gradient
    return backbone.eval()


def meta_backbone(base: str | Path) -> PreTrainedModel:
    """Return the backbone of `base` on the meta device: its shape, without its weights."""
    return meta_model(_adapted(Path(base)) if is_adapter(Path(base)) else _config(base, None))


def is_adapter(folder: Path) -> bool:
    """Say whether the folder holds an adapter, which names its base."""
    return (folder / "adapter_config.json").is_file()


def is_causal(backbone: PreTrainedModel) -> bool:
    """Say whether a token sees only what came before it, as the attention layers themselves have it."""
    return any(getattr(module, "is_causal", False) for module in backbone.modules())


def _config(base: str | Path, revision: str | None) -> PreTrainedConfig:
    config = load_config(base, revision)
    if config.is_encoder_decoder:
        raise ValueError(f"base {base}: it reads with one half and writes with the other; name an encoder or a decoder")
    return config


def _adapted(folder: Path) -> PreTrainedConfig:
    """Read the config that export.py writes one folder below an adapter."""
    place = folder / "classifier"
    if not (place / "config.json").is_file():
        raise ValueError(
            f"model {folder.name}: an adapter, but none that this project exported; merge it into its base"
        )
    return open_config(place, folder.name)


def _merged(folder: Path, dtype: torch.dtype, device: torch.device | str) -> PreTrainedModel:
    head = head_of(_adapted(folder).architectures[0])
    return load_saved(folder, head, "adapter", dtype, device).base_model
