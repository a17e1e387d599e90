"""Save a trained model as the folder others load with plain transformers or PEFT.

    full     config.json + model.safetensors (sharded where large)
    LoRA     adapter_config.json + adapter_model.safetensors (the head is in modules_to_save), classifier/config.json
             with label names and padding: one folder down, because transformers takes a config.json beside an adapter
             for a whole model
    CRF      crf.safetensors beside a tagger's model, which loads without it too: emissions
    always   tokenizer, chat template, README.md

Written under a temporary name inside the folder, re-opened and checked, then moved in file by file, weights before
configs, so checkpoints that live in the same folder stay.  Under ZeRO-3 the engine gathers and hands in `state_dict` on
the leader.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ckd_dist.files import filling
from ckd_dist.models.adapter import ADAPTER, as_saved, trained_part
from ckd_dist.models.base import labels_of, open_config
from ckd_dist.models.card import DISEASES, TAGS, Card, Exported, write_card
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.wrapper import Wrapper

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}


def export_model(
    role: Literal["teacher", "student"],
    wrapper: Wrapper,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    state_dict: Mapping[str, Tensor] | None = None,
    card: Card = Card(),  # noqa: B008  (frozen)
) -> str:
    """Publish an answerer, a classifier or a tagger, full or adapter, in `folder`; return its fingerprint.

    role: what its card calls it.  state_dict: whole tensors under the names of `wrapper.state_dict()` (for an adapter,
    the trainable ones suffice); none: the model's own.  Raises ValueError where a tensor is missing, empty or not
    finite.
    """
    folder = Path(folder)
    weights = state_dict or wrapper.state_dict()
    chain = {name.removeprefix("crf."): tensor for name, tensor in weights.items() if name.startswith("crf.")}
    tensors = _tensors(wrapper, {name: tensor for name, tensor in weights.items() if not name.startswith("crf.")})
    is_adapter = isinstance(wrapper.model, PeftModel)
    names = () if wrapper.kind == "answers" else labels_of(wrapper.plain.config)
    with exporting(folder) as temporary:
        if is_adapter:
            base = _save_adapter(wrapper, tensors, temporary, folder)
        else:
            wrapper.model.save_pretrained(temporary, state_dict=tensors)
            base = wrapper.plain.config._name_or_path
        if wrapper.crf is not None:
            wrapper.crf.save(temporary, chain)
        tokenizer.save_pretrained(temporary)
        check_saved(temporary, names)
        mark = fingerprint(temporary)
        exported = Exported(role, base, mark, names, is_adapter, wrapper.crf is not None)
        write_card(temporary / "README.md", card, exported, TAGS if wrapper.kind == "tags" else DISEASES)
    return mark


export_teacher = partial(export_model, "teacher")
export_student = partial(export_model, "student")


def _tensors(wrapper: Wrapper, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what is to be saved, under the names of `wrapper.model`, in its parameters' own dtypes."""
    given = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    if isinstance(wrapper.model, PeftModel):  # the base, which is frozen, stays where it is
        own = trained_part(wrapper.model)
        given = {name: tensor for name, tensor in given.items() if name in own}
    else:
        own = dict(wrapper.model.named_parameters())
    lost = [name for name in own if name not in given]
    if lost:
        raise ValueError(f"export: {len(lost)} tensors of the model were not handed over, first {lost[0]}")
    dtypes = {name: parameter.dtype for name, parameter in own.items()}
    return {name: tensor.detach().to("cpu", dtypes.get(name, tensor.dtype)) for name, tensor in given.items()}


def _save_adapter(wrapper: Wrapper, tensors: dict[str, Tensor], temporary: Path, folder: Path) -> str:
    """Save adapter and head in PEFT's names; return the base, which stays where it is and is named."""
    own = as_saved(wrapper.model, tensors)
    save_file({k: t.contiguous() for k, t in own.items()}, temporary / ADAPTER, metadata={"format": "pt"})
    settings = wrapper.model.peft_config["default"]
    base, was_training = settings.base_model_name_or_path, settings.inference_mode
    is_folder = Path(base).is_dir()
    settings.inference_mode = True
    settings.base_model_name_or_path = os.path.abspath(base) if is_folder else base
    settings.save_pretrained(str(temporary))
    _in_order(temporary / "adapter_config.json")
    settings.inference_mode, settings.base_model_name_or_path = was_training, base
    config = type(wrapper.plain.config).from_dict(wrapper.plain.config.to_dict())
    config.architectures = [type(wrapper.plain).__name__]
    if is_folder:
        config.base_folder = os.path.relpath(base, folder)
    config.save_pretrained(temporary / "classifier")
    return base


def _in_order(file: Path) -> None:
    """PEFT writes sets in hash order and names the head three times; the same adapter shall give the same bytes."""
    settings = json.loads(file.read_text())
    for name in ("target_modules", "modules_to_save"):
        settings[name] = sorted(set(settings[name] or ()) - {"classifier"}) or None
    file.write_text(json.dumps(settings, indent=2) + "\n")


def check_saved(folder: Path, label_names: tuple[str, ...]) -> None:
    """Read back what was written: safetensors only, nothing empty, nothing infinite, every label."""
    pickles = sorted(file.name for file in folder.rglob("*") if file.suffix in PICKLES)
    if pickles:
        raise ValueError(f"export: {pickles[0]} is not safetensors")
    for file in sorted(folder.rglob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118  (not a dict)
                tensor = weights.get_tensor(name)
                if tensor.numel() == 0:
                    raise ValueError(f"export: tensor {name} is empty; under ZeRO-3 gather it before saving")
                if not torch.isfinite(tensor).all():
                    raise ValueError(f"export: tensor {name} holds a value that is not finite; the training diverged")
    place = folder if (folder / "config.json").is_file() else folder / "classifier"
    config = open_config(place, folder.name)
    if label_names and labels_of(config) != label_names:
        raise ValueError(f"export: config.json lists {config.num_labels} labels, the model has {len(label_names)}")


@contextmanager
def exporting(folder: Path) -> Iterator[Path]:
    """Yield a folder to save in, whose files then move into `folder`, weights first.

    What an earlier export of another shape left there is deleted.
    """
    with filling(folder, last=lambda path: path.suffix != ".safetensors") as temporary:
        yield temporary
        exported = {folder / file.relative_to(temporary) for file in temporary.rglob("*")}
    earlier = [found for pattern in ("*.safetensors", "*config.json", "*.index.json") for found in folder.glob(pattern)]
    for stale in {*earlier, folder / "classifier" / "config.json"} - exported:
        stale.unlink(missing_ok=True)
