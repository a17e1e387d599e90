"""Metrics equal scikit-learn's and numbers worked by hand; what cannot be scored is NaN and left out of means.

AUPRC is exact under ties: the mean over all orders of the tied rows.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from ckd_dist.report import metrics
from tests.report.ties import expected_auprc

TIED = st.integers(2, 6).flatmap(
    lambda n: st.tuples(*(st.lists(each, min_size=n, max_size=n) for each in (st.booleans(), st.integers(0, 2))))
)


def with_ties(num_rows: int, num_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    probabilities_NK = random.integers(0, 12, (num_rows, num_labels)) / 11
    labels_NK = (random.random((num_rows, num_labels)) < 0.2 + 0.5 * probabilities_NK).astype(int)
    return labels_NK, probabilities_NK


def test_by_hand() -> None:
    labels_NK = np.array([[1, 0], [0, 0], [1, 1], [0, 0]])
    probabilities_NK = np.array([[0.9, 0.2], [0.8, 0.1], [0.7, 0.6], [0.1, 0.1]])
    bits_NK = np.array([[1, 0], [1, 0], [1, 0], [0, 0]])
    found = metrics.score(labels_NK, probabilities_NK, bits_NK)
    assert found.per_label["auroc"][:, 0] == pytest.approx([3 / 4, 1])  # one of four pairs is the wrong way round
    assert found.per_label["auprc"][:, 0] == pytest.approx([(1 + 2 / 3) / 2, 1])
    assert found.per_label["f1"][:, 0] == pytest.approx([4 / 5, 0])
    assert found.observed()["macro_f1"] == pytest.approx(2 / 5)
    assert found.observed()["micro_f1"] == pytest.approx(2 * 2 / (2 * 2 + 2))
    assert found.observed()["cell_accuracy"] == pytest.approx(6 / 8)
    squares = [0.01, 0.04, 0.64, 0.01, 0.09, 0.16, 0.01, 0.01]
    assert found.observed()["brier"] == pytest.approx(sum(squares) / 8)
    of_what_came = [0.9, 0.2, 0.7, 0.9, 0.8, 0.9, 0.6, 0.9]
    assert found.observed()["log_loss"] == pytest.approx(-np.log(of_what_came).mean())


def test_ece_by_hand() -> None:
    """Two distinct probabilities make two bins: (0.2 said, 1 of 4 came) and (0.8 said, 4 of 4 came)."""
    labels_NK = np.array([[1, 0, 0, 0, 1, 1, 1, 1]]).T
    probabilities_NK = np.array([[0.2] * 4 + [0.8] * 4]).T
    assert metrics.score(labels_NK, probabilities_NK).observed()["ece"] == pytest.approx(0.5 * 0.05 + 0.5 * 0.2)


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn_with_ties(seed: int) -> None:
    """AUPRC alone is compared without: scikit-learn puts a tie's positives at its end."""
    labels_NK, probabilities_NK = with_ties(60, 5, seed)
    bits_NK = (probabilities_NK > 0.4).astype(int)
    found = metrics.score(labels_NK, probabilities_NK, bits_NK).observed()
    for average in ("macro", "micro"):
        auroc = reference.roc_auc_score(labels_NK, probabilities_NK, average=average)
        f1 = reference.f1_score(labels_NK, bits_NK, average=average)
        wanted = {f"{average}_auroc": auroc, f"{average}_f1": f1}
        assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    brier = np.mean([reference.brier_score_loss(y, p) for y, p in zip(labels_NK.T, probabilities_NK.T, strict=True)])
    assert found["brier"] == pytest.approx(brier)
    log_loss = np.mean([reference.log_loss(y, p) for y, p in zip(labels_NK.T, probabilities_NK.T, strict=True)])
    assert found["log_loss"] == pytest.approx(log_loss)  # some probabilities are 0 and 1
    untied_NK = np.random.default_rng(seed).permutation(probabilities_NK.size).reshape(probabilities_NK.shape) / 300
    for average in ("macro", "micro"):
        auprc = reference.average_precision_score(labels_NK, untied_NK, average=average)
        assert metrics.score(labels_NK, untied_NK).observed()[f"{average}_auprc"] == pytest.approx(auprc)


def average_precision(label_N: np.ndarray, score_N: np.ndarray) -> float:
    """Return the mean precision at the positives, down a ranking without ties."""
    hit_N = label_N[np.argsort(-score_N)]
    return (np.cumsum(hit_N) / np.arange(1, len(hit_N) + 1))[hit_N].mean()


@settings(max_examples=40, deadline=None)
@given(TIED)
def test_auprc_is_the_mean_over_all_orders_within_ties(rows: tuple[list[bool], list[int]]) -> None:
    """Every permutation of the rows breaks the ties once; scores are whole numbers, so that they stay in order."""
    label_N, score_N = (np.array(part) for part in rows)
    if len(set(rows[0])) < 2:
        return
    orders = itertools.permutations(range(len(label_N)))
    mean = np.mean([average_precision(label_N, score_N + 0.01 * np.array(order)) for order in orders])
    assert metrics.macro_ranking(label_N[:, None], score_N[:, None])[1] == pytest.approx(mean, rel=1e-12)
    assert expected_auprc(label_N, score_N) == pytest.approx(mean, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 200), st.integers(1, 30))
def test_auprc_is_the_mean_over_random_orders_within_ties(seed: int, num_rows: int, grid: int) -> None:
    """Noise below the steps of the scores breaks ties at random; 5 standard errors of the mean of 200 draws."""
    random = np.random.default_rng(seed)
    score_N = random.integers(0, grid, num_rows).astype(float)
    label_N = random.random(num_rows) < 0.3
    label_N[:2] = (True, False)
    drawn = [average_precision(label_N, score_N + random.random(num_rows) / 2) for _ in range(200)]
    found = metrics.macro_ranking(label_N[:, None], score_N[:, None])[1]
    assert abs(found - np.mean(drawn)) <= 5 * np.std(drawn) / np.sqrt(200) + 1e-12


@pytest.mark.parametrize("grid", [5, None])
def test_many_rows_lose_no_digit(grid: int | None) -> None:
    """Differences of harmonic numbers cancel: what is left is the sum place by place, and scikit-learn's."""
    random = np.random.default_rng(0)
    score_N = random.normal(size=100_000)
    label_N = random.random(len(score_N)) < 1 / (1 + np.exp(3 - score_N))
    score_N = score_N if grid is None else (score_N * grid).round()
    wanted = reference.average_precision_score if grid is None else expected_auprc
    found = metrics.macro_ranking(label_N[:, None], score_N[:, None])[1]
    assert found == pytest.approx(wanted(label_N, score_N), rel=1e-11)


@pytest.mark.parametrize("grid", [1, 3, 12, None])
def test_macro_ranking_is_scikit_learns_mean_over_labels_of_two_classes(grid: int | None) -> None:
    """On a coarse grid nearly all scores tie, and AUPRC is the mean over orders; scores are logits."""
    random = np.random.default_rng(0)
    for num_rows in (2, 3, 17, 120):
        labels_NK = random.integers(0, 2, (num_rows, 5))
        labels_NK[:, 0], labels_NK[:2, 1] = 1, (0, 1)
        scores_NK = random.normal(size=labels_NK.shape).astype(np.float32)
        scores_NK = scores_NK if grid is None else (scores_NK * grid).round()
        both = [k for k in range(5) if 0 < labels_NK[:, k].sum() < num_rows]
        found = metrics.macro_ranking(labels_NK, scores_NK)
        auprc_of = reference.average_precision_score if grid is None else expected_auprc
        for value, score_of in zip(found, (reference.roc_auc_score, auprc_of), strict=True):
            wanted = np.mean([score_of(labels_NK[:, k], scores_NK[:, k]) for k in both])
            assert value == pytest.approx(wanted, rel=1e-13)


def test_macro_ranking_knows_nothing_of_one_class() -> None:
    for labels_NK in (np.zeros((0, 2)), np.zeros((4, 2)), np.ones((4, 2))):
        assert np.isnan(metrics.macro_ranking(labels_NK, np.zeros(labels_NK.shape))).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_weight_is_a_repetition(data: st.DataObject) -> None:
    """A subject drawn twice counts as if its rows stood there twice; drawn never, as if they were gone."""
    num_rows = data.draw(st.integers(2, 12))
    subject_N = np.array(data.draw(st.lists(st.integers(0, 3), min_size=num_rows, max_size=num_rows)))
    label_N = np.array(data.draw(st.lists(st.integers(0, 1), min_size=num_rows, max_size=num_rows)))
    score_N = np.array(data.draw(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=num_rows, max_size=num_rows)))
    counts_S = np.array(data.draw(st.lists(st.integers(0, 3), min_size=4, max_size=4)))
    again = np.repeat(np.arange(num_rows), counts_S[subject_N])
    auroc_D, auprc_D = metrics.ranking(label_N, score_N, subject_N, counts_S[:, None].astype(float))
    if len(set(label_N[again])) < 2:
        assert np.isnan(auroc_D[0])
        assert np.isnan(auprc_D[0])
    else:
        assert auroc_D[0] == pytest.approx(reference.roc_auc_score(label_N[again], score_N[again]))
        assert auprc_D[0] == pytest.approx(expected_auprc(label_N[again], score_N[again]))


def test_a_label_with_one_class_is_left_out() -> None:
    labels_NK, probabilities_NK = with_ties(40, 3, 0)
    both = metrics.score(labels_NK[:, :2], probabilities_NK[:, :2], probabilities_NK[:, :2] > 0.5)
    for constant in (0, 1):
        labels_NK[:, 2] = constant
        found = metrics.score(labels_NK, probabilities_NK, probabilities_NK > 0.5)
        assert found.num_scorable == 2
        for metric in ("auroc", "auprc", "f1"):
            assert np.isnan(found.per_label[metric][2, 0])
            assert found.observed()[f"macro_{metric}"] == pytest.approx(both.observed()[f"macro_{metric}"])


def test_nothing_to_rank_is_nan_not_an_error() -> None:
    found = metrics.score(np.zeros((3, 2), int), np.full((3, 2), 0.5), np.zeros((3, 2), int))
    assert found.num_scorable == 0
    assert np.isnan(found.observed()["macro_auroc"])
    assert np.isnan(found.observed()["micro_auroc"])


def test_chunks_of_draws_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    labels_NK, probabilities_NK = with_ties(30, 2, 1)
    counts_SD = np.random.default_rng(0).integers(0, 3, (30, 17)).astype(float)
    whole = metrics.score(labels_NK, probabilities_NK, None, np.arange(30), counts_SD)
    monkeypatch.setattr(metrics, "CHUNK", 1)
    pieces = metrics.score(labels_NK, probabilities_NK, None, np.arange(30), counts_SD)
    for name, value_D in whole.overall.items():
        assert value_D == pytest.approx(pieces.overall[name], nan_ok=True)


def test_refuses_what_is_not_a_probability_or_a_label() -> None:
    labels_NK, half_NK = np.array([[0], [1]]), np.full((2, 1), 0.5)
    for probabilities_NK in (half_NK + 1, half_NK * np.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            metrics.score(labels_NK, probabilities_NK)
    with pytest.raises(ValueError, match="0 or 1"):
        metrics.score(labels_NK - 1, half_NK)
    with pytest.raises(ValueError, match="shape"):
        metrics.score(labels_NK, half_NK[:1])
    with pytest.raises(ValueError, match="nothing to score"):
        metrics.score(labels_NK[:0], half_NK[:0])
