"""An exported model opened again: whole as it is, an adapter merged into its base."""

from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from ckd_dist.models.adapter import ADAPTER, check_whole
from ckd_dist.models.base import CLASS_HEAD, TAG_HEAD, Head, check_no_code, head_of, open_config, quiet
from ckd_dist.models.fingerprint import base_of
from ckd_dist.models.load import FRESH, LoadOptions, load_model
from ckd_dist.models.seeded import seeded


def load_saved(
    folder: Path, head: Head, what: str, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> PreTrainedModel:
    """Load the model in `folder` as `open_saved` does, an adapter merged into its base."""
    model = open_saved(folder, head, what, dtype, device)
    with quiet():
        return model.merge_and_unload().eval() if isinstance(model, PeftModel) else model


def open_saved(
    folder: Path, head: Head, what: str, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> PreTrainedModel | PeftModel:
    """Load the model in `folder`, in evaluation mode.  head: that it must have; what: a model with it is called.

    Raises FileNotFoundError where there is none, ValueError where its head is another, its adapter is not whole, or
    code lies beside it.
    """
    is_adapter = (folder / "adapter_config.json").is_file()
    place = folder / "classifier" if is_adapter else folder
    if not (place / "config.json").is_file() or (is_adapter and not (folder / ADAPTER).is_file()):
        raise FileNotFoundError(f"model {folder.name}: not an exported {what}; train it first")
    check_no_code(folder, folder.name)
    config = open_config(place, folder.name)
    other = [name for name in config.architectures or () if head_of(name) in {CLASS_HEAD, TAG_HEAD} - {head}]
    if other:
        raise ValueError(f"model {folder.name}: {other[0]} is no {what}")
    if not is_adapter:
        return load_model(folder, config, head, LoadOptions(dtype=dtype, device=device)).eval()
    with seeded(0), quiet():  # the head that is drawn gives way to the adapter's own
        model = load_model(base_of(folder), config, head, LoadOptions(dtype=dtype, device=device, fresh=FRESH))
        model = PeftModel.from_pretrained(model, str(folder), autocast_adapter_dtype=False, torch_device=str(device))
    check_whole(model, folder)
    return model.eval()
