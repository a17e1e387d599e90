"""A verdict needs an interval clear of zero and enough data, and turns round where less is better."""

import itertools

import pytest

from ckd_dist.report.bootstrap import Estimate
from ckd_dist.report.compare import judge

NAN = float("nan")
ENDS = (-0.2, -0.1, 0.0, 0.1, 0.2)


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_says_better_or_worse_only_where_all_of_the_interval_agrees(lower_is_better: bool) -> None:
    """Go through a grid of intervals; the words follow from the signs of both ends."""
    for low, high in itertools.combinations_with_replacement(ENDS, 2):
        judged = judge(Estimate((low + high) / 2, low, high), enough=True, lower_is_better=lower_is_better)
        above, below = low > 0, high < 0
        better, worse = (below, above) if lower_is_better else (above, below)
        assert judged.verdict == ("better" if better else "worse" if worse else "unclear")
        assert (judged.value, judged.low, judged.high) == ((low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("estimate", "enough"),
    [(Estimate(0.5, 0.4, 0.6), False), (Estimate(0.5, NAN, NAN), True), (Estimate(NAN, NAN, NAN), True)],
)
def test_is_unclear_without_enough_data_or_without_an_interval(estimate: Estimate, enough: bool) -> None:
    """A large difference is no claim by itself."""
    assert judge(estimate, enough=enough).verdict == "unclear"
