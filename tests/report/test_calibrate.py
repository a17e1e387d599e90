"""Calibration equals scikit-learn's where it has the same thing, lowers ECE on unseen subjects, and ranks as before."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from ckd_dist.report import calibrate, metrics

NAMES = ("common", "rare", "constant")


def overconfident(num_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits three times too large and one too high: a common label, a rare one, and one that never occurs."""
    random = np.random.default_rng(seed)
    logit_NK = random.normal(0, 1, (num_rows, 3)) + np.array([0, -4, -30])
    labels_NK = (random.random(logit_NK.shape) < calibrate.sigmoid(logit_NK)).astype(int)
    return 3 * np.maximum(logit_NK, -8) + 1, labels_NK


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose logit is its input."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Given":
        self.classes_ = np.array([0, 1])
        return self

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return (x[:, 0] > 0).astype(int)


def test_common_temperature_equals_scikit_learn() -> None:
    pytest.importorskip("sklearn", minversion="1.8")  # the first with method="temperature"
    logits_NK, labels_NK = overconfident(2000, seed=0)
    z_N1, y_N = logits_NK[:, :1], labels_NK[:, 0]
    temperature = calibrate.fit_temperature(z_N1, y_N[:, None])
    reference = CalibratedClassifierCV(FrozenEstimator(Given().fit(z_N1, y_N)), method="temperature").fit(z_N1, y_N)
    assert calibrate.sigmoid(z_N1[:, 0] / temperature) == pytest.approx(reference.predict_proba(z_N1)[:, 1], abs=1e-3)


def test_a_label_without_pull_is_platt_scaling() -> None:
    logits_NK, labels_NK = overconfident(1000, seed=1)
    z_N, y_N = logits_NK[:, 0], labels_NK[:, 0]
    temperature, bias = calibrate.fit_label(z_N, y_N, common=2.0, pull=0)
    reference = LogisticRegression(C=np.inf, tol=1e-8).fit(z_N[:, None], y_N)
    assert (1 / temperature, bias) == pytest.approx(
        (reference.coef_[0, 0], reference.intercept_[0]), rel=1e-3, abs=1e-3
    )


def test_recovers_what_was_done_to_the_logits() -> None:
    logits_NK, labels_NK = overconfident(20_000, seed=2)
    found = calibrate.fit_calibration(logits_NK, labels_NK, NAMES)
    assert found.temperature_K[0] == pytest.approx(3, rel=0.1)
    assert found.bias_K[0] == pytest.approx(-1 / 3, abs=0.1)


def test_lowers_ece_and_brier_on_unseen_subjects() -> None:
    found = calibrate.fit_calibration(*overconfident(2000, seed=3), NAMES)
    logits_NK, labels_NK = overconfident(2000, seed=4)
    before = metrics.score(labels_NK, calibrate.sigmoid(logits_NK)).observed()
    after = metrics.score(labels_NK, found.probabilities(logits_NK)).observed()
    assert after["brier"] < before["brier"]
    for name in ("ece", "macro_ece"):
        assert after[name] < 0.5 * before[name], name
    for name in ("macro_auroc", "macro_auprc"):
        assert after[name] == pytest.approx(before[name])


def test_one_temperature_changes_no_ranking() -> None:
    """Not even over all labels pooled.  So few subjects that no label has numbers of its own."""
    logits_NK, labels_NK = overconfident(2 * calibrate.MIN_CASES - 1, seed=5)
    found = calibrate.fit_calibration(logits_NK, labels_NK, NAMES)
    assert len(set(found.temperature_K)) == 1
    before = metrics.score(labels_NK, calibrate.sigmoid(logits_NK)).observed()
    after = metrics.score(labels_NK, found.probabilities(logits_NK)).observed()
    for name in ("macro_auroc", "macro_auprc", "micro_auroc", "micro_auprc"):
        assert after[name] == pytest.approx(before[name])


def test_a_rare_label_keeps_the_common_temperature() -> None:
    logits_NK, labels_NK = overconfident(400, seed=6)
    assert 0 < labels_NK[:, 1].sum() < 30
    found = calibrate.fit_calibration(logits_NK, labels_NK, NAMES)
    common = calibrate.fit_temperature(logits_NK, labels_NK)
    assert found.temperature_K[1:].tolist() == [common, common]
    assert found.bias_K[1:].tolist() == [0, 0]
    assert found.temperature_K[0] != common
    assert found.threshold_K[2] == 0.5


def test_never_turns_a_ranking_round() -> None:
    """A label whose logits point the wrong way, and one that they separate fully, keep finite positive temperatures."""
    z_N = np.linspace(-2, 2, 200)
    for y_N in ((z_N < 0).astype(int), (z_N > 0).astype(int)):
        found = calibrate.fit_calibration(z_N[:, None], y_N[:, None], ["only"])
        assert 0 < found.temperature_K[0] <= calibrate.MOST_TEMPERATURE * 1.0001
        assert np.isfinite(found.bias_K[0])
        assert (np.diff(found.probabilities(z_N[:, None])[:, 0]) >= 0).all()


def test_without_tuning_rows_nothing_is_changed() -> None:
    found = calibrate.fit_calibration(np.zeros((0, 3)), np.zeros((0, 3), int), NAMES)
    assert found.probabilities(np.ones((1, 3))) == pytest.approx(calibrate.sigmoid(np.ones((1, 3))))
    assert found.threshold_K.tolist() == [0.5] * 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), st.booleans()), min_size=1, max_size=12))
def test_no_threshold_has_a_better_f1(rows: list[tuple[float, bool]]) -> None:
    p_N, y_N = np.array([p for p, _ in rows]), np.array([int(y) for _, y in rows])
    if y_N.any():
        best = f1_score(y_N, p_N >= calibrate.best_threshold(p_N, y_N))
        assert best == pytest.approx(max(f1_score(y_N, p_N >= threshold) for threshold in (0, 0.1, 0.3, 0.6, 0.9)))


def test_save_and_load(tmp_path: Path) -> None:
    logits_NK, labels_NK = overconfident(300, seed=7)
    found = calibrate.fit_calibration(logits_NK, labels_NK, NAMES)
    found.save(tmp_path / "calibration.json")
    again = calibrate.Calibration.load(tmp_path / "calibration.json", NAMES)
    assert again.names == NAMES
    assert (again.probabilities(logits_NK) == found.probabilities(logits_NK)).all()
    assert (again.bits(again.probabilities(logits_NK)) == found.bits(found.probabilities(logits_NK))).all()
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]
    with pytest.raises(ValueError, match="other labels"):
        calibrate.Calibration.load(tmp_path / "calibration.json", NAMES[::-1])


@pytest.mark.parametrize("content", ["", "{}", '{"labels": [{"name": "x"}]}', "[1]", '{"labels": 3}'])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(ValueError, match="not a calibration file"):
        calibrate.Calibration.load(tmp_path / "calibration.json")


def test_refuses_logits_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="not finite"):
        calibrate.fit_calibration(np.array([[np.inf]]), np.array([[1]]), ["only"])
    with pytest.raises(ValueError, match="do not fit together"):
        calibrate.fit_calibration(np.zeros((2, 1)), np.zeros((3, 1)), ["only"])
