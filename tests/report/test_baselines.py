"""Regression and trees are scikit-learn's at what has the least log loss on tuning rows, or at what stands for none."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from ckd_dist.report import baselines
from ckd_dist.report.baselines import NUM_TREES, STRENGTHS, TREES, fit_logistic, predict_by_trees


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


# --- trees ------------------------------------------------------------------------------------------------------------


def of_pairs(num_rows: int, seed: int, turned: float = 1.0) -> tuple[sparse.csr_array, np.ndarray]:
    """Six codes; the label comes where exactly one of the first two is there, which no sum of codes can say."""
    random = np.random.default_rng(seed)
    codes_NF = random.integers(0, 2, (num_rows, 6)).astype(float)
    one = codes_NF[:, 0] != codes_NF[:, 1]
    return sparse.csr_array(codes_NF), (random.random(num_rows) < 0.5 + turned * 0.4 * (2 * one - 1)).astype(int)


@pytest.mark.parametrize(("num_tuning", "turned"), [(200, 1.0), (200, -1.0), (40, 0.5), (0, 1.0)])
def test_as_many_trees_as_have_the_least_log_loss_on_tuning(num_tuning: int, turned: float) -> None:
    (train_NF, label_N), (tuning_NF, tuning_N) = of_pairs(300, 0), of_pairs(num_tuning, 1, turned)
    rows_NF, _ = of_pairs(50, 2)
    grown = {
        number: HistGradientBoostingClassifier(max_iter=number, early_stopping=False, random_state=0, **TREES).fit(
            train_NF.toarray(), label_N
        )
        for number in NUM_TREES
    }
    if num_tuning:
        losses = {n: log_loss(tuning_N, m.predict_proba(tuning_NF.toarray())[:, 1]) for n, m in grown.items()}
        best = min(losses, key=losses.get)
        assert best == NUM_TREES[0] or turned > 0  # where tuning turns the effect round, the fewest
    else:
        best = NUM_TREES[1]
    on_tuning_N, on_rows_N = predict_by_trees(train_NF, label_N, tuning_NF, tuning_N, rows_NF)
    assert on_rows_N == pytest.approx(grown[best].predict_proba(rows_NF.toarray())[:, 1], abs=1e-12)
    assert len(on_tuning_N) == num_tuning
    if num_tuning:
        assert on_tuning_N == pytest.approx(grown[best].predict_proba(tuning_NF.toarray())[:, 1], abs=1e-12)


def test_trees_say_what_no_sum_of_codes_can() -> None:
    train, tuning, (rows_NF, label_N) = of_pairs(600, 0), of_pairs(200, 1), of_pairs(2000, 2)
    regression = fit_logistic(*train, *tuning, untuned=0.1, most_steps=300).predict_proba(rows_NF)[:, 1]
    trees = predict_by_trees(*train, *tuning, rows_NF)[1]
    assert log_loss(label_N, trees) < 0.4 < 0.65 < log_loss(label_N, regression)
    assert (trees == predict_by_trees(*train, *tuning, rows_NF)[1]).all()  # the same again


def test_trees_read_the_commonest_codes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    codes_NF = sparse.csr_array(np.array([[1, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1]], float))
    assert baselines.commonest(codes_NF, 2).tolist() == [0, 3]
    assert baselines.commonest(codes_NF, 3).tolist() == [0, 1, 3]  # the first of two as common
    monkeypatch.setattr(baselines, "MOST_FEATURES", 2)
    train_NF, label_N = of_pairs(300, 0)
    rare_NF = train_NF.toarray()
    rare_NF[:, 2:] *= np.arange(300)[:, None] % 9 == 0
    rows_NF = of_pairs(50, 2)[0]
    other_NF = rows_NF.toarray()
    other_NF[:, 2:] = 1 - other_NF[:, 2:]
    found, other = (
        predict_by_trees(sparse.csr_array(rare_NF), label_N, rows_NF[:0], label_N[:0], sparse.csr_array(rows))[1]
        for rows in (rows_NF, other_NF)
    )
    assert (found == other).all() and found.std() > 0.1
