"""A LoRA adapter: where it may be put, what of it is trained, how that is named in a file, and how it is carried over.

Which parameters those are is asked of the model (what requires a gradient) and of PEFT (what it calls them), never of a
pattern: an adapter of an embedding is named otherwise than one of a projection, and was once lost so.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ckd_dist.config import Lora
from ckd_dist.models.base import load_config
from ckd_dist.models.load import meta_model
from ckd_dist.models.wrapper import Wrapper

ADAPTER = "adapter_model.safetensors"
ADAPTABLE = (nn.Linear, nn.Embedding, Conv1D)  # layers that PEFT puts an adapter on, and merges it into


def check_targets(base: str | Path, revision: str | None, targets: Iterable[str]) -> None:
    """Raise ValueError unless every target is a projection or an embedding of the backbone of `base`.

    It reads the config alone, so that a long phase before the one that gets the adapter is not trained in vain.
    """
    _check_targets(base, meta_model(load_config(base, revision)), targets)


def with_adapter(
    model: PreTrainedModel, base: str | Path, revision: str | None, lora: Lora, task: TaskType
) -> PeftModel:
    """Return `model` frozen, with an adapter on every layer that `lora.targets` names.

    Raises ValueError where there is no such layer, or where PEFT would not save all that is trained.
    """
    _check_targets(base, model.base_model, lora.targets)
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
    as_saved(model, trained_part(model))  # refused now, not when it is trained
    return model


def trained_part(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def as_saved(model: PeftModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `tensors`, named as in the model, under the names that an adapter's file has for them.

    Raises ValueError where PEFT would leave one out.
    """
    saved = get_peft_model_state_dict(model, state_dict=dict(tensors), save_embedding_layers=False)
    kept = {id(tensor) for tensor in saved.values()}
    lost = [name for name, tensor in tensors.items() if id(tensor) not in kept]
    if lost:
        raise ValueError(
            f"adapter: PEFT would not save {len(lost)} of the tensors that are trained, first {lost[0]}; leave its "
            "layer out of lora.targets"
        )
    return saved


def check_whole(model: PeftModel, folder: Path) -> None:
    """Raise ValueError unless the adapter's file in `folder` holds every tensor of `model`'s adapter, and no other."""
    wanted = get_peft_model_state_dict(model, state_dict=model.state_dict(), save_embedding_layers=False)
    _check_partners(folder, load_file(folder / ADAPTER), wanted)


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
    own = as_saved(classifier.model, trained_part(classifier.model))
    saved, wanted = (
        {name: tensor for name, tensor in tensors.items() if ".lora_" in name}  # the head is not carried over
        for tensors in (load_file(adapter_folder / ADAPTER), own)
    )
    _check_partners(adapter_folder, saved, wanted)
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(saved[name])


def _check_targets(base: str | Path, backbone: nn.Module, targets: Iterable[str]) -> None:
    names = {name.rpartition(".")[2] for name, layer in backbone.named_modules() if isinstance(layer, ADAPTABLE)}
    lost = sorted(set(targets) - names)
    if lost:
        raise ValueError(
            f"base {base}: it has no projection or embedding named {lost[0]!r}, which lora.targets asks for; it has "
            f"{', '.join(sorted(names))}"
        )


def _check_partners(folder: Path, saved: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless both have the same names and shapes."""
    unmatched = sorted(
        name
        for name in saved.keys() | wanted.keys()
        if name not in saved or name not in wanted or saved[name].shape != wanted[name].shape
    )
    if unmatched:
        raise ValueError(f"adapter {folder.name}: {len(unmatched)} tensors have no partner, first {unmatched[0]}")
