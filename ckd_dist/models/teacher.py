"""Any Hugging Face causal language model as a teacher, full or LoRA, under the head that a study wants.

The supervised phase (published order) trains a causal LM on the answer text; the classification phase trains the same
weights under a linear head.  Full: the folder that the first phase saved is the second's base.  LoRA: `adopt_adapter`
carries the adapter over.

Under ZeRO-3 the caller hands in `loading`, a context in which transformers shards while it loads (engine/zero.py makes
it); this file knows nothing of it.  autocast_adapter_dtype=False, because ZeRO-3 wants one dtype of all trainables.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file
from transformers import PreTrainedConfig, PreTrainedModel

from ckd_dist.config import Lora
from ckd_dist.models.base import (
    ANSWER_HEAD,
    CLASS_HEAD,
    Head,
    check_fit,
    classifier_config,
    load_config,
    load_tokenizer,
    quiet,
)
from ckd_dist.models.load import FRESH, LoadOptions, load_model
from ckd_dist.models.seeded import seeded
from ckd_dist.models.wrapper import Wrapper

ADAPTER = "adapter_model.safetensors"


@dataclass(frozen=True)
class TeacherOptions:
    """How a teacher is made of a base, whatever head it gets."""

    tuning: str  # "full": all of it is trained; "lora": an adapter, and the head
    lora: Lora
    dtype: torch.dtype
    gradient_checkpointing: bool = False
    revision: str | None = None  # commit of a hub model
    loading: AbstractContextManager = field(default_factory=nullcontext)
    seed: int = 0  # of fresh weights


def build_classifier(
    base: str | Path, label_names: Sequence[str], options: TeacherOptions, max_tokens: int | None = None
) -> Wrapper:
    """Build the causal LM `base` under a fresh multi-label head.  max_tokens: of the longest row that will come.

    Raises ValueError or FileNotFoundError where the base does not fit.
    """
    config = classifier_config(base, label_names, options.revision, max_tokens)
    return build_teacher(base, config, CLASS_HEAD, options)


def build_answerer(base: str | Path, options: TeacherOptions) -> Wrapper:
    """Build the causal LM `base` for the supervised phase, as `build_classifier` makes one."""
    config, tokenizer = load_config(base, options.revision), load_tokenizer(base, options.revision)
    check_fit(base, config, tokenizer)
    return build_teacher(base, config, ANSWER_HEAD, options)


def build_teacher(base: str | Path, config: PreTrainedConfig, head: Head, options: TeacherOptions) -> Wrapper:
    """Load `base` under `head` and its `config`, ready to train.  Raise ValueError where they do not fit."""
    fresh = () if head is ANSWER_HEAD else FRESH
    with options.loading, quiet(), seeded(options.seed):
        model = load_model(base, config, head, LoadOptions(options.revision, options.dtype, "sdpa", fresh))
        if head is not ANSWER_HEAD and not hasattr(model, "score"):
            raise ValueError(f"base {base}: {type(model).__name__} is no causal language model, as a teacher must be")
        if options.tuning == "lora":
            model = _with_adapter(model, base, options.revision, options.lora, TaskType(head.task))
    if options.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    return Wrapper(model, head.kind)


def adopt_adapter(classifier: Wrapper, adapter_folder: Path) -> None:
    """Copy the supervised phase's LoRA tensors into the classifier's adapter, by name, before an engine shards it.

    Raises ValueError unless ranks, scales and targets agree and every LoRA tensor on either side has its partner.
    """
    adapter_folder = Path(adapter_folder)
    if not isinstance(classifier.model, PeftModel):
        raise ValueError("the classification phase trains no adapter, so it cannot take over the supervised phase's")
    theirs, ours = PeftConfig.from_pretrained(str(adapter_folder)), classifier.model.peft_config["default"]
    for setting in ("r", "lora_alpha", "target_modules"):
        if getattr(theirs, setting) != getattr(ours, setting):
            raise ValueError(f"adapter {adapter_folder.name}: its {setting} is not the classification phase's")
    saved = {name: tensor for name, tensor in load_file(adapter_folder / ADAPTER).items() if ".lora_" in name}
    wanted = {
        name.replace(".default.", "."): parameter
        for name, parameter in classifier.model.named_parameters()
        if ".lora_" in name
    }
    unmatched = sorted(
        name
        for name in saved.keys() | wanted.keys()
        if name not in saved or name not in wanted or saved[name].shape != wanted[name].shape
    )
    if unmatched:
        raise ValueError(
            f"adapter {adapter_folder.name}: {len(unmatched)} tensors have no partner, first {unmatched[0]}"
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(saved[name])


def _with_adapter(
    model: PreTrainedModel, base: str | Path, revision: str | None, lora: Lora, task: TaskType
) -> PeftModel:
    """`model` frozen, with an adapter on every projection of `lora.targets`."""
    modules = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    lost = sorted(set(lora.targets) - modules)
    if lost:
        raise ValueError(f"base {base}: it has no projection named {lost[0]!r}, which lora.targets asks for")
    config = LoraConfig(
        task_type=task,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        modules_to_save=None if task == TaskType.CAUSAL_LM else ["score"],
        revision=revision,
    )
    model = get_peft_model(model, config, autocast_adapter_dtype=False)
    model.peft_config["default"].base_model_name_or_path = str(base)
    return model
