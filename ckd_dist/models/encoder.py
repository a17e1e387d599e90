"""Load any BERT-family encoder under a fresh head.  Weights stay float32; autocast is the engine's business."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from ckd_dist.models.base import check_loaded, classifier_config, find_base, quiet
from ckd_dist.models.wrapper import Wrapper

FRESH = (
    "classifier.",
    "pre_classifier.",
    "score.",
    "bert.pooler.",
    "pooler.",
    "head.",
)  # heads and poolers that a base need not have


def build_student(
    base: str | Path,
    label_names: Sequence[str],
    *,
    revision: str | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
) -> Wrapper:
    """Build the encoder `base` under a fresh head, everything trainable.

    max_tokens: longest row that will come.  Raises ValueError or FileNotFoundError where the base does not fit.
    """
    config = classifier_config(base, label_names, revision, max_tokens)
    return Wrapper(load_encoder(base, config, AutoModelForSequenceClassification, revision, seed), "encoder")


def load_encoder(
    base: str | Path, config: PreTrainedConfig, auto: Any, revision: str | None, seed: int
) -> PreTrainedModel:
    """Load `base` under the fresh head of `config`, in training mode.  auto: the class with such a head."""
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, report = auto.from_pretrained(
            find_base(base, revision),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    check_loaded(base, set(report["missing_keys"]), fresh=FRESH)
    model.config._name_or_path = str(base)  # not the snapshot's path
    return model.train()
