"""A model without its head: a base, or what this project exported, adapters merged, up to the last hidden states."""

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


def load_body(
    base: str | Path,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> PreTrainedModel:
    """The body of `base`, a folder or a hub name, in evaluation mode; a pooler that it may have is left out.

    Raises ValueError or FileNotFoundError where the base does not fit, as models/base.py says.
    """
    if is_adapter(Path(base)):
        return _merged(Path(base), dtype, device)
    config = _config(base, revision)
    with quiet(), torch.random.fork_rng(devices=[]):  # a missing pooler would be drawn
        body, report = AutoModel.from_pretrained(
            find_base(base, revision),
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    check_loaded(base, set(report["missing_keys"]), fresh=("pooler.",))
    if getattr(body, "pooler", None) is not None:
        body.pooler = None  # nothing here reads it, and DDP wants every weight to have a gradient
    body.config._name_or_path = str(base)  # not the snapshot's path
    return body.to(device).eval()


def outline(base: str | Path, revision: str | None = None) -> PreTrainedModel:
    """The body of `base` without its weights: what it is, not what it knows."""
    config = _adapted(Path(base)) if is_adapter(Path(base)) else _config(base, revision)
    with torch.device("meta"):
        return AutoModel.from_config(config)


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter, which names its base."""
    return (folder / "adapter_config.json").is_file()


def is_causal(body: PreTrainedModel) -> bool:
    """Whether a token sees only what came before it, as the attention layers themselves say."""
    return any(getattr(module, "is_causal", False) for module in body.modules())


def _config(base: str | Path, revision: str | None) -> PreTrainedConfig:
    config = load_config(base, revision)
    if config.is_encoder_decoder:
        raise ValueError(f"base {base}: it reads with one half and writes with the other; name an encoder or a decoder")
    return config


def _adapted(folder: Path) -> PreTrainedConfig:
    """The config that export.py writes one folder below an adapter."""
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
