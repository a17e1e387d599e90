"""Fit what needs no neural network: an L2 logistic regression, and gradient-boosted trees, each chosen on tuning.

    N rows, F features, K labels

Trees are grown once a label, and tuning chooses how many of them count.  They are small and each split looks at a part
of the features, which few rows need.  They read dense rows, hence the MOST_FEATURES commonest features alone, in one
thread: the same trees on every machine, and no thread waits for another on a busy one.
"""

import numpy as np
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from ckd_dist.report.metrics import log_losses

STRENGTHS = (0.01, 0.1, 1.0)  # C: inverse strength of the penalty
NUM_TREES = (20, 40, 80)  # of which tuning chooses; the middle one where there is no tuning row
MOST_FEATURES = 400  # that trees read
TREES = {  # small ones: 200 rows of 250 features must not be learned by heart
    "learning_rate": 0.15,
    "max_leaf_nodes": 4,
    "min_samples_leaf": 5,
    "max_features": 0.3,  # of the features, at each split
    "max_bins": 16,  # nearly all features are 0 or 1
}


def shares_of(label_NK: np.ndarray) -> np.ndarray:
    """Return each label's share, [K]; half a row short of none or all, which few rows only seem to say.

    >>> shares_of(np.array([[0, 1], [0, 1], [0, 0]])).tolist()
    [0.125, 0.6666666666666666]
    """
    least = 0.5 / (len(label_NK) + 1)
    return label_NK.mean(axis=0).clip(least, 1 - least)


def fit_logistic(
    train_NF: sparse.csr_array,
    label_N: np.ndarray,
    tuning_NF: sparse.csr_array,
    tuning_N: np.ndarray,
    *,
    untuned: float,
    most_steps: int,
) -> LogisticRegression:
    """Return the model whose C has the least log-loss on tuning; the smallest C among equals.

    label, tuning: 0 or 1, both in train.  untuned: the C to take where there is no tuning row.  most_steps: of L-BFGS.
    """

    def fit(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=most_steps).fit(train_NF, label_N)

    if not len(tuning_N):
        return fit(untuned)
    return min(map(fit, STRENGTHS), key=lambda model: log_losses(tuning_N, model.predict_proba(tuning_NF)[:, 1]).mean())


def predict_by_trees(
    train_NF: sparse.csr_array,
    label_N: np.ndarray,
    tuning_NF: sparse.csr_array,
    tuning_N: np.ndarray,
    rows_NF: sparse.csr_array,
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of one label for tuning and for `rows`, by as many trees as do best on tuning.

    label, tuning: 0 or 1, both in train.  Best is the least log-loss; the fewest trees among equals.
    """
    common_F = commonest(train_NF, MOST_FEATURES)
    train, tuning, rows = (part_NF[:, common_F].toarray() for part_NF in (train_NF, tuning_NF, rows_NF))
    with threadpool_limits(limits=1, user_api="openmp"):
        model = HistGradientBoostingClassifier(max_iter=NUM_TREES[-1], early_stopping=False, random_state=0, **TREES)
        model.fit(train, label_N)
        if not len(tuning_N):
            return np.zeros(0), by_first_trees(model, rows)[NUM_TREES[1]]
        on_tuning = by_first_trees(model, tuning)
        best = min(NUM_TREES, key=lambda number: log_losses(tuning_N, on_tuning[number]).mean())
        return on_tuning[best], by_first_trees(model, rows)[best]


def by_first_trees(model: HistGradientBoostingClassifier, rows_NF: np.ndarray) -> dict[int, np.ndarray]:
    """Return the probabilities by the first NUM_TREES trees, [N] by number."""
    stages = enumerate(model.staged_predict_proba(rows_NF), 1)
    return {number: probability_N2[:, 1] for number, probability_N2 in stages if number in NUM_TREES}


def commonest(rows_NF: sparse.csr_array, most: int) -> np.ndarray:
    """Return the `most` features that the most rows have, in their order; the first among equals."""
    rows_F = np.bincount(rows_NF.indices, minlength=rows_NF.shape[1])
    return np.sort(np.argsort(-rows_F, kind="stable")[:most])
