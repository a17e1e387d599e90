"""Fit the baseline that a statistician would try first: an L2 logistic regression, its strength chosen on tuning.

N rows, F features
"""

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

STRENGTHS = (0.01, 0.1, 1.0)  # C: inverse strength of the penalty
LEAST = 1e-12  # added to a probability, so that its logarithm is finite


def fit_logistic(
    train_NF: sparse.csr_array,
    label_N: np.ndarray,
    tuning_NF: sparse.csr_array,
    tuning_N: np.ndarray,
    *,
    untuned: float,
    most_steps: int,
) -> LogisticRegression:
    """Return the model whose C has the least cross-entropy on tuning; the smallest C among equals.

    label, tuning: 0 or 1, both in train.  untuned: the C to take where there is no tuning row.  most_steps: of L-BFGS.
    """

    def fit(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=most_steps).fit(train_NF, label_N)

    if not len(tuning_N):
        return fit(untuned)
    return min(map(fit, STRENGTHS), key=lambda model: cross_entropy_of(model, tuning_NF, tuning_N))


def cross_entropy_of(model: LogisticRegression, rows_NF: sparse.csr_array, label_N: np.ndarray) -> float:
    """Return the mean of -log of the probability that the model gives to what came."""
    probability_N = model.predict_proba(rows_NF)[:, 1]
    return float(-np.mean(np.log(np.where(label_N == 1, probability_N, 1 - probability_N) + LEAST)))
