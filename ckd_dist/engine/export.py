"""A trained phase is exported: weights gathered from the ranks, written as others load them, and marked as whole.

Between writing and the mark the folder is read back (readback.py): what was trained is what was exported.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ckd_dist.engine.alone import alone
from ckd_dist.engine.loop import Engine, Fitted, Phase
from ckd_dist.engine.readback import Expected, Predictor, few_rows, read_back
from ckd_dist.engine.task import Task
from ckd_dist.files import files_below, write
from ckd_dist.models.card import Card

EXPORTED = "exported.json"  # written last, with the digest of what the export came from


@dataclasses.dataclass(frozen=True)
class Form:
    """How one kind of model is written into a folder, and read from one."""

    export: Callable[..., str]  # of a model, its tokenizer, a folder, whole weights and a card
    load: Callable[..., Predictor]  # of a folder and a `device`, as those who use the model do
    precision: str  # of the trained model's forward pass: float32 or bfloat16


@dataclasses.dataclass(frozen=True)
class Trained:
    """What an export is made of, beside the weights that the engine holds."""

    model: nn.Module
    tokenizer: Any
    card: Card
    tasks: Sequence[Task]  # the first that has rows gives those that the export is read back by


def publish(engine: Engine, trained: Trained, phase: Phase, form: Form) -> None:
    """Export the trained weights into the phase's folder, read them back, and mark the folder.  A collective.

    Raises ValueError, on every rank, where the folder does not predict what the trained model does.
    """
    batch = few_rows(trained.tasks, phase.optim.micro_tokens).to(engine.device)
    expected = Expected(batch, engine.predict(batch).cpu(), form.precision)
    weights, folder = engine.full_weights(), phase.folder

    def write_and_read() -> None:
        (folder / EXPORTED).unlink(missing_ok=True)
        form.export(trained.model, trained.tokenizer, folder, weights, trained.card)
        num_bytes = sum(tensor.nbytes for tensor in weights.values())
        weights.clear()  # room for what is read back
        read_back(form.load, folder, num_bytes, expected)
        write(folder / EXPORTED, phase.digest)

    alone(engine.world, engine.device, write_and_read)


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
