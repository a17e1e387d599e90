"""One formula for the number of steps: what `plan` says, what the trainer makes, what the stream deals out."""

import doctest

import numpy as np
import pytest

from ckd_dist import schedule
from ckd_dist.config import Optim
from ckd_dist.engine.cost import steps_of_phases
from ckd_dist.engine.loop import training_schedule
from ckd_dist.schedule import epochs_as_long, num_steps, steps_per_epoch
from ckd_dist.softlabels.stream import steps_of
from ckd_dist.world import World


@pytest.mark.parametrize("num_rows", [1, 2, 31, 32, 33, 100, 257])
@pytest.mark.parametrize("batch_samples", [1, 7, 32, 300])
@pytest.mark.parametrize("epochs", [0.01, 0.1, 0.5, 1, 1.5, 2.4, 3])
def test_plan_trainer_and_stream_agree(num_rows, batch_samples, epochs):
    optim = Optim(epochs=epochs, batch_samples=batch_samples)
    planned = steps_of_phases([optim], num_rows)
    assert training_schedule(optim, num_rows).num_steps == planned
    for rank in (0, 2):
        dealt = list(steps_of(optim, World(rank, 3), np.ones(num_rows, int), np.ones(num_rows))(0))
        assert [step.index for step in dealt] == list(range(planned))


@pytest.mark.parametrize("num_rows", [1, 33, 100])
@pytest.mark.parametrize("batch_samples", [1, 32])
def test_whole_epochs_are_counted_batch_by_batch(num_rows, batch_samples):
    batches = [range(start, min(start + batch_samples, num_rows)) for start in range(0, num_rows, batch_samples)]
    assert steps_per_epoch(num_rows, batch_samples) == len(batches)
    for epochs in (1, 2, 5):
        assert num_steps(num_rows, batch_samples, epochs) == epochs * len(batches)


def test_a_phase_of_no_epochs_counts_nothing():
    assert steps_of_phases([Optim(epochs=0), Optim(epochs=2, batch_samples=10)], 95) == 20


def test_fewer_rows_are_read_as_often_as_more_rows_were():
    assert epochs_as_long(2, 300, 100) * 100 == 2 * 300
    assert epochs_as_long(2, 300, 0) == 600  # an empty baseline is refused where it would train


def test_examples():
    assert doctest.testmod(schedule).failed == 0
