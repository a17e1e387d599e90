"""The regression is scikit-learn's at the strength of least log loss on tuning rows, or at the one asked for."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from ckd_dist.report.baselines import STRENGTHS, fit_logistic


def rows_of(num_rows: int, seed: int, effect: float) -> tuple[sparse.csr_array, np.ndarray]:
    """Six codes, of which the first decides the label as far as `effect` says."""
    random = np.random.default_rng(seed)
    codes_NF = random.integers(0, 2, (num_rows, 6)).astype(float)
    label_N = (random.random(num_rows) < 0.5 + effect * (codes_NF[:, 0] - 0.5)).astype(int)
    return sparse.csr_array(codes_NF), label_N


@pytest.mark.parametrize(("effect", "on_tuning"), [(0.0, 0.0), (0.9, 0.9), (0.9, -0.9), (0.4, 0.4)])
def test_takes_the_strength_of_least_log_loss_on_tuning(effect: float, on_tuning: float) -> None:
    (train_NF, label_N), (tuning_NF, tuning_N) = rows_of(80, 0, effect), rows_of(60, 1, on_tuning)
    models = {C: LogisticRegression(C=C, max_iter=300).fit(train_NF, label_N) for C in STRENGTHS}
    losses = {C: log_loss(tuning_N, model.predict_proba(tuning_NF)[:, 1]) for C, model in models.items()}
    best = min(losses, key=losses.get)
    found = fit_logistic(train_NF, label_N, tuning_NF, tuning_N, untuned=0.1, most_steps=300)
    assert best == found.C
    assert (found.coef_ == models[best].coef_).all()


def test_tuning_decides_and_not_always_the_same() -> None:
    """Where tuning rows turn the effect round the strongest penalty wins, where they repeat it the weakest."""
    train = rows_of(80, 0, 0.9)
    chosen = [fit_logistic(*train, *rows_of(60, 1, effect), untuned=0.1, most_steps=300).C for effect in (-0.9, 0.9)]
    assert chosen == [STRENGTHS[0], STRENGTHS[-1]]


def test_without_tuning_rows_the_strength_is_the_one_asked_for() -> None:
    empty_NF, _ = rows_of(0, 1, 0)
    assert fit_logistic(*rows_of(40, 0, 0.5), empty_NF, np.zeros(0), untuned=0.1, most_steps=300).C == 0.1
