"""A model of a hundred weights, sixty rows of tokens, and a way to run a function on several gloo ranks."""

import faulthandler
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ckd_dist.config import Optim
from ckd_dist.engine.loop import Phase
from ckd_dist.engine.task import Batch
from ckd_dist.study import Callbacks
from ckd_dist.world import World

# B samples, L tokens, U units, K columns, D hidden
VOCABULARY, HIDDEN, COLUMNS, NUM_ROWS, GLOBAL_BATCH = 13, 5, 3, 60, 8

OPTIM = Optim(
    learning_rate=1e-2,
    head_learning_rate=3e-2,
    weight_decay=0.1,
    clip_norm=0.05,
    warmup_fraction=0.0,
    schedule="linear",
)


class TinyReader(nn.Module):
    """Mean of token vectors, one layer, a head.  65, 25, 5, 15 and 3 weights: none is divisible by two ranks."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.mix = nn.Linear(HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HIDDEN, COLUMNS)

    def forward(self, input_ids_BL: Tensor, attention_BL: Tensor, units_U2: Tensor | None = None) -> Tensor:
        share_BL = attention_BL / attention_BL.sum(1, keepdim=True)
        mean_BD = (self.embed(input_ids_BL) * share_BL.unsqueeze(2).to(self.embed.weight.dtype)).sum(1)
        return self.classifier(self.dropout(torch.tanh(self.mix(mean_BD))))


class TinyAdapted(TinyReader):
    """The same with all but the middle layer and the head frozen: the LoRA kind."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__(dropout)
        self.embed.requires_grad_(False)


def row(number: int) -> tuple[list[int], list[float]]:
    """Tokens and labels of one row."""
    draw = np.random.default_rng(number)
    ids = draw.integers(1, VOCABULARY, size=draw.integers(2, 9))
    return ids.tolist(), [float((ids == k + 1).any()) for k in range(COLUMNS)]


def collate(rows: np.ndarray) -> Batch:
    """Right-padded; no rows at all: one row of padding that weighs nothing."""
    samples = [row(int(number)) for number in rows] or [([0], [0.0] * COLUMNS)]
    longest = max(len(ids) for ids, _ in samples)
    ids_BL = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in samples])
    attention_BL = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in samples])
    mask_U = torch.full((len(samples),), float(len(rows) > 0))
    return Batch(ids_BL, attention_BL, torch.tensor([y for _, y in samples]), None, mask_U, mask_U)


def loss_fn(logits_UK: Tensor, batch: Batch) -> Tensor:
    per_UK = binary_cross_entropy_with_logits(logits_UK, batch.hard_UK, reduction="none")
    return (per_UK.mean(1) * batch.mask_U).sum()


@dataclass(frozen=True)
class TinyTask:
    """The two verbs of a task that training needs."""

    loss: Callable[[Tensor, Batch], Tensor] = loss_fn
    collate: Callable[[np.ndarray], Batch] = collate


def phase_of(
    folder: Path, optim: Optim = OPTIM, scalars: Path | None = None, patience: int = 0, **callbacks: Any
) -> Phase:
    """A phase in `folder` that chooses its checkpoint by `score`."""
    return Phase(optim, folder, "d", "score", Callbacks(**callbacks), scalars, patience)


@dataclass(frozen=True)
class Plan:
    slots: list[np.ndarray]
    total_weight: float


def planned(start: int, world: World, cuts: tuple[int, ...] = (1, 5, 5)) -> Iterator[Plan]:
    """Global batches of eight rows, cut into uneven slots (one of them empty) that ranks take in turn."""
    step = start
    while True:
        rows = np.random.default_rng(step).permutation(NUM_ROWS)[:GLOBAL_BATCH]
        yield Plan(np.split(rows, cuts)[world.rank :: world.num_ranks], float(GLOBAL_BATCH))
        step += 1


def run_ranks(num_ranks: int, function: Callable[..., Any], *arguments: Any, expect_death: bool = False) -> list[Any]:
    """What `function(world, *arguments)` returned on each of `num_ranks` fresh processes; it must be importable.

    `expect_death`: return the exit codes instead, whatever they are.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    context = mp.get_context("forkserver")  # a fresh process each, but torch and deepspeed are imported once for all
    context.set_forkserver_preload(
        ["deepspeed", "peft", "transformers", "ckd_dist.engine.zero", "ckd_dist.engine.loop"]
    )
    results = context.Queue()
    ranks = [
        context.Process(target=_rank, args=(rank, num_ranks, port, results, function, arguments))
        for rank in range(num_ranks)
    ]
    for process in ranks:
        process.start()
    found = {} if expect_death else dict(results.get(timeout=300) for _ in ranks)
    for process in ranks:
        process.join(120)
    if expect_death:
        return [process.exitcode for process in ranks]
    for rank, (_, error) in sorted(found.items()):
        if error is not None:
            raise AssertionError(f"rank {rank}:\n{error}")
    return [found[rank][0] for rank in range(num_ranks)]


def _rank(rank: int, num_ranks: int, port: int, results: mp.Queue, function: Callable, arguments: tuple) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num_ranks)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(num_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(150, exit=True)  # a rank that hangs says where
    try:
        results.put((rank, (function(World.from_environment(), *arguments), None)))
    except BaseException:
        results.put((rank, (None, traceback.format_exc())))
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
