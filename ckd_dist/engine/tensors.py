"""What a run that stopped needs to go on, in one safetensors file: no pickle, no trace of world size or engine.

    <parameter>|weight      float32 master
    <parameter>|exp_avg     Adam's first moment
    <parameter>|exp_avg_sq  Adam's second

and the number of updates so far.  Order and dropout are pure functions of the step, so there is no random state to
keep.  DDP, ZeRO-1, -2 and -3 write and read the same file.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ckd_dist.mistakes import system_number

FILE = "trainable.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")


def on_host(tensor: Tensor) -> Tensor:
    """Copy a tensor to the host, float32: the next update does not change it."""
    return tensor.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)


def write_state(folder: Path, state: Mapping[str, Mapping[str, Tensor]], num_updates: int) -> None:
    """Write the file.  state: parameter name -> {"weight", "exp_avg", "exp_avg_sq"} -> tensor, by `on_host`.

    Raises OSError where it cannot be written.
    """
    flat = {f"{name}|{part}": tensor for name, parts in state.items() for part, tensor in parts.items()}
    try:
        save_file(flat, folder / FILE, metadata={"num_updates": str(num_updates)})
    except SafetensorError as error:
        raise OSError(system_number(error) or errno.EIO, str(error)) from error


@dataclass(frozen=True)
class State:
    """An open file of that form; a tensor is read when asked for."""

    file: object

    def get(self, name: str, part: str) -> Tensor:
        """Read one part of one parameter."""
        return self.file.get_tensor(f"{name}|{part}")


def read_state(folder: Path, shapes: Mapping[str, torch.Size]) -> tuple[int, State]:
    """Open the file: number of updates, and tensors.

    Raises ValueError where names or shapes are not `shapes`, OSError where the system cannot read it.
    """
    path = folder / FILE
    try:
        file = safe_open(path, "pt")
    except (SafetensorError, OSError) as error:
        if number := system_number(error):
            raise OSError(number, str(error), str(path)) from error
        if isinstance(error, OSError):
            raise
        raise ValueError(f"{path} cannot be read: {error}") from None
    held = {name.rpartition("|")[0] for name in file.keys()}  # noqa: SIM118, not a dict
    if held != set(shapes):
        odd = sorted(held ^ set(shapes))
        raise ValueError(f"{path} is of another model: {len(odd)} trainable parameters differ, the first is {odd[0]}")
    for name, shape in shapes.items():
        if (found := file.get_slice(f"{name}|weight").get_shape()) != list(shape):
            raise ValueError(f"{path}: {name} has shape {found}, the model wants {list(shape)}")
    return int(file.metadata()["num_updates"]), State(file)
