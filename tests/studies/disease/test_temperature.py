"""A temperature mends a planted miscalibration on subjects that it was not fitted on, and turns no ranking round."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from ckd_dist.report.calibrate import cross_entropy, sigmoid
from ckd_dist.report.metrics import score
from ckd_dist.studies.disease.temperature import (
    LEAST_CASES,
    Temperature,
    check_temperature,
    fit,
    soften_across,
)

KINDS = ("scalar", "per_label")
NAMES = ("a", "b", "c", "d")


def planted(num_rows: int, temperature_K: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from true logits, and a teacher's logits that are the true ones times a temperature a label."""
    random = np.random.default_rng(seed)
    true_NK = random.normal(-1, 1.5, (num_rows, len(temperature_K)))
    return true_NK * temperature_K, (random.random(true_NK.shape) < sigmoid(true_NK)).astype(np.int8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_row_16_calibration_error_falls_on_held_out_subjects(kind, factor):
    logits_NK, label_NK = planted(4000, np.full(4, factor))
    fitted = fit(logits_NK[:2000], label_NK[:2000], kind)
    held_out = slice(2000, None)
    softened_NK = fitted.soften(logits_NK[held_out])
    before, after = (score(label_NK[held_out], sigmoid(each)).observed() for each in (logits_NK[held_out], softened_NK))
    assert after["ece"] < before["ece"] / 2 and after["brier"] < before["brier"]
    assert cross_entropy(softened_NK, label_NK[held_out]) < cross_entropy(logits_NK[held_out], label_NK[held_out])
    assert after["macro_auroc"] == pytest.approx(before["macro_auroc"], abs=1e-6)  # float32 may tie two of them
    assert fitted.temperature_K == pytest.approx(np.full(4, factor), rel=0.15)


def test_a_scalar_keeps_the_ranking_over_all_cells():
    logits_NK, label_NK = planted(500, np.array([0.5, 1.0, 2.0, 4.0]))
    softened_NK = fit(logits_NK, label_NK, "scalar").soften(logits_NK)
    order, again = (np.argsort(each.astype(np.float32), axis=None, kind="stable") for each in (logits_NK, softened_NK))
    assert (np.diff(softened_NK.ravel()[order]) >= 0).all() and len(set(again)) == len(order)


def test_each_label_gets_its_own_where_it_needs_its_own():
    wanted_K = np.array([0.5, 1.0, 2.0, 4.0])
    logits_NK, label_NK = planted(6000, wanted_K)
    assert fit(logits_NK, label_NK, "per_label").temperature_K == pytest.approx(wanted_K, rel=0.15)
    assert len(set(fit(logits_NK, label_NK, "scalar").temperature_K)) == 1


def test_it_is_the_least_log_loss():
    """Beside a search over temperatures themselves, not their logarithms."""
    logits_NK, label_NK = planted(300, np.array([2.0, 2.0]))
    best = minimize_scalar(lambda t: cross_entropy(logits_NK / t, label_NK), bounds=(0.1, 10), method="bounded")
    assert fit(logits_NK, label_NK, "scalar").temperature_K[0] == pytest.approx(best.x, rel=1e-3)


@pytest.mark.parametrize("cases", [LEAST_CASES - 1, LEAST_CASES])
@pytest.mark.parametrize("rare", [0, 1])
def test_a_label_with_too_few_of_a_kind_keeps_the_scalar(cases, rare):
    logits_NK, label_NK = planted(400, np.array([3.0, 3.0, 0.5]))
    label_NK[:, 2] = 1 - rare
    label_NK[:cases, 2] = rare
    own, common = (fit(logits_NK, label_NK, kind).temperature_K for kind in ("per_label", "scalar"))
    assert (own[2] == common[2]) == (cases < LEAST_CASES)
    assert own[0] != common[0]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_fit_on_changes_nothing(kind):
    logits_NK, label_NK = planted(20, np.ones(2))
    for rows in (slice(0), slice(20)):
        fitted = fit(logits_NK[rows], np.zeros_like(label_NK[rows]), kind)
        assert fitted.temperature_K.tolist() == [1.0, 1.0]


def test_none_teaches_the_raw_logits_to_the_bit():
    logits_NK, label_NK = planted(50, np.full(3, 5.0))
    logits_NK = logits_NK.astype(np.float32)
    assert np.array_equal(fit(logits_NK, label_NK, "none").soften(logits_NK), logits_NK)


def test_no_subject_is_judged_at_a_temperature_that_it_helped_to_fit():
    """Other labels of one subject move the logits of other subjects only."""
    logits_NK, label_NK = planted(60, np.full(2, 3.0))
    subject_N = np.repeat(np.arange(20), 3)[np.random.default_rng(1).permutation(60)]
    before = soften_across(logits_NK, label_NK, subject_N, "scalar")
    mine_N = subject_N == 7
    label_NK[mine_N] = 1 - label_NK[mine_N]
    after = soften_across(logits_NK, label_NK, subject_N, "scalar")
    moved_N = (before != after).any(axis=1)
    assert moved_N.any() and not moved_N[mine_N].any()
    assert not any(set(subject_N[moved_N]) & set(subject_N[~moved_N])), "a subject lies in one half"


def test_a_file_gives_back_what_was_kept_and_is_for_these_labels_alone(tmp_path):
    logits_NK, label_NK = planted(300, np.array([0.5, 1.0, 2.0, 4.0]))
    fitted, path = fit(logits_NK, label_NK, "per_label"), tmp_path / "temperature.json"
    fitted.save(path, NAMES)
    assert Temperature.load(path, NAMES).temperature_K.tolist() == fitted.temperature_K.tolist()
    with pytest.raises(ValueError, match="other labels"):
        Temperature.load(path, NAMES[::-1])
    path.write_text("{}")
    with pytest.raises(ValueError, match="no temperatures"):
        Temperature.load(path, NAMES)
    path.unlink()
    with pytest.raises(ValueError, match="no temperatures"):
        Temperature.load(path, NAMES)
    path.symlink_to("/proc/self/mem")  # which the system cannot read at its beginning
    with pytest.raises(OSError, match="Input/output error"):
        Temperature.load(path, NAMES)
    with pytest.raises(ValueError, match="4 temperatures"):
        fitted.soften(logits_NK[:, :2])


def test_a_diverged_teacher_and_imported_labels_are_refused():
    logits_NK, label_NK = planted(20, np.ones(2))
    logits_NK[0, 0] = np.nan
    with pytest.raises(ValueError, match="diverged"):
        fit(logits_NK, label_NK, "scalar")
    with pytest.raises(ValueError, match=r"label\.temperature=scalar"):
        check_temperature("scalar", "soft.json")
    check_temperature("none", "soft.json")
    check_temperature("scalar", None)
