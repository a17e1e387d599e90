"""Judge a difference of two models: one rule for every study.

The first is better or worse than the second where the 95 % interval of their difference leaves zero out and there are
enough held-out data for claims; everywhere else the difference is unclear, one that has no interval included.
"""

from dataclasses import dataclass
from typing import Literal

from ckd_dist.report.bootstrap import Estimate

LEAST_SEEDS = 3  # trainings that a verdict over seeds takes
Verdict = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class Difference:
    """First minus second, its 95 % interval, and what may be said of the first."""

    value: float
    low: float
    high: float
    verdict: Verdict


def judge(difference: Estimate, *, enough: bool, lower_is_better: bool = False) -> Difference:
    """Return the difference with its verdict.  enough: whether a claim may rest on the data.

    >>> judge(Estimate(0.2, 0.1, 0.3), enough=True).verdict
    'better'
    >>> judge(Estimate(0.2, 0.1, 0.3), enough=True, lower_is_better=True).verdict
    'worse'
    >>> judge(Estimate(0.2, 0.1, 0.3), enough=False).verdict, judge(Estimate(0.2, -0.1, 0.3), enough=True).verdict
    ('unclear', 'unclear')
    """
    verdict: Verdict = "unclear"
    if enough and difference.clear_of_zero:
        gain = -difference.value if lower_is_better else difference.value
        verdict = "better" if gain > 0 else "worse"
    return Difference(difference.value, difference.low, difference.high, verdict)
