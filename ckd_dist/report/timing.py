"""How long an answer takes: models measured in the same run, turn by turn, so that a busy machine slows them alike.

Latency is one sample a call: median and 95th percentile, milliseconds.  Throughput is `batch` samples a call.
Tokenizing is part of it only where `predict` does it.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Timing:
    """One model's line of the speed table."""

    name: str
    hardware: str
    versions: str
    dtype: str
    num_samples: int
    mean_tokens: float | None  # of a sample, None where unknown
    max_tokens: int | None
    batch: int
    latency_median_ms: float
    latency_p95_ms: float
    samples_per_second: float
    title: str = ""  # in the report's table


def measure(
    predicts: Mapping[str, Callable[[np.ndarray], Any]],
    rows: np.ndarray,
    *,
    batch: int,
    dtypes: Mapping[str, str],
    lengths: Mapping[str, np.ndarray] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time every `predict(rows)` on the same rows: first one by one, then in batches; models take turns.

    rows: what `predict` understands, an array of at least one.  dtypes, lengths (tokens of each of `rows`): by model
    name.  The first call of each kind is not counted.
    """
    if len(rows) == 0:
        raise ValueError("there are no samples to time; raise evaluate.timing_samples")
    singles = [rows[i : i + 1] for i in range(len(rows))]
    batches = [rows[i : i + batch] for i in range(0, len(rows), batch)]
    one_by_one = take_turns(predicts, singles, clock)
    in_batches = take_turns(predicts, batches, clock)
    result = []
    for name in predicts:
        tokens = None if lengths is None else lengths.get(name)
        result.append(
            Timing(
                name=name,
                hardware=hardware(),
                versions=f"torch {torch.__version__}, Python {platform.python_version()}",
                dtype=dtypes[name],
                num_samples=len(rows),
                mean_tokens=None if tokens is None else float(np.mean(tokens)),
                max_tokens=None if tokens is None else int(np.max(tokens)),
                batch=min(batch, len(rows)),
                latency_median_ms=1000 * statistics.median(one_by_one[name]),
                latency_p95_ms=1000 * float(np.quantile(one_by_one[name], 0.95)),
                samples_per_second=len(rows) / sum(in_batches[name]),
            )
        )
    return result


def take_turns(
    predicts: Mapping[str, Callable[[np.ndarray], Any]],
    calls: list[np.ndarray],
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Return the seconds of every call, by model; who goes first changes from call to call."""
    names = list(predicts)
    for name in names:
        predicts[name](calls[0])
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn, rows in enumerate(calls):
        for name in names if turn % 2 == 0 else reversed(names):
            start = clock()
            predicts[name](rows)
            seconds[name].append(clock() - start)
    return seconds


def hardware(device: str = "cpu") -> str:
    """Return the GPU's name, or the CPU's model and the threads that torch may use."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{cpu_model()}, {torch.get_num_threads()} of {os.cpu_count()} threads"


def cpu_model() -> str:
    """Return what the CPU is called."""
    try:
        with open("/proc/cpuinfo") as file:
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:  # not Linux
        models = []
    return models[0] if models else platform.processor() or platform.machine()
