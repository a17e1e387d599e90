"""A teacher is judged before it labels: a good one, a useless one, one that too few rows tell of."""

import json

import numpy as np
import polars as pl
import pytest

from ckd_dist.report.calibrate import cross_entropy
from ckd_dist.studies.disease.report.baselines import logistic_regression
from ckd_dist.studies.disease.report.validation import sentence, validation_of
from ckd_dist.studies.disease.samples import bits_of, with_labels
from ckd_dist.studies.disease.validate import expectation, validate
from ckd_dist.studies.disease.validate_stage import check_gate, check_judgeable
from tests.studies.disease.report.conftest import make_samples

FEW = make_samples(60, seed=1)  # what the student's hospital has: labels of 30 patients
TUNING = make_samples(400, seed=2)


def true_logits(samples: pl.DataFrame) -> np.ndarray:
    """The law of `make_samples`: a drug that is given makes its label rare."""
    given = [[f"drug {k}" in drugs for k in range(4)] for drugs in samples["medications"].to_list()]
    return np.where(given, np.log(0.1 / 0.9), np.log(0.6 / 0.4)).astype(np.float32)


@pytest.fixture(scope="module")
def of_many_labels() -> np.ndarray:
    """What a student with the labels of 300 patients could expect."""
    return expectation(make_samples(600, seed=1), TUNING)


def judged(logits_NK: np.ndarray, rows: pl.DataFrame, kind: str = "none"):
    return validate(logits_NK, expectation(FEW, rows), rows, kind)


def test_a_teacher_that_knows_the_law_has_something_to_teach():
    rows = with_labels(TUNING)
    found = judged(true_logits(rows), rows)
    assert found.passes and found.log_loss.high < 0
    assert found.pairs == len(rows) and found.patients == rows["subject_id"].n_unique()
    said = sentence(found)
    assert said.startswith(f"the teacher has something to teach: on {len(rows)} labelled tuning pairs of ")
    check_gate(found, "refuse")
    own = cross_entropy(true_logits(rows), bits_of(rows, "labels"))
    assert found.scores["raw"]["log_loss"].value == pytest.approx(own, rel=1e-6), "the mean over labels of equal size"


@pytest.mark.parametrize("kind", ["none", "scalar", "per_label"])
def test_a_teacher_of_permuted_labels_has_nothing_to_teach(kind, of_many_labels):
    """Not at any temperature."""
    rows = with_labels(TUNING)
    logits_NK = true_logits(rows)[np.random.default_rng(0).permutation(len(rows))]
    found = validate(logits_NK, of_many_labels, rows, kind)
    assert found.log_loss.low > 0 and sentence(found).startswith("the teacher has nothing to teach: on ")
    check_gate(found, "say")
    with pytest.raises(ValueError, match=r"nothing to teach.*label\.gate=refuse stops before a label is made"):
        check_gate(found, "refuse")


@pytest.mark.parametrize("num_rows", [4, 16])
def test_too_few_patients_tell_nothing(num_rows):
    """The very teacher that knows the law, on 2 and on 9 patients."""
    rows = with_labels(make_samples(400, seed=2)).head(num_rows)
    found = judged(true_logits(rows), rows)
    assert np.isnan(found.log_loss.low) and not found.passes
    said = sentence(found)
    assert "cannot be told from " in said and ("<5 labelled tuning pairs of <5 patients" in said) == (num_rows < 5)
    with pytest.raises(ValueError, match="cannot be told from"):
        check_gate(found, "refuse")


def test_without_a_labelled_row_nothing_is_judged_and_refuse_refuses():
    found = judged(np.zeros((0, 4)), TUNING.head(0))
    assert found.log_loss is None and not found.scores and "sees no label of a tuning pair" in sentence(found)
    assert validation_of(json.loads(json.dumps(found.numbers()))) == found
    check_judgeable(1)
    with pytest.raises(ValueError, match=r"sees no label of a tuning pair; label\.gate=refuse"):
        check_judgeable(0)


@pytest.mark.parametrize("num_rows", [18, 100])
def test_numbers_come_back_from_a_record(num_rows):
    """Intervals that are missing included."""
    rows = with_labels(TUNING).head(num_rows)
    found = judged(true_logits(rows), rows, "scalar")
    text = json.dumps(found.numbers(), allow_nan=False)
    again = validation_of(json.loads(text))
    assert json.dumps(again.numbers()) == text and sentence(again) == sentence(found)


def test_an_overconfident_teacher_is_judged_as_it_is_taught():
    """At six times its logits it loses to the regression; at a temperature it is the good teacher that it is."""
    rows = with_labels(TUNING)
    raw, mended = (judged(6 * true_logits(rows), rows, kind) for kind in ("none", "scalar"))
    assert raw.log_loss.verdict == "worse" and mended.passes
    assert mended.scores["taught"]["ece"].value < mended.scores["raw"]["ece"].value
    assert raw.scores["taught"] == raw.scores["raw"] == mended.scores["raw"]


def test_a_disease_that_the_student_has_not_met_is_no_impossibility():
    rows = with_labels(TUNING)
    train = FEW.with_columns(
        labels=pl.when(pl.col("labels").is_not_null()).then(pl.lit([0, 1, 0, 1], pl.List(pl.Int8)))
    )
    train = train.cast({"labels": FEW.schema["labels"]})
    half_a_pair = 0.5 / (with_labels(train).height + 1)
    assert np.unique(expectation(train, rows)).tolist() == pytest.approx([half_a_pair, 1 - half_a_pair])


def test_the_expectation_is_the_regression_of_the_report():
    rows = with_labels(TUNING)
    np.testing.assert_array_equal(expectation(FEW, TUNING), logistic_regression(FEW, TUNING, rows).probabilities_NK)
