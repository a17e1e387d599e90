"""How large a stage will be, by arithmetic: parameters, steps, operations, seconds.

    time = operations / (this machine's own matmul speed x EFFICIENCY), and STEP_SECONDS a step at least

Operations a token, P parameters: 2P forward, 4P with frozen weights under LoRA, 6P with all weights; 2P more where
activations are computed twice (Kaplan et al. 2020, sec. 2.1).  An estimate to plan a night by, not a promise; once a
stage runs, its progress line knows better.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ckd_dist.config import Optim, Workers
from ckd_dist.models.base import base_model, open_config
from ckd_dist.progress import seconds_in_words
from ckd_dist.runfolder import RunFolder
from ckd_dist.schedule import num_steps

EFFICIENCY = 0.4  # of the matmul speed, for a whole model
STEP_SECONDS = 0.05  # what a step costs beside arithmetic
MEASURED_SECONDS = 0.1  # of the moment in which the speed is measured


@dataclass(frozen=True)
class Size:
    """How large a stage is.  text: counts in words; empty where nothing is known yet.  seconds: None where unknown."""

    text: str = ""
    seconds: float | None = None

    def __str__(self) -> str:
        time_left = f"about {seconds_in_words(self.seconds)} by arithmetic" if self.seconds else ""
        return ", ".join(part for part in (self.text, time_left) if part)


class Base(Protocol):
    """The part of a recipe that names a base model."""

    base: str
    revision: str | None


class TeacherPart(Base, Protocol):
    """The part of a recipe that says how a teacher is trained."""

    tuning: str
    gradient_checkpointing: bool


def steps_of_phases(optims: Iterable[Optim], num_rows: int) -> int:
    """Count the optimizer steps of training phases on `num_rows` rows; one of 0 epochs is left out."""
    return sum(num_steps(num_rows, optim.batch_samples, optim.epochs) for optim in optims if optim.epochs)


def operations_per_token(teacher: TeacherPart, num_parameters: int) -> float:
    """Return the floating-point operations that training a teacher takes for a token."""
    return ((4 if teacher.tuning == "lora" else 6) + (2 if teacher.gradient_checkpointing else 0)) * num_parameters


@dataclass(frozen=True)
class Parameters:
    """Parameters of a model."""

    num: int  # parameters
    matmul: int  # of them, those that multiply: without the embedding table


def parameters(part: Base, run: RunFolder, role: str) -> Parameters | None:
    """Count a base model's parameters, from its config alone; None where this machine has no config yet."""
    from ckd_dist.models.load import meta_model  # brings torch, which `status` can do without

    base = base_model(run, role, part.base)
    try:
        model = meta_model(open_config(base, base, part.revision))
    except (OSError, ValueError):
        return None
    num = sum(parameter.numel() for parameter in model.parameters())
    return Parameters(num, num - model.get_input_embeddings().weight.numel())


def of_parameters(model: Parameters | None) -> str:
    """Say how large a model is."""
    if model is None:
        return "parameters not known before its config is on this machine"
    return f"{model.num:,} parameters"


def seconds_of(operations: float, workers: Workers, steps: int) -> float:
    """Return the seconds that a stage takes at least."""
    return max(operations / (at_once(workers) * matmul_speed(workers) * EFFICIENCY), steps * STEP_SECONDS)


def at_once(workers: Workers) -> int:
    """Return how many workers to reckon with: one, where their number is left to a cluster that nobody has seen yet."""
    return max(1, workers.num)


def matmul_speed(workers: Workers) -> float:
    """Measure for a moment how many floating-point operations a second one worker of this machine makes."""
    import torch

    gpu = workers.gpus > 0 and torch.cuda.is_available()
    device, size = torch.device("cuda" if gpu else "cpu"), 4096 if gpu else 512
    a = torch.ones(size, size, device=device, dtype=torch.bfloat16 if gpu else torch.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(workers.cpus)))
    try:
        a @ a
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < MEASURED_SECONDS:
            (a @ a).sum().item()
            count += 1
        return count * 2 * size**3 / (time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)


def gigabytes(num_bytes: float) -> str:
    """Say how large files are.

    >>> gigabytes(3.2e9), gigabytes(1.5e6)
    ('3.2 GB', '1.5 MB')
    """
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
