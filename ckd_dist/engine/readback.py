"""An export is read back: what lies in the folder must predict what the trained model predicts.

    U units, K columns

A few short rows of tuning are predicted by both.  What differs by rounding alone stays far below the bounds: tiny
models on a CPU were 2e-6 apart at float32 (2 layers), 0.02 and 0.06 at bfloat16 (2 and 24 layers), where an adapter is
merged into rounded weights.  A model that fits beside the trained one on its GPU is read there, else on the CPU.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ckd_dist.engine.task import Batch, Task

MOST_ROWS = 16
MOST_UNITS = 256  # a phase that writes answers has a column for every token of the vocabulary
AGREE = {"float32": 1e-3, "bfloat16": 0.25}  # how far logits may be apart, in standard deviations of the trained ones
ROOM = 1.25  # bytes that a model takes while it is read, for each of its weights' bytes

MEMORY = Path("/proc/meminfo")
SMALLEST_SPREAD = 1e-2  # of logits: below it, a difference of rounding would look large

Predictor = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # a batch's ids, attention and units -> logits_UK


@dataclass(frozen=True)
class Expected:
    """What the trained model predicts of a few rows."""

    batch: Batch
    logits_UK: Tensor  # float32, on the CPU
    precision: str  # of the forward pass: a key of AGREE


def few_rows(tasks: Sequence[Task], micro_tokens: int) -> Batch:
    """Return a batch of the shortest rows of the first task that has any of weight: the same on all ranks and starts.

    micro_tokens: padded tokens of the batch at most, unless one row has more.
    """
    task, known_N = next((task, known_N) for task in tasks if len(known_N := np.flatnonzero(task.weights)))
    lengths_N = np.asarray(task.lengths)[known_N]
    order = np.argsort(lengths_N, kind="stable")[:MOST_ROWS]
    padded = np.arange(1, len(order) + 1) * lengths_N[order]
    batch = task.collate(known_N[order[: max(1, int((padded <= micro_tokens).sum()))]])
    return batch if batch.units_U2 is None else replace(batch, units_U2=batch.units_U2[:MOST_UNITS])


def read_back(load: Callable[..., Predictor], folder: Path, num_bytes: int, expected: Expected) -> None:
    """Raise ValueError where the model in `folder`, loaded by `load`, does not predict what is expected.

    num_bytes: of its weights.  Logs where there is no room to read it beside the trained one.
    """
    device = room_for(num_bytes, expected.batch.input_ids_BL.device)
    if device is None:
        logging.getLogger(__name__).warning(
            "export %s is not read back: its %.1f GB of weights have no room beside the trained model",
            folder.name,
            num_bytes / 1e9,
        )
        return
    batch = expected.batch.to(device)
    with torch.no_grad():
        loaded_UK = load(folder, device=device)(batch.input_ids_BL, batch.attention_BL, batch.units_U2).float().cpu()
    apart, bound = difference(loaded_UK, expected.logits_UK), AGREE[expected.precision]
    if not apart <= bound:
        raise ValueError(
            f"export {folder}: read back, it does not predict what was trained: logits are {apart:.2g} standard "
            f"deviations apart, rounding explains {bound:g}; its checkpoints stand, nothing goes on from the folder"
        )


def difference(logits_UK: Tensor, trained_UK: Tensor) -> float:
    """Return how far two models' logits are apart: root mean square, in standard deviations of the trained one's.

    It is not a number where one of theirs is not, or where shapes differ.
    """
    if logits_UK.shape != trained_UK.shape:
        return float("nan")
    spread = max(float(trained_UK.std(correction=0)), SMALLEST_SPREAD)
    return float((logits_UK - trained_UK).square().mean().sqrt()) / spread


def room_for(num_bytes: int, device: torch.device) -> torch.device | None:
    """Return where a model of `num_bytes` of weights may be read beside all that is there: a device, or None."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        if torch.cuda.mem_get_info(device)[0] > ROOM * num_bytes:
            return device
    return torch.device("cpu") if available_bytes() > ROOM * num_bytes else None


def available_bytes() -> float:
    """Return how much of the host's memory may be taken, as Linux says; without end where nobody says."""
    said = dict(line.split(":") for line in MEMORY.read_text().splitlines()) if MEMORY.is_file() else {}
    return 1024.0 * int(said["MemAvailable"].split()[0]) if "MemAvailable" in said else math.inf
