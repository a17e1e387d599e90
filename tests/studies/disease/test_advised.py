"""The advice on labels comes out of experiments at several budgets: from results to sentence, table and drawing."""

from math import inf

import numpy as np
import pytest

from ckd_dist.report.bootstrap import resample
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import NO_LABELS, Experiment
from ckd_dist.studies.disease.report.advice_plot import advice_plot
from ckd_dist.studies.disease.report.experiments import ExperimentTables, compare_variants, score_all
from ckd_dist.studies.disease.report.terminal import as_text

BUDGETS = (100, 300, 1000, 3000)
HARD = {100: 5.0, 300: 3.0, 1000: 0.8, 3000: 0.3}  # noise of the hard-label student's logits by labels


def tables(
    best: str = "hard", num_seeds: int = 3, enough: bool = True, variants=("distilled", "hard", "logistic", "oracle")
):
    """600 visits of 300 patients: a student without labels of this hospital, and two that get better with labels."""
    random = np.random.default_rng(0)
    logit_NK = random.normal(-1, 1.5, (600, 4))
    label_NK = (random.random(logit_NK.shape) < 1 / (1 + np.exp(-logit_NK))).astype(int)
    results = []

    def add(name: str, budget: int, seed: int, noise: float) -> None:
        if name in variants:
            seen_NK = logit_NK + np.random.default_rng([1 + len(results), seed]).normal(0, noise, logit_NK.shape)
            experiment = Experiment(name, budget, seed)
            probabilities_NK = 1 / (1 + np.exp(-seen_NK))
            results.append(Result(experiment, "d", np.arange(600), probabilities_NK, 0.0, 1.0, 1))

    for seed in range(num_seeds):
        add("distilled", NO_LABELS, seed, 1.5)
        add("oracle", NO_LABELS, seed, 0.0)
        for budget in BUDGETS:
            add(best, budget, seed, HARD[budget])
            add("logistic" if best == "hard" else "hard", budget, seed, 9.0)
    scores = score_all(results, label_NK, resample(np.arange(600) // 2, 200, 0))
    return compare_variants(scores, BUDGETS, 0.004, enough=enough)


def said(found: ExperimentTables) -> str:
    """What the terminal shows, on one line."""
    return " ".join(as_text(found).split())


@pytest.mark.parametrize("best", ["hard", "logistic"])
def test_the_crossing_lies_where_the_best_of_these_labels_passes_the_student(best):
    found: ExperimentTables = tables(best)
    crossing = found.advice.crossing
    assert 300 < crossing.low <= crossing.value <= crossing.high < 1000
    gains = [
        table.variant("distilled").means["macro_auroc"] - table.variant(best).means["macro_auroc"]
        for table in found.budgets
    ]
    assert [gain.value for gain in found.advice.gain] == pytest.approx(gains)
    assert "distilling pays below about" in said(found)
    assert "<svg" in advice_plot(found.advice)


def test_the_share_of_the_gap_to_the_oracle_is_given_a_budget():
    found = tables()
    shares = [share.value for share in found.advice.share_of_gap]
    assert len(shares) == len(BUDGETS) and 0.5 < shares[0] < 1 and shares[-1] < 0
    assert "at 3,000" in said(found) and "to the oracle" in said(found)
    assert "to the oracle" not in said(tables(variants=("distilled", "hard")))
    assert max(len(line) for line in as_text(found).splitlines()) < 100


@pytest.mark.parametrize("variants", [("hard", "logistic"), ("distilled",)])
def test_without_a_student_or_without_models_of_the_same_labels_there_is_no_advice(variants):
    assert tables(variants=variants).advice is None


def test_two_seeds_give_a_sentence_and_no_number_and_too_few_patients_nothing():
    few = tables(num_seeds=2)
    assert "No advice on labels" in said(few) and not few.advice.is_given
    assert tables(enough=False).advice is None
    assert tables().advice.crossing.high < inf


def test_a_result_whose_probabilities_stand_by_column_is_written(tmp_path):
    """As the law's are where labels have another order than its own."""
    by_column_NK = np.arange(12.0).reshape(3, 4).T / 12
    result = Result(Experiment("oracle", NO_LABELS, 0), "d", np.arange(4), by_column_NK, 0.0, 1.0, 1)
    assert not by_column_NK.flags.c_contiguous
    assert Result.read(result.write(tmp_path)).probabilities_NK == pytest.approx(by_column_NK)
