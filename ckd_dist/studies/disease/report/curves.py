"""Measure what the curves show: ROC and precision-recall over all cells, and predicted against observed share.

N rows, K labels, D draws
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ckd_dist.report import bootstrap, metrics
from ckd_dist.report.bootstrap import Estimate, Resamples

RELIABILITY_BINS = 15
CURVE_POINTS = 160


@dataclass(frozen=True)
class Curves:
    """Points of one model's curves, from the highest probability to the lowest."""

    roc: Sequence[Sequence[float]]  # false positive rate, true positive rate
    pr: Sequence[Sequence[float]]  # recall, precision


@dataclass(frozen=True)
class Bin:
    """Cells of about the same predicted probability."""

    predicted: float
    observed: Estimate
    cells: int


def curves(labels_NK: np.ndarray, probabilities_NK: np.ndarray) -> Curves:
    """Return both curves over all cells, thinned."""
    order = np.argsort(-probabilities_NK.ravel(), kind="stable")
    score, label = probabilities_NK.ravel()[order], labels_NK.ravel()[order].astype(np.int64)
    last_of_tie = np.append(score[1:] != score[:-1], True)
    tp, called = np.cumsum(label)[last_of_tie], (np.arange(len(label)) + 1)[last_of_tie]
    positives, negatives = max(1, label.sum()), max(1, len(label) - label.sum())
    recall, false_rate, precision = tp / positives, (called - tp) / negatives, tp / called
    roc = np.column_stack([np.append(0, false_rate), np.append(0, recall)])
    pr = np.column_stack([np.append(0, recall), np.append(precision[0], precision)])
    return Curves(thin(roc).round(5).tolist(), thin(pr).round(5).tolist())


def thin(points: np.ndarray) -> np.ndarray:
    """Keep at most CURVE_POINTS points, evenly along the curve, with both ends."""
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1))])
    wanted = np.searchsorted(along, np.linspace(0, along[-1], CURVE_POINTS))
    return points[np.unique(np.append(wanted.clip(0, len(points) - 1), [0, len(points) - 1]))]


def reliability(labels_NK: np.ndarray, probabilities_NK: np.ndarray, draws: Resamples) -> list[Bin]:
    """Compare predicted with observed share in bins of equally many cells."""
    bin_NK = metrics.equal_mass_bins(probabilities_NK, RELIABILITY_BINS)
    bins = []
    for number in np.unique(bin_NK):
        inside_NK = bin_NK == number
        sums_3N = np.stack([(inside_NK * part_NK).sum(axis=1) for part_NK in (1, probabilities_NK, labels_NK)])
        cells_D, predicted_D, observed_D = metrics.total(sums_3N.T, draws.subject_N, draws.counts_SD)
        with np.errstate(invalid="ignore", divide="ignore"):
            observed = bootstrap.interval(observed_D / cells_D)
        bins.append(Bin(float(predicted_D[0] / cells_D[0]), observed, int(cells_D[0])))
    return bins
