"""What a benchmark ran on, in one line; and how two programs take turns, because machines are noisy."""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers


def describe() -> str:
    """CPU, its matrix units, threads and versions."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "CPU")
    units = [name for name in ("amx_bf16", "avx512_bf16", "avx2") if name in info]
    return (
        f"{model} ({units[0] if units else 'no vector unit known'}), {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    )


def has_amx() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware."""
    return Path("/proc/cpuinfo").exists() and "amx_bf16" in Path("/proc/cpuinfo").read_text()


def take_turns(programs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every program in every round, each warmed up once, who goes first changing."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        program()
    names = list(programs)
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            start = time.perf_counter()
            programs[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> str:
    """Median, least and most of the ratio round by round."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return f"{statistics.median(ratios):.1f} x ({min(ratios):.1f} to {max(ratios):.1f})"
