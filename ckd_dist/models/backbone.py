"""Load a model without its head, up to the last hidden states: a base, or an export of ours, adapters merged."""

from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from ckd_dist.models.base import check_loaded, find_base, load_config, quiet
from ckd_dist.models.saved import load_saved

AUTOS = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
    "ForCausalLM": AutoModelForCausalLM,
}


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
    with quiet(), torch.random.fork_rng(devices=[]):  # a missing pooler would be drawn
        backbone, report = AutoModel.from_pretrained(
            find_base(base, revision),
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    check_loaded(base, set(report["missing_keys"]), fresh=("pooler.",))
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # nothing here reads it, and DDP wants every weight to have a gradient
    backbone.config._name_or_path = str(base)  # not the snapshot's path
    return backbone.to(device).eval()


def meta_backbone(base: str | Path) -> PreTrainedModel:
    """Return the backbone of `base` on the meta device: its shape, without its weights."""
    config = _adapted(Path(base)) if is_adapter(Path(base)) else _config(base, None)
    with torch.device("meta"):
        return AutoModel.from_config(config)


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
    return AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)


def _merged(folder: Path, dtype: torch.dtype, device: torch.device | str) -> PreTrainedModel:
    made = _adapted(folder).architectures[0]
    auto = next(auto for ending, auto in AUTOS.items() if made.endswith(ending))
    return load_saved(folder, auto, "adapter", dtype, device).base_model
