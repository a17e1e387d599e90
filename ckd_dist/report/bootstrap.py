"""95 % percentile intervals over subjects: a subject is drawn with all of its visits, never a visit alone.

    N rows, S subjects, D draws; draw 0 is the sample as it is

All models are scored on the same draws, so the difference of two models has an interval of its own that leaves out
what they share (how hard the drawn subjects are).  A draw that holds no positive of a label leaves that label out of
its macro mean, for every model alike.  Fewer than ten subjects get no interval: their draws say nothing of others.

What an interval covers: the chance of having met other subjects.  Not the chance of another training run.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

LEVEL = 0.95
LEAST_SUBJECTS = 10
LEAST_KNOWN = 0.5  # share of draws in which a metric must exist for an interval to be given


@dataclass(frozen=True)
class Bootstrap:
    """How the intervals of a report are drawn."""

    draws: int
    seed: int
    level: float = field(default=LEVEL, init=False)


@dataclass(frozen=True, kw_only=True)
class BootstrapOver(Bootstrap):
    """The same, and what is drawn, of a study in which that is not the same for all reports."""

    over: Literal["notes", "patients", "subjects"]


@dataclass(frozen=True)
class Resamples:
    """subject_N: line of `counts_SD` of every row.  counts_SD: how often a subject was drawn; column 0 is all ones."""

    subject_N: np.ndarray
    counts_SD: np.ndarray

    def rows(self, chosen_N: np.ndarray) -> "Resamples":
        """Return the same draws over some of the rows."""
        subject_N = self.subject_N[chosen_N]
        enough = len(np.unique(subject_N)) >= LEAST_SUBJECTS
        return Resamples(subject_N, self.counts_SD if enough else self.counts_SD[:, :1])


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; NaN where it cannot be computed."""

    value: float
    low: float
    high: float

    @property
    def clear_of_zero(self) -> bool:
        """Say whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def resample(subject_ids_N: np.ndarray, num_draws: int, seed: int) -> Resamples:
    """Draw as many subjects as there are, with replacement, `num_draws` times; not at all where they are too few."""
    subjects, subject_N = np.unique(subject_ids_N, return_inverse=True)
    num_subjects = len(subjects)
    num_draws = num_draws if num_subjects >= LEAST_SUBJECTS else 0
    random = np.random.default_rng(seed)
    counts_SD = np.ones((num_subjects, 1 + num_draws))  # float64: 8 bytes a subject and draw
    for draw in range(1, 1 + num_draws):
        drawn = random.integers(num_subjects, size=num_subjects)
        counts_SD[:, draw] = np.bincount(drawn, minlength=num_subjects)
    return Resamples(subject_N.reshape(-1), counts_SD)


def interval(value_D: np.ndarray, *, centred: bool = False) -> Estimate:
    """Return the observed value (draw 0) and the 2.5 and 97.5 percentiles of the draws.

    centred: take the draws' mean excess over the observed value away first, never below 0.  ECE needs it: a draw adds
    its own noise to every bin, so the draws of a well calibrated model all lie above the value they are draws of.
    """
    observed, draws = float(value_D[0]), value_D[1:]
    known = draws[~np.isnan(draws)]
    if np.isnan(observed) or len(known) < LEAST_KNOWN * max(1, len(draws)):
        return Estimate(observed, float("nan"), float("nan"))
    if centred:
        known = np.maximum(known - (known.mean() - observed), 0)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(observed, float(low), float(high))


def difference(first_D: np.ndarray, second_D: np.ndarray) -> Estimate:
    """Subtract the second from the first, draw by draw: a paired interval."""
    return interval(first_D - second_D)


def share_of_way(value_D: np.ndarray, start_D: np.ndarray, end_D: np.ndarray) -> Estimate:
    """Compute (value - start) / (end - start), draw by draw; NaN in a draw where start and end are the same."""
    way_D = end_D - start_D
    with np.errstate(invalid="ignore", divide="ignore"):
        return interval(np.where(way_D == 0, np.nan, (value_D - start_D) / way_D))
