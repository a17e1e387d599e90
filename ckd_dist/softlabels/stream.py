"""Who reads which row when: pure functions of (lengths, seed, epoch), with no files, no torch and no communication.

    rows in the epoch's order -> windows, sorted by length -> global batches -> slots -> ranks

An epoch is an exact permutation of all rows, so every row is read once, whatever the ranks.  Epoch 0 is the plan's
own order, that in which shards are labelled; later epochs permute freely.  Within a window of some global batches rows
are sorted by length, cut into global batches, and the batches shuffled: nearly all padding goes, and a row meets other
rows every epoch.  The global batch is the same for any number of ranks.  It is cut into slots (micro-batches) by a
budget of padded tokens; their number is rounded up to a multiple of the ranks, their costs evened out, and costly ones
dealt in turn, so that ranks in lock-step hold slots of like cost and none is idle.  A batch with fewer rows than slots
has empty ones, which weigh nothing.

All state there is to resume is the number of the step.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ckd_dist.config import Optim
from ckd_dist.models.budget import cut, cut_evenly
from ckd_dist.schedule import num_steps, steps_per_epoch
from ckd_dist.world import World

WINDOW = 32  # global batches that are sorted by length together


@dataclass(frozen=True, eq=False)
class Step:
    """What one rank reads in one optimizer step."""

    slots: list[np.ndarray]  # int64 rows of each micro-batch, longest first; as many on every rank; may be empty
    total_weight: float  # units with a mask in the whole global batch, over all ranks
    index: int  # the global step's number, over all epochs


@dataclass(frozen=True)
class Order:
    """How rows become steps."""

    batch_samples: int  # rows of a global batch
    micro_tokens: int  # padded tokens of a slot
    seed: int
    epochs: float = math.inf
    window: int = WINDOW


def steps_of(
    optim: Optim, world: World, lengths_N: np.ndarray, weights_N: np.ndarray
) -> Callable[[int], Iterator[Step]]:
    """Return what a training phase is handed: from a step's number, this rank's steps from there on."""
    order = Order(optim.batch_samples, optim.micro_tokens, optim.seed, optim.epochs)
    return lambda start: steps(lengths_N, weights_N, order, world.rank, world.num_ranks, start)


def steps(
    lengths_N: np.ndarray,
    weights_N: np.ndarray,
    order: Order,
    rank: int = 0,
    num_ranks: int = 1,
    start_step: int = 0,
) -> Iterator[Step]:
    """Yield the steps of `rank` from `start_step` to the end of the epochs: the same as if it had never stopped.

    lengths_N: tokens of every row, as this role reads it.  weights_N: units with a mask in every row.
    Raises ValueError where there are no rows, or lengths and weights disagree.
    """
    lengths_N, weights_N = np.asarray(lengths_N), np.asarray(weights_N, dtype=np.float64)
    check(lengths_N, weights_N, order.batch_samples, rank, num_ranks)
    per_epoch = steps_per_epoch(len(lengths_N), order.batch_samples)
    step, last = start_step, num_steps(len(lengths_N), order.batch_samples, order.epochs)
    while step < last:
        epoch, first = divmod(step, per_epoch)
        batches = epoch_batches(lengths_N, order.batch_samples, order.seed, epoch, order.window)
        for rows in batches[first : first + int(min(last - step, per_epoch))]:
            slots = slots_of_ranks(rows, lengths_N, order.micro_tokens, num_ranks)[rank]
            yield Step(slots, total_weight(weights_N[rows]), step)
            step += 1


def epoch_order(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """Return all rows, once each: in the plan's order in epoch 0, by (seed, epoch) permuted in every later one."""
    return np.arange(num_rows) if epoch == 0 else _random(seed, epoch, 0).random(num_rows).argsort(kind="stable")


def epoch_batches(
    lengths_N: np.ndarray, batch_samples: int, seed: int, epoch: int, window: int = WINDOW
) -> list[np.ndarray]:
    """Cut an epoch into global batches, in the order of its steps; only the last may be smaller than `batch_samples`.

    A batch holds rows of like length from its own window of `window` batches of the epoch's order, longest first.
    """
    order = epoch_order(len(lengths_N), seed, epoch)
    window_of_row = np.arange(len(order)) // (window * batch_samples)
    sorted_rows = order[np.lexsort((-lengths_N[order], window_of_row))]

    num_batches = steps_per_epoch(len(order), batch_samples)
    window_of_batch = np.arange(num_batches) // window
    shuffled = np.lexsort((_random(seed, epoch, 1).random(num_batches), window_of_batch))
    sizes = np.full(num_batches, batch_samples)
    sizes[shuffled[-1]] = len(order) - (num_batches - 1) * batch_samples  # whichever length is read last is cut short
    ends = sizes.cumsum()
    return [sorted_rows[ends[batch] - sizes[batch] : ends[batch]] for batch in shuffled]


def slots_of_ranks(
    rows: np.ndarray, lengths_N: np.ndarray, micro_tokens: int, num_ranks: int
) -> list[list[np.ndarray]]:
    """Cut `rows` into slots, a list a rank: as many on each, of like cost; an empty slot where rows do not suffice.

    A slot's cost is its padded tokens, rows times the longest: at most `micro_tokens`, or the longest row's where that
    alone is more.
    """
    rows = rows[np.argsort(-lengths_N[rows], kind="stable")]
    lengths = lengths_N[rows].clip(min=1).tolist()
    num_slots = num_ranks * math.ceil(len(cut(lengths, micro_tokens)) / num_ranks)
    ends = np.cumsum(cut_evenly(lengths, micro_tokens, num_slots))
    slots = np.split(rows, ends[:-1])
    slots.sort(key=lambda slot: -cost(lengths_N[slot]))
    slots += [rows[:0]] * (num_slots - len(slots))
    rounds = [slots[start : start + num_ranks] for start in range(0, num_slots, num_ranks)]
    return [[turn[rank if i % 2 == 0 else -1 - rank] for i, turn in enumerate(rounds)] for rank in range(num_ranks)]


def eval_slots(lengths_N: np.ndarray, micro_tokens: int, world: World = World()) -> list[np.ndarray]:  # noqa: B008
    """Return this rank's slots for predicting every row once, longest first: as many on every rank, some empty."""
    lengths_N = np.asarray(lengths_N)
    if not len(lengths_N):
        return []
    return slots_of_ranks(np.arange(len(lengths_N)), lengths_N, micro_tokens, world.num_ranks)[world.rank]


def cost(lengths: np.ndarray) -> int:
    """Return the padded tokens of one slot: its rows times its longest."""
    return len(lengths) * int(lengths.max(initial=0))


def total_weight(weights: np.ndarray) -> float:
    """Sum a global batch's weights.  One without a single unit weighs 1, so that its loss is 0 and not 0 / 0."""
    return float(weights.sum()) or 1.0


def check(lengths_N: np.ndarray, weights_N: np.ndarray, batch_samples: int, rank: int, num_ranks: int) -> None:
    """Raise ValueError where no stream can be made of these values."""
    if lengths_N.ndim != 1 or len(lengths_N) == 0:
        raise ValueError(f"a stream needs a list of row lengths, got shape {lengths_N.shape}: are there any samples?")
    if weights_N.shape != lengths_N.shape:
        raise ValueError(f"{len(lengths_N)} rows have lengths, but weights have shape {weights_N.shape}")
    if not (np.isfinite(weights_N).all() and (weights_N >= 0).all()):
        raise ValueError("a row's weight must be a finite number, 0 or more")
    if batch_samples < 1 or not 0 <= rank < num_ranks:
        raise ValueError(f"no stream for batches of {batch_samples} samples on rank {rank} of {num_ranks}")


def _random(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, purpose])
