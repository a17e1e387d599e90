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

from ckd_dist.models.base import CLASS_HEAD, TAG_HEAD
from ckd_dist.schema import FEWEST_SUBJECTS

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "safetensors")
TEMPLATE = Path(__file__).with_name("card.md.jinja")


@dataclass(frozen=True)
class Wording:
    """The few words in which the cards of the studies differ."""

    title: str
    columns: str  # what one means
    caution: str
    rows: str  # what was kept for tuning
    architecture: str  # after "AutoModel"
    pipeline_tag: str
    topic: str
    library: str = "transformers"


DISEASES = Wording(
    title="next-visit diseases from an admission's record",
    columns="A column is an independent probability (sigmoid of a logit) that the disease is coded at the next visit.",
    caution="learned from billing codes, which are not diagnoses",
    rows="subjects",
    architecture=CLASS_HEAD.architecture,
    pipeline_tag="text-classification",
    topic="multi-label-classification",
)
TAGS = Wording(
    title="entities in clinical notes",
    columns="A word has one tag (softmax over the columns): O outside, B where an entity begins, I where it goes on.",
    caution="learned from labelers that err; that a text names a disease does not say that the patient has it",
    rows="notes",
    architecture=TAG_HEAD.architecture,
    pipeline_tag="token-classification",
    topic="token-classification",
)
CONCEPTS = Wording(
    title="vectors of clinical concepts",
    columns="A phrase has one vector; directions were learned, lengths were not, so compare by cosine.",
    caution="two phrases are near because another model put them near, which is no clinical statement",
    rows="phrases",
    architecture="",
    pipeline_tag="sentence-similarity",
    topic="feature-extraction",
    library="sentence-transformers",
)


@dataclass(frozen=True)
class Card:
    """What the pipeline knows and the weights do not say.  Defaults are the careful answers."""

    data: str = "not stated"  # "MIMIC-III 1.4", "a synthetic hospital of 4000 subjects"
    patients: bool = True  # False: synthetic records only
    cohort: str = "not stated"
    labels: str = "one column a disease; see the list below"
    num_samples: int | None = None  # trained on
    scores: Mapping[str, float] = field(default_factory=dict)
    holds: Mapping[str, str] = field(default_factory=dict)  # file beside the weights -> what of the records is in it


@dataclass(frozen=True)
class Exported:
    """What the exporter knows of the weights."""

    role: str  # teacher or student
    base: str  # folder or hub name
    fingerprint: str
    label_names: Sequence[str] = ()
    adapter: bool = False
    crf: bool = False


def tokenizer_in_words(base: str) -> dict[str, str]:
    """Return what of the records the tokenizer of a model from `base` holds, for `Card.holds`."""
    own = (
        f"learned from the records: pieces of words that at least {FEWEST_SUBJECTS} subjects have, and of public texts"
    )
    return {"tokenizer.json": own if base.startswith("tiny") else "nothing: the base's own"}


def write_card(file: Path, card: Card, exported: Exported, wording: Wording = DISEASES) -> None:
    """Write `file`.  A base that is a folder is named by its last part only."""
    base, role = exported.base, exported.role
    hub_name = None if Path(base).exists() or Path(base).is_absolute() else base
    is_answerer = role == "teacher" and not exported.label_names
    data = ModelCardData(
        license="other",
        license_name="derived-from-patient-data" if card.patients else "synthetic",
        library_name="peft" if exported.adapter else wording.library,
        pipeline_tag="text-generation" if is_answerer else wording.pipeline_tag,
        base_model=hub_name,
        tags=["clinical", wording.topic, "knowledge-distillation", role],
    )
    made = ModelCard.from_template(
        data,
        template_str=TEMPLATE.read_text(),
        card=card,
        wording=wording,
        exported=exported,
        base=hub_name or Path(base).name,
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    )
    file.write_text(str(made))
