"""What a row weighs in training is what the recipe says, whichever rows share its step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.config import Optim
from ckd_dist.softlabels.stream import steps_of
from ckd_dist.studies.disease.fit import step_weights
from ckd_dist.world import World


@given(st.integers(2, 60), st.integers(1, 16), st.floats(0.01, 1.0), st.integers(0, 9))
def test_a_light_row_counts_as_much_less_over_an_epoch(num_rows, batch, light, seed):
    """Most steps have light rows alone; divided by its own weight, such a step would be as large as any other."""
    random = np.random.default_rng(seed)
    weights_N = np.where(random.random(num_rows) < 0.2, 1.0, light)
    optim = Optim(epochs=1, batch_samples=batch, seed=seed)
    counts_N = np.zeros(num_rows)
    for step in steps_of(optim, World(), random.integers(1, 9, num_rows), step_weights(weights_N))(0):
        rows = np.concatenate(step.slots)
        counts_N[rows] += weights_N[rows] / step.total_weight * len(rows)  # a step's size is that of its batch
    assert counts_N == pytest.approx(weights_N / weights_N.mean())


def test_where_all_weigh_one_nothing_changes():
    assert step_weights(np.ones(5)).tolist() == [1.0] * 5 and len(step_weights(np.zeros(0))) == 0
