"""A small encoder that learns another model's vectors: a backbone, the mean over tokens, one linear layer.

    B phrases, L tokens, D hidden; width columns, as wide as the vectors to learn

Saved in the form of sentence-transformers (sentence_folder.py), so that its library, transformers (the backbone alone)
and `embed.load_embedder` read it.  The linear layer is called `classifier`, as heads are, and has their rate.
Left out: to go on from the linear layer of an earlier student; a base gives its backbone alone.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ckd_dist.models.backbone import load_backbone
from ckd_dist.models.base import check_fit, load_tokenizer
from ckd_dist.models.card import CONCEPTS, Card, Exported, write_card
from ckd_dist.models.embed import load_embedder
from ckd_dist.models.export import check_saved, exporting
from ckd_dist.models.pooling import mean
from ckd_dist.models.seeded import seeded
from ckd_dist.models.sentence_folder import fingerprint_modules, write_sentence_folder


class ConceptStudent(nn.Module):
    """An encoder with a linear layer: a vector a row."""

    def __init__(self, model: PreTrainedModel, width: int, max_tokens: int) -> None:
        super().__init__()
        self.model = model
        self.classifier = nn.Linear(model.config.hidden_size, width)
        self.max_tokens = max_tokens

    def forward(self, input_ids_BL: Tensor, attention_BL: Tensor, units_U2: Tensor | None = None) -> Tensor:
        """Return a vector a row, float32 [B, width].  units_U2: not used, a row is a unit."""
        hidden_BLD = self.model(input_ids=input_ids_BL, attention_mask=attention_BL).last_hidden_state
        return self.classifier(mean(hidden_BLD, attention_BL)).float()


def build_concept_student(
    base: str | Path, width: int, revision: str | None = None, max_tokens: int = 64, seed: int = 0
) -> ConceptStudent:
    """Build the encoder `base` under a fresh linear layer of `width` columns, everything trainable, float32.

    max_tokens: longest phrase, tokens.  Raises ValueError or FileNotFoundError where the base does not fit.
    """
    backbone = load_backbone(base, revision)
    check_fit(base, backbone.config, load_tokenizer(base, revision), max_tokens)
    with seeded(seed):
        student = ConceptStudent(backbone, width, max_tokens)
    return student.train()


def export_concept_student(
    model: ConceptStudent,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    state_dict: Mapping[str, Tensor] | None = None,
    card: Card = Card(),  # noqa: B008  (frozen)
) -> str:
    """Publish a student in `folder` as models/export.py does; return its fingerprint.

    state_dict: whole tensors under the names of `model.state_dict()`; none: the model's own.  Raises ValueError where a
    tensor is missing, empty or not finite.
    """
    weights = state_dict or model.state_dict()
    lost = [name for name, _ in model.named_parameters() if name not in weights]
    if lost:
        raise ValueError(f"export: {len(lost)} tensors of the model were not handed over, first {lost[0]}")
    tensors = {name: tensor.detach().float().cpu() for name, tensor in weights.items()}
    backbone = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    dense = nn.Linear(model.classifier.in_features, model.classifier.out_features)
    dense.load_state_dict({name: tensors[f"classifier.{name}"] for name in ("weight", "bias")})
    with exporting(Path(folder)) as temporary:
        model.model.save_pretrained(temporary, state_dict=backbone)
        tokenizer.save_pretrained(temporary)
        write_sentence_folder(temporary, dense, model.max_tokens)
        check_saved(temporary, ())
        mark = fingerprint_modules(temporary)
        write_card(temporary / "README.md", card, Exported("student", model.model.config._name_or_path, mark), CONCEPTS)
    return mark


def load_concept_student(folder: Path, device: torch.device | str = "cpu") -> Callable[..., Tensor]:
    """Load an exported student as any model that embeds phrases; return a forward pass like `ConceptStudent`'s."""
    embedder = load_embedder(folder, device=device)

    def forward(input_ids_BL: Tensor, attention_BL: Tensor, units_U2: Tensor | None = None) -> Tensor:
        return embedder.forward(input_ids_BL, attention_BL, masked=True)

    return forward
