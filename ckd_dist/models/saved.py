"""An exported model opened again: whole as it is, an adapter merged into its base."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, PreTrainedModel

from ckd_dist.models.base import HEADS, check_loaded, check_no_code, find_base, quiet
from ckd_dist.models.fingerprint import base_of
from ckd_dist.models.teacher import ADAPTER


def load_saved(
    folder: Path, auto: Any, what: str, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> PreTrainedModel:
    """Load the model in `folder`, in evaluation mode.  auto: the class in transformers with its head; what: its name.

    Raises FileNotFoundError where there is none, ValueError where its head is another or code lies beside it.
    """
    is_adapter = (folder / "adapter_config.json").is_file()
    place = folder / "classifier" if is_adapter else folder
    if not (place / "config.json").is_file() or (is_adapter and not (folder / ADAPTER).is_file()):
        raise FileNotFoundError(f"model {folder.name}: not an exported {what}; train it first")
    check_no_code(folder, folder.name)
    config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    wanted = auto.__name__.removeprefix("AutoModel")
    other = [name for name in config.architectures or () if name.endswith(HEADS) and not name.endswith(wanted)]
    if other:
        raise ValueError(f"model {folder.name}: {other[0]} is no {what}")
    with quiet():
        model, report = auto.from_pretrained(
            base_of(folder) if is_adapter else find_base(folder),
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        if not is_adapter:  # which brings its own head
            check_loaded(folder.name, set(report["missing_keys"]), fresh=())
        model.to(device)
        if is_adapter:
            model = PeftModel.from_pretrained(
                model, str(folder), autocast_adapter_dtype=False, torch_device=str(device)
            )
            model = model.merge_and_unload()
    return model.eval()
