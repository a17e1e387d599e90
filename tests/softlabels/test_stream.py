"""Every row once an epoch, as many steps and slots on every rank, the same global batches on any number of them."""

import doctest
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.models import budget
from ckd_dist.models.budget import cut, cut_evenly
from ckd_dist.schedule import num_steps, steps_per_epoch
from ckd_dist.softlabels import stream
from ckd_dist.softlabels.stream import (
    Order,
    cost,
    epoch_batches,
    epoch_order,
    eval_slots,
    slots_of_ranks,
    steps,
)
from ckd_dist.world import World
from tests.bench import padding
from tests.bench.padding import padding_share
from tests.softlabels import worker

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=150).map(np.array)
SHAPES = {
    "lengths_N": LENGTHS,
    "batch_samples": st.integers(1, 40),
    "micro_tokens": st.integers(1, 400),
    "seed": st.integers(0, 5),
    "window": st.integers(1, 5),
    "num_ranks": st.integers(1, 5),
}


def rows_of(step) -> np.ndarray:
    return np.concatenate([np.zeros(0, int), *step.slots])


@given(**SHAPES, epochs=st.sampled_from([0.3, 1, 2, 2.5]), start=st.floats(0, 1))
@settings(deadline=None, max_examples=200)
def test_steps(lengths_N, batch_samples, micro_tokens, seed, window, num_ranks, epochs, start):
    """TESTS row 7, in one world after the other."""
    weights_N = (np.arange(len(lengths_N)) * 7 % 4).astype(float)
    order = Order(batch_samples, micro_tokens, seed, epochs, window)

    def run(rank, num_ranks, start_step=0):
        return list(steps(lengths_N, weights_N, order, rank, num_ranks, start_step))

    alone, ranks = run(0, 1), [run(rank, num_ranks) for rank in range(num_ranks)]
    total = num_steps(len(lengths_N), batch_samples, epochs)
    per_epoch = steps_per_epoch(len(lengths_N), batch_samples)
    assert [len(mine) for mine in ranks] == [total] * num_ranks

    for index, (whole, *parts) in enumerate(zip(alone, *ranks, strict=True)):
        assert {step.index for step in parts} == {index}
        assert len({len(step.slots) for step in parts}) == 1  # as many forward passes on every rank
        together = np.concatenate([rows_of(step) for step in parts])
        assert sorted(together) == sorted(rows_of(whole))  # the same global batch
        assert {step.total_weight for step in parts} == {whole.total_weight}
        assert whole.total_weight == (weights_N[together].sum() or 1.0)
        is_last = index % per_epoch == per_epoch - 1
        assert len(together) == (len(lengths_N) - (per_epoch - 1) * batch_samples if is_last else batch_samples)
        for slot in (slot for step in [whole, *parts] for slot in step.slots):
            assert cost(lengths_N[slot]) <= max(micro_tokens, lengths_N[together].max())
        if len(together) >= num_ranks:
            assert all(len(rows_of(step)) for step in parts)  # nobody is idle

    for epoch in range(int(epochs)):
        seen = np.concatenate([rows_of(step) for step in alone[epoch * per_epoch : (epoch + 1) * per_epoch]])
        assert sorted(seen) == list(range(len(lengths_N)))  # every row, exactly once

    first = int(start * total)
    resumed = run(num_ranks - 1, num_ranks, first)
    assert [step.index for step in resumed] == list(range(first, total))
    for unbroken, again in zip(ranks[-1][first:], resumed, strict=True):
        assert again.total_weight == unbroken.total_weight
        assert [slot.tolist() for slot in again.slots] == [slot.tolist() for slot in unbroken.slots]


@given(num_rows=st.integers(1, 300), seed=st.integers(0, 3), epoch=st.integers(0, 4))
def test_epoch_order_is_a_permutation_and_the_plans_own_at_first(num_rows, seed, epoch):
    order = epoch_order(num_rows, seed, epoch)
    assert sorted(order) == list(range(num_rows))
    assert epoch > 0 or order.tolist() == list(range(num_rows))


def test_epochs_and_seeds_differ():
    orders = [epoch_order(100, seed, epoch).tolist() for seed in (0, 1) for epoch in (1, 2)]
    assert len({tuple(order) for order in orders}) == 4


@given(**SHAPES)
@settings(deadline=None)
def test_first_epoch_reads_the_plans_order_window_by_window(
    lengths_N, batch_samples, micro_tokens, seed, window, num_ranks
):
    """So that a student of shards that are still being made would wait for no more than a window."""
    for step, rows in enumerate(epoch_batches(lengths_N, batch_samples, seed, 0, window)):
        whole_windows = (step // window + 1) * window * batch_samples
        assert rows.max() < min(len(lengths_N), whole_windows)


def test_batches_of_a_window_hold_rows_of_like_length_in_another_order():
    lengths_N = np.random.default_rng(0).integers(1, 500, 320)
    batches = epoch_batches(lengths_N, 10, seed=0, epoch=1, window=32)
    ranges = sorted((lengths_N[rows].min(), lengths_N[rows].max()) for rows in batches)
    assert all(low[1] <= high[0] for low, high in pairwise(ranges))  # no two overlap
    means = [lengths_N[rows].mean() for rows in batches]
    assert abs(np.corrcoef(np.arange(32), means)[0, 1]) < 0.5  # and not from long to short


def test_last_batch_is_not_always_the_longest_or_shortest():
    lengths_N = np.arange(103)
    means = [lengths_N[epoch_batches(lengths_N, 10, 0, epoch)[-1]].mean() for epoch in range(30)]
    assert min(means) < 30 and max(means) > 70


def test_short_rows_that_fit_one_slot_are_shared_by_two_ranks():
    ranks = slots_of_ranks(np.arange(32), np.full(32, 10), micro_tokens=10_000, num_ranks=2)
    assert [[len(slot) for slot in slots] for slots in ranks] == [[16], [16]]


def test_fewer_rows_than_ranks_leave_empty_slots():
    ranks = slots_of_ranks(np.arange(2), np.array([5, 9]), micro_tokens=100, num_ranks=4)
    assert [[slot.tolist() for slot in slots] for slots in ranks] == [[[1]], [[0]], [[]], [[]]]


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=9), tokens=st.integers(1, 90), more=st.integers(0, 3))
def test_even_cut_against_all_cuts(lengths, tokens, more):
    """Its costliest slot is as cheap as the best of all ways to cut the sorted rows."""
    lengths = sorted(lengths, reverse=True)
    num_slots = len(cut(lengths, tokens)) + more

    def best(start: int, slots: int) -> float:
        if start == len(lengths):
            return 0
        ends = range(start + 1, len(lengths) + 1) if slots else ()
        return min((max((end - start) * lengths[start], best(end, slots - 1)) for end in ends), default=float("inf"))

    sizes = cut_evenly(lengths, tokens, num_slots)
    starts = np.cumsum([0, *sizes[:-1]])
    assert sum(sizes) == len(lengths) and len(sizes) == min(num_slots, len(lengths))
    assert max(size * lengths[start] for size, start in zip(sizes, starts, strict=True)) == best(0, num_slots)


@given(lengths_N=LENGTHS, micro_tokens=st.integers(1, 400), num_ranks=st.integers(1, 5))
def test_eval_slots_cover_every_row_once(lengths_N, micro_tokens, num_ranks):
    ranks = [eval_slots(lengths_N, micro_tokens, World(rank, num_ranks)) for rank in range(num_ranks)]
    assert len({len(slots) for slots in ranks}) == 1
    rows = np.concatenate([slot for slots in ranks for slot in slots])
    assert sorted(rows) == list(range(len(lengths_N)))
    assert eval_slots(np.zeros(0, int), micro_tokens) == []


def test_padding_is_nearly_gone():
    """Causes, not clocks: records as long as real ones (quartiles 280, 437, 573), cut at 512, batches of 32."""
    lengths_N = np.random.default_rng(0).normal(445, 217, 6000).clip(20, 512).astype(int)
    order = Order(batch_samples=32, micro_tokens=8192, seed=0, epochs=1)
    slots = [slot for step in steps(lengths_N, np.ones(6000), order) for slot in step.slots]
    in_order = np.split(np.arange(6000), 750)
    assert padding_share(lengths_N, in_order) > 0.15
    assert padding_share(lengths_N, slots) < 0.02
    assert padding_share(lengths_N, []) == 0


def test_ranks_carry_like_loads():
    """Costliest rank over the mean, summed over the steps of an epoch: 1 is perfect."""
    lengths_N = np.random.default_rng(0).integers(20, 512, 3200)
    for num_ranks in (2, 4, 8):
        loads = [
            [sum(cost(lengths_N[slot]) for slot in slots) for slots in slots_of_ranks(rows, lengths_N, 8192, num_ranks)]
            for rows in epoch_batches(lengths_N, 32, seed=0, epoch=1)
        ]
        assert np.max(loads, axis=1).sum() / np.mean(loads, axis=1).sum() < 1.05


def test_impossible_streams_are_refused():
    order = Order(batch_samples=4, micro_tokens=100, seed=0)
    with pytest.raises(ValueError, match="any samples"):
        next(steps(np.zeros(0, int), np.zeros(0), order))
    with pytest.raises(ValueError, match="weights have shape"):
        next(steps(np.ones(3, int), np.ones(2), order))
    with pytest.raises(ValueError, match="finite"):
        next(steps(np.ones(3, int), np.array([1, -1, 1]), order))
    with pytest.raises(ValueError, match="rank 2 of 2"):
        next(steps(np.ones(3, int), np.ones(3), order, rank=2, num_ranks=2))


def test_examples_in_the_docstrings():
    assert all(doctest.testmod(module).failed == 0 for module in (stream, budget, worker, padding))
