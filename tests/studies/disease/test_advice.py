"""The advisor finds a planted crossing, covers it, and says nothing where seeds or budgets are too few."""

from math import inf

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from ckd_dist.report.bootstrap import Estimate
from ckd_dist.studies.disease.report.advice import Advice, advise, crossing, never_rising, scores_of_best, share_of_gap
from ckd_dist.studies.disease.report.advice_plot import advice_plot

BUDGETS = (100, 300, 1000, 3000)


def drawn(at: float, noise: float, seed: int, seeds: int = 3, draws: int = 150, budgets=BUDGETS):
    """Scores of student and best other whose gain falls by 0.1 a decade and is zero at `at`; noise: of draws and seeds.

    The sample itself is one draw from the truth, as the draws are from it.
    """
    random = np.random.default_rng(seed)
    truth_B = -0.1 * np.log10(np.array(budgets) / at)
    sample_BS = truth_B[:, None] + random.normal(0, noise, (len(budgets), seeds)) + random.normal(0, noise)
    draws_SD = random.normal(0, noise, (1, 1, draws))
    draws_SD[..., 0] = 0
    best_BSD = random.normal(0.8, 0.02, (len(budgets), seeds, draws))  # shared by both: it leaves the difference
    return best_BSD + sample_BS[..., None] + draws_SD, best_BSD


def advice(*args, budgets=BUDGETS, **kwargs) -> Advice:
    return advise(budgets, *drawn(*args, budgets=budgets, **kwargs))


@pytest.mark.parametrize("at", [150, 500, 2500])
def test_without_noise_the_crossing_is_the_planted_one(at):
    found = advice(at, noise=0.0, seed=0)
    assert [found.crossing.value, found.crossing.low, found.crossing.high] == pytest.approx([at] * 3)
    assert found.gain[0].value == pytest.approx(0.1 * np.log10(at / 100)) == pytest.approx(found.curve[0])


def test_the_interval_covers_the_planted_crossing_about_as_often_as_it_says():
    covered = [f.low <= 500 <= f.high for f in (advice(500, 0.02, seed).crossing for seed in range(80))]
    assert np.mean(covered) > 0.85
    widths = [np.log(f.high / f.low) for f in (advice(500, 0.005, seed).crossing for seed in range(20))]
    assert max(widths) < np.log(4)  # it is no interval that holds everything


def test_an_interval_of_few_seeds_is_wider_than_that_of_many():
    def width(seeds):
        found = [advise(BUDGETS, *drawn(500, 0.02, seed, seeds=seeds)).crossing for seed in range(12)]
        return np.mean([np.log(min(f.high, 1e4) / max(f.low, 10)) for f in found])

    assert width(3) > width(30)


@pytest.mark.parametrize(
    ("at", "noise", "said"),
    [
        (500, 0.0, "On these data distilling pays below about 500 labelled patients (95 % interval 500 to 500)."),
        (9000, 0.0, "On these data distilling pays at every label budget tried, up to 3,000 labelled patients."),
        (50, 0.0, "On these data distilling pays at none of the label budgets tried, from 100 labelled patients on."),
    ],
)
def test_sentences(at, noise, said):
    assert advice(at, noise, seed=1).sentence() == said


def test_open_ends_of_an_interval_are_said():
    several = Advice(BUDGETS, 3, [], [], Estimate(inf, 1234.0, inf), []).sentence()
    assert several.endswith("up to 3,000 labelled patients (95 % interval 1,200 to more than 3,000).")
    none = Advice(BUDGETS, 3, [], [], Estimate(0.0, 0.0, 140.0), []).sentence()
    assert none.endswith("from 100 labelled patients on (95 % interval fewer than 100 to 140).")


@pytest.mark.parametrize(("seeds", "budgets"), [(2, BUDGETS), (3, BUDGETS[:2])])
def test_too_few_seeds_or_budgets_give_no_advice(seeds, budgets):
    found = advice(500, 0.0, seed=0, seeds=seeds, budgets=budgets)
    assert not found.is_given
    assert found.sentence().startswith("No advice on labels") and f"have {seeds} and {len(budgets)}" in found.sentence()


@pytest.mark.parametrize("num", [1, 2, 5])
def test_the_curve_is_scikit_learns_isotonic_regression(num):
    values = np.random.default_rng(num).normal(size=(num, 50))
    theirs = [IsotonicRegression(increasing=False).fit_transform(np.arange(num), column) for column in values.T]
    assert never_rising(values) == pytest.approx(np.array(theirs).T)


def test_a_draw_without_a_score_has_no_crossing():
    assert np.isnan(crossing(BUDGETS, np.array([0.1, np.nan, 0, 0])))
    distilled, best = drawn(500, 0.0, seed=0)
    distilled[0, 0, 7] = np.nan
    assert advise(BUDGETS, distilled, best).crossing.value == pytest.approx(500)


def test_the_best_other_is_chosen_once_on_the_sample_as_it_is():
    scores_MSD = np.array([[[0.7, 0.9], [0.7, 0.9]], [[0.8, 0.1], [0.7, 0.1]]])
    assert (scores_of_best(scores_MSD) == scores_MSD[1]).all()


def test_share_of_the_gap():
    distilled_SD, best_SD, oracle_D = np.full((3, 50), 0.75), np.full((3, 50), 0.5), np.full(50, 1.0)
    assert share_of_gap(distilled_SD, best_SD, oracle_D).value == pytest.approx(0.5)
    assert np.isnan(share_of_gap(distilled_SD, best_SD, best_SD[0]).value)


def test_the_plot_shows_budgets_and_crossing_and_is_the_same_twice():
    found = advice(500, 0.01, seed=3)
    drawing = advice_plot(found)
    assert drawing.startswith("<svg") and drawing == advice_plot(found)
    assert all(f">{budget:,}<" in drawing for budget in BUDGETS)
    with pytest.raises(ValueError, match="No advice on labels"):
        advice_plot(advice(500, 0.0, seed=0, seeds=2))
