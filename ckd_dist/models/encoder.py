"""Load any BERT-family encoder under a fresh head.  Weights stay float32; autocast is the engine's business."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedModel

from ckd_dist.models.base import CLASS_HEAD, Head, classifier_config
from ckd_dist.models.load import FRESH, LoadOptions, load_model
from ckd_dist.models.seeded import seeded
from ckd_dist.models.wrapper import Wrapper


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
    return Wrapper(load_encoder(base, config, CLASS_HEAD, revision, seed), "encoder")


def load_encoder(
    base: str | Path, config: PreTrainedConfig, head: Head, revision: str | None, seed: int
) -> PreTrainedModel:
    """Load `base` under the fresh `head` of `config`, in training mode."""
    with seeded(seed):
        return load_model(base, config, head, LoadOptions(revision, fresh=FRESH)).train()
