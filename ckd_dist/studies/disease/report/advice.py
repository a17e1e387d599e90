"""Advise on labels: below how many labelled patients distilling pays, from experiments at several label budgets.

    B budgets, S seeds, D draws of patients; draw 0 is the sample as it is

The gain is the distilled student's macro-AUROC minus that of the best model that a hospital with these labels could
have.  More labels help the others more than the student whose teacher has labels of its own, so the gain is fitted by a
curve that never rises (isotonic regression: Barlow et al. 1972), straight between two budgets in the logarithm of the
budget; distilling pays below the budget at which it crosses zero.  The interval of that budget is over patients and
seeds: each draw has patients drawn anew and, with them, seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log10

import numpy as np

from ckd_dist.report.bootstrap import LEVEL, Estimate, interval, share_of_way
from ckd_dist.report.compare import LEAST_SEEDS

LEAST_BUDGETS = 3
SEED = 0  # of the draws of seeds


@dataclass(frozen=True)
class Advice:
    """The label budget below which distilling pays.

    gain: of every budget, over seeds.  curve: the fitted one.  crossing: in labelled patients; 0 where the curve is
    below zero from the smallest budget on, infinite where it is above up to the largest; not a number: no advice.
    """

    budgets: Sequence[int]
    num_seeds: int
    gain: Sequence[Estimate]
    curve: Sequence[float]
    crossing: Estimate
    share_of_gap: Sequence[Estimate]  # of the way from the best other to the oracle, a budget each; none: no oracle

    @property
    def is_given(self) -> bool:
        """Say whether seeds and budgets are enough for advice."""
        return self.num_seeds >= LEAST_SEEDS and len(self.budgets) >= LEAST_BUDGETS

    def sentence(self) -> str:
        """Say in one sentence where distilling pays."""
        if not self.is_given:
            return (
                f"No advice on labels: it takes {LEAST_SEEDS} seeds and {LEAST_BUDGETS} label budgets, these "
                f"experiments have {self.num_seeds} and {len(self.budgets)}."
            )
        few, many = self.budgets[0], self.budgets[-1]
        said = f"{100 * LEVEL:.0f} % interval {self._end(self.crossing.low)} to {self._end(self.crossing.high)}"
        if self.crossing.value == inf:
            where = f"at every label budget tried, up to {many:,} labelled patients"
            said = "" if self.crossing.low == inf else said
        elif self.crossing.value == 0:
            where = f"at none of the label budgets tried, from {few:,} labelled patients on"
            said = "" if self.crossing.high == 0 else said
        else:
            where = f"below about {rounded(self.crossing.value):,} labelled patients"
        return f"On these data distilling pays {where}{f' ({said})' if said else ''}."

    def _end(self, end: float) -> str:
        """Name an end of the interval; beyond the budgets tried nothing is known but the side."""
        beyond = {0.0: f"fewer than {self.budgets[0]:,}", inf: f"more than {self.budgets[-1]:,}"}
        return beyond[end] if end in beyond else f"{rounded(end):,}"


def advise(
    budgets: Sequence[int],
    distilled_BSD: np.ndarray,
    best_BSD: np.ndarray,
    gaps: Sequence[Estimate] = (),
) -> Advice:
    """Fit the gain's curve and find where it crosses zero.

    budgets: labelled patients, ascending, each more than 0.  distilled, best: macro-AUROC of the student, and of the
    best model that the same labels allow (`scores_of_best`), on the same draws.  gaps: `share_of_gap` of every budget.
    """
    gain_BSD = np.asarray(distilled_BSD, float) - best_BSD
    num_seeds, num_draws = gain_BSD.shape[1:]
    drawn_DS = np.random.default_rng(SEED).integers(num_seeds, size=(num_draws, num_seeds))
    drawn_DS[0] = np.arange(num_seeds)
    gain_BD = gain_BSD[:, drawn_DS, np.arange(num_draws)[:, None]].mean(2)  # [B, D, S] -> [B, D]
    curve_BD = never_rising(gain_BD)
    crossing_D = np.array([crossing(budgets, curve_B) for curve_B in curve_BD.T])
    return Advice(
        budgets=tuple(budgets),
        num_seeds=num_seeds,
        gain=[interval(gain_D) for gain_D in gain_BD],
        curve=curve_BD[:, 0].tolist(),
        crossing=middle(crossing_D),
        share_of_gap=gaps,
    )


def scores_of_best(scores_MSD: np.ndarray) -> np.ndarray:
    """Return the scores, [S, D], of the one of M models whose mean over seeds, on the sample as it is, is highest."""
    return scores_MSD[np.argmax(scores_MSD[:, :, 0].mean(1))]


def share_of_gap(distilled_SD: np.ndarray, best_SD: np.ndarray, oracle_D: np.ndarray) -> Estimate:
    """Compute which share of the way from the best model of these labels to the oracle the student goes."""
    return share_of_way(distilled_SD.mean(0), best_SD.mean(0), oracle_D)


def never_rising(value_BD: np.ndarray) -> np.ndarray:
    """Return the least-squares fit, of each column, that never rises with the budget.

    max-min formula: fit_b = min over i <= b of max over j >= b of mean(value_i .. value_j).

    >>> never_rising(np.array([[3.0], [1.0], [2.0], [0.0]])).ravel().tolist()
    [3.0, 1.5, 1.5, 0.0]
    """
    num = len(value_BD)
    sums_BD = np.vstack([np.zeros_like(value_BD[:1]), np.cumsum(value_BD, axis=0)])

    def mean(first: int, last: int) -> np.ndarray:
        return (sums_BD[last + 1] - sums_BD[first]) / (last + 1 - first)

    fits = [
        np.min([np.max([mean(i, j) for j in range(b, num)], axis=0) for i in range(b + 1)], axis=0) for b in range(num)
    ]
    return np.stack(fits)


def crossing(budgets: Sequence[int], curve_B: np.ndarray) -> float:
    """Return the budget at which a curve that never rises reaches zero: 0 before the first, infinite after the last.

    >>> [round(crossing([100, 1000], np.array(curve)), 1) for curve in ([0.1, -0.1], [0.2, 0.1], [-0.1, -0.2])]
    [316.2, inf, 0.0]
    """
    if np.isnan(curve_B).any():
        return float("nan")
    above = int(np.sum(curve_B > 0))
    if above in (0, len(curve_B)):
        return inf if above else 0.0
    start, end = curve_B[above - 1], curve_B[above]
    low, high = log10(budgets[above - 1]), log10(budgets[above])
    return float(10 ** (low + (high - low) * start / (start - end)))


def middle(crossing_D: np.ndarray) -> Estimate:
    """Return the observed crossing and its interval, each end a crossing that some draw has: infinite ones count."""
    known = np.sort(crossing_D[1:][~np.isnan(crossing_D[1:])])
    if not len(known):
        return Estimate(float(crossing_D[0]), float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return Estimate(float(crossing_D[0]), float(low), float(high))


def rounded(budget: float) -> int:
    """Round to two digits.

    >>> rounded(316.2), rounded(1049.0), rounded(87.4), rounded(3.2)
    (320, 1000, 87, 3)
    """
    return int(round(budget, 1 - int(log10(budget))))
