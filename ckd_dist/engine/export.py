"""A trained phase is exported: weights gathered from the ranks, written as others load them, and marked as whole."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ckd_dist.engine.loop import Engine, Fitted
from ckd_dist.files import files_below, write
from ckd_dist.models.card import Card
from ckd_dist.models.export import export_teacher

EXPORTED = "exported.json"  # written last, with the digest of what the export came from


@dataclasses.dataclass(frozen=True)
class Trained:
    """What an export is made of, beside the weights that the engine holds."""

    model: nn.Module
    tokenizer: Any
    card: Card


def publish(
    engine: Engine, trained: Trained, folder: Path, digest: str, export: Callable[..., str] = export_teacher
) -> None:
    """Export the trained weights into `folder`, and mark it.  A collective."""
    weights = engine.full_weights()
    if engine.world.is_leader:
        (folder / EXPORTED).unlink(missing_ok=True)
        export(trained.model, trained.tokenizer, folder, weights, trained.card)
        write(folder / EXPORTED, digest)
    engine.world.barrier()


def is_exported(folder: Path, digest: str) -> bool:
    """Say whether `publish` of the same phase ended here."""
    mark = folder / EXPORTED
    return mark.is_file() and mark.read_text() == digest


def exported_files(folder: Path) -> list[Path]:
    """List what a trained model's folder offers to others: everything but its checkpoints."""
    return [
        path for path in files_below(folder) if not any(p.startswith("step_") for p in path.relative_to(folder).parts)
    ]


def with_scores(card: Card, num_samples: int, fitted: Fitted) -> Card:
    """Return the card of this training: how many rows it read, and what tuning says of it (the leader knows)."""
    scores = {name: value for name, value in (fitted.best.numbers if fitted.best else {}).items() if value is not None}
    return dataclasses.replace(card, num_samples=num_samples, scores=scores)
