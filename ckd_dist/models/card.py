"""The README.md of an exported model: what it is made from, what it is for, who may have it.

Weights trained on patient data are derived data of the same access class as the records: the card says so first.
Nothing here may name a path of this machine or a person.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "safetensors")
TEMPLATE = Path(__file__).with_name("card.md.jinja")


@dataclass(frozen=True)
class Card:
    """What the pipeline knows and the weights do not say.  Defaults are the careful answers."""

    data: str = "not stated"  # "MIMIC-III 1.4", "a synthetic hospital of 4000 subjects"
    licence: str = "not stated; treat as that of the source tables"
    patients: bool = True  # False: synthetic records only
    deidentified: str = "as the source; nothing was added or removed"
    cohort: str = "not stated"
    labels: str = "one column a disease; see the list below"
    num_samples: int | None = None  # trained on
    leakage: str = "none has been run; test for memorisation and membership inference before any release"
    contact: str = "whoever gave you this folder"
    scores: Mapping[str, float] = field(default_factory=dict)


def write_card(
    file: Path, card: Card, *, role: str, base: str, label_names: Sequence[str], adapter: bool, fingerprint: str
) -> None:
    """Write `file`.  role: teacher or student.  A base that is a folder is named by its last part only."""
    hub_name = None if Path(base).exists() or Path(base).is_absolute() else base
    data = ModelCardData(
        license="other",
        license_name="derived-from-patient-data" if card.patients else "synthetic",
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-classification" if label_names else "text-generation",
        base_model=hub_name,
        tags=["clinical", "multi-label-classification", "knowledge-distillation", role],
    )
    made = ModelCard.from_template(
        data,
        template_str=TEMPLATE.read_text(),
        card=card,
        role=role,
        base=hub_name or Path(base).name,
        label_names=list(label_names),
        adapter=adapter,
        fingerprint=fingerprint,
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    )
    file.write_text(str(made))
