"""The fast bootstrap is the slow one; its intervals cover; a subject is never torn apart."""

import numpy as np
import pytest
from sklearn import metrics as reference

from ckd_dist.report import bootstrap, calibrate, metrics
from tests.report.ties import expected_auprc


def cohort(num_subjects: int, num_labels: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, ...]:
    """One to three rows a subject that share a subject effect; probabilities on a grid, so that they tie."""
    random = np.random.default_rng(seed)
    subject_N = np.repeat(np.arange(num_subjects), random.integers(1, 4, num_subjects))
    effect_NK = random.normal(0, 1, (num_subjects, num_labels))[subject_N]
    logit_NK = effect_NK + random.normal(0, 1, effect_NK.shape)
    labels_NK = (random.random(logit_NK.shape) < calibrate.sigmoid(logit_NK - 1)).astype(int)
    probabilities_NK = calibrate.sigmoid(logit_NK - 1 + shift).round(1)
    return subject_N, labels_NK, probabilities_NK


def test_equals_the_naive_loop() -> None:
    """Resample the rows subject by subject, then score place by place or by scikit-learn; one class is left out."""
    subject_N, labels_NK, probabilities_NK = cohort(12, 3, seed=1)
    draws = bootstrap.resample(subject_N + 1000, 40, seed=5)
    fast = metrics.score(labels_NK, probabilities_NK, probabilities_NK > 0.4, draws.subject_N, draws.counts_SD)
    left_out = 0
    for draw in range(41):
        rows = np.concatenate(
            [np.flatnonzero(subject_N == s) for s in range(12) for _ in range(int(draws.counts_SD[s, draw]))]
        )
        y, p = labels_NK[rows], probabilities_NK[rows]
        known = [k for k in range(3) if 0 < y[:, k].sum() < len(y)]
        left_out += 3 - len(known)
        wanted = {
            "macro_auroc": np.mean([reference.roc_auc_score(y[:, k], p[:, k]) for k in known]),
            "macro_auprc": np.mean([expected_auprc(y[:, k], p[:, k]) for k in known]),
            "micro_auroc": reference.roc_auc_score(y.ravel(), p.ravel()),
            "micro_auprc": expected_auprc(y.ravel(), p.ravel()),
            "micro_f1": reference.f1_score(y.ravel(), p.ravel() > 0.4),
            "macro_f1": np.mean([reference.f1_score(y[:, k], p[:, k] > 0.4) for k in known]),
            "log_loss": np.mean([reference.log_loss(y[:, k], p[:, k], labels=(0, 1)) for k in range(3)]),
            "brier": np.mean((y - p) ** 2),
        }
        assert {name: fast.overall[name][draw] for name in wanted} == pytest.approx(wanted), draw
    assert draws.counts_SD[:, 0].tolist() == [1] * 12
    assert (draws.counts_SD.sum(axis=0) == 12).all()


def test_rows_of_a_subject_go_together() -> None:
    """Copying every row four times under its subject says nothing new: the interval stays the same."""
    subject_N, labels_NK, probabilities_NK = cohort(60, 2, seed=2)
    copies = np.repeat(np.arange(len(subject_N)), 4)

    def interval(rows: np.ndarray) -> bootstrap.Estimate:
        draws = bootstrap.resample(subject_N[rows], 200, seed=0)
        found = metrics.score(labels_NK[rows], probabilities_NK[rows], None, draws.subject_N, draws.counts_SD)
        return bootstrap.interval(found.overall["macro_auroc"])

    once, four_times = interval(np.arange(len(subject_N))), interval(copies)
    assert vars(once) == pytest.approx(vars(four_times))


def test_intervals_cover() -> None:
    """Over 120 cohorts of 150 subjects, 95 % intervals hold the truth about 95 times of 100: a mean and two ranks."""
    truth = metrics.score(*cohort(60_000, 2, seed=99)[1:]).observed()
    names = ("macro_auroc", "macro_auprc", "brier")
    covered = dict.fromkeys(names, 0)
    for seed in range(120):
        subject_N, labels_NK, probabilities_NK = cohort(150, 2, seed)
        draws = bootstrap.resample(subject_N, 200, seed)
        found = metrics.score(labels_NK, probabilities_NK, None, draws.subject_N, draws.counts_SD)
        for name in names:
            estimate = bootstrap.interval(found.overall[name])
            covered[name] += estimate.low <= truth[name] <= estimate.high
    for name, times in covered.items():
        assert 0.88 <= times / 120 <= 0.995, (name, times)


def test_a_difference_is_paired() -> None:
    """Two models that err alike: their difference is known far better than either score; and a model equals itself."""
    subject_N, labels_NK, probabilities_NK = cohort(200, 2, seed=3)
    draws = bootstrap.resample(subject_N, 200, seed=0)
    nearly_NK = np.clip(probabilities_NK + np.random.default_rng(0).normal(0, 0.02, probabilities_NK.shape), 0, 1)
    one, other = (
        metrics.score(labels_NK, p_NK, None, draws.subject_N, draws.counts_SD).overall["macro_auroc"]
        for p_NK in (probabilities_NK, nearly_NK)
    )
    difference, alone = bootstrap.difference(one, other), bootstrap.interval(one)
    assert difference.value == pytest.approx(one[0] - other[0])
    assert difference.high - difference.low < 0.5 * (alone.high - alone.low)
    assert bootstrap.difference(one, one) == bootstrap.Estimate(0, 0, 0)


def test_a_centred_interval_holds_its_value() -> None:
    """ECE of a perfect model: every draw is worse than the sample, and the centred interval still holds the value."""
    random = np.random.default_rng(0)
    p_NK = random.random((400, 3))
    labels_NK = (random.random(p_NK.shape) < p_NK).astype(int)
    draws = bootstrap.resample(np.arange(400), 200, seed=0)
    ece_D = metrics.score(labels_NK, p_NK, None, draws.subject_N, draws.counts_SD).overall["ece"]
    centred = bootstrap.interval(ece_D, centred=True)
    assert np.mean(ece_D[1:]) > ece_D[0]
    assert 0 <= centred.low < centred.value < centred.high


def test_too_few_subjects_get_no_interval() -> None:
    draws = bootstrap.resample(np.arange(9), 100, seed=0)
    assert draws.counts_SD.shape == (9, 1)
    draws = bootstrap.resample(np.arange(10), 100, seed=0)
    assert draws.rows(np.arange(10) < 9).counts_SD.shape == (10, 1)
    alone = bootstrap.interval(np.array([0.5]))
    assert alone.value == 0.5
    assert np.isnan([alone.low, alone.high]).all()


def test_share_of_the_way() -> None:
    start_D, end_D = np.array([0.5, 0.5, 0.4]), np.array([0.9, 0.7, 0.4])
    found = bootstrap.share_of_way(np.array([0.7, 0.6, 0.4]), start_D, end_D)
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))  # the third draw has no way to go
