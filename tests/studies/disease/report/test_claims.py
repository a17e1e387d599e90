"""A claim holds where every seed keeps its bound: one that does not, or an interval that meets zero, and it fails."""

import numpy as np
import pytest

from ckd_dist.studies.disease.claims import Claim
from ckd_dist.studies.disease.experiments import NO_LABELS, Experiment
from ckd_dist.studies.disease.report.claims import check_claims
from ckd_dist.studies.disease.report.experiments import Scores

GAIN = Claim("distilled", "hard", "macro_auroc", "at least", 0.1)
LOSS = Claim("distilled", "hard", "log_loss", "at most", -0.08)
SAME = Claim("own", "hard", "macro_auroc", "within", 0.01)
TEACHER = Claim("teacher", None, "macro_auroc", "at least", 0.83)


def drawn(value, low=None, high=None):
    """Return a value and 200 draws whose 95 % interval is about (low, high)."""
    low, high = value if low is None else low, value if high is None else high
    return np.array([value, *np.linspace(low, high, 200)])


def scores(gains, losses=((-0.1, -0.2, -0.05),) * 3, own=(0.605, 0.60, 0.60), teacher=(0.84,)):
    """Return scores of three seeds.  gains, losses: (value, low, high) a seed of distilled minus hard."""
    found = {}
    for seed, (gain, loss) in enumerate(zip(gains, losses, strict=True)):
        hard = {"macro_auroc": drawn(0.6), "log_loss": drawn(0.5)}
        found[Experiment("hard", 80, seed)] = hard
        distilled = {"macro_auroc": hard["macro_auroc"] + drawn(*gain), "log_loss": hard["log_loss"] + drawn(*loss)}
        found[Experiment("distilled", NO_LABELS, seed)] = distilled
        found[Experiment("own", 80, seed)] = {"macro_auroc": drawn(own[seed])}
    for seed, auroc in enumerate(teacher):
        found[Experiment("teacher", NO_LABELS, seed)] = {"macro_auroc": drawn(auroc)}
    return Scores(found)


def check(claim, found, unclaimed=""):
    """Return what came out of one claim."""
    (checked,) = check_claims([claim], found, 80, unclaimed)
    return checked


CLEAR = ((0.2, 0.15, 0.25), (0.12, 0.05, 0.2), (0.11, 0.01, 0.2))


@pytest.mark.parametrize(
    ("claim", "found", "holds"),
    [
        (GAIN, scores(CLEAR), True),
        (GAIN, scores((*CLEAR[:2], (0.09, 0.05, 0.2))), False),  # one seed below the bound
        (GAIN, scores((*CLEAR[:2], (0.3, -0.1, 0.6))), False),  # one interval that meets zero
        (LOSS, scores(CLEAR), True),
        (LOSS, scores(CLEAR, losses=((-0.1, -0.2, 0.1),) * 3), False),
        (LOSS, scores(CLEAR, losses=((-0.07, -0.2, -0.01),) * 3), False),
        (SAME, scores(CLEAR), True),
        (SAME, scores(CLEAR, own=(0.6, 0.6, 0.585)), False),
        (TEACHER, scores(CLEAR), True),
        (TEACHER, scores(CLEAR, teacher=(0.84, 0.84, 0.82)), False),
    ],
    ids=range(10),
)
def test_a_claim_holds_where_every_seed_keeps_it(claim, found, holds):
    checked = check(claim, found)
    assert checked.holds is holds and checked.verdict == ("reached" if holds else "NOT reached")


def test_where_nothing_may_be_claimed_none_is_reached_or_missed():
    checked = check(GAIN, scores(CLEAR), unclaimed="2 of 3 seeds")
    assert not checked.holds and checked.verdict == "no claim: 2 of 3 seeds"


def test_a_claim_between_any_two_variants_has_its_paired_interval():
    """The reference is neither of them."""
    better = scores(CLEAR, own=(0.7, 0.65, 0.72))
    assert check(Claim("own", "hard", "macro_auroc", "at least", 0.02), better).holds
    assert not check(Claim("own", "teacher", "macro_auroc", "at least", -1.0), better).holds  # clearly below it


@pytest.mark.parametrize("gains", [CLEAR, ((0.2, -0.1, 0.5), *CLEAR[1:])], ids=["clear", "meets zero"])
def test_a_claim_and_its_mirror_image_have_one_verdict(gains):
    mirrored = Claim("hard", "distilled", "macro_auroc", "at most", -0.1)
    first, second = check_claims([GAIN, mirrored], scores(gains), 80, "")
    assert first.holds is second.holds is (gains is CLEAR)
    assert [value.strip("+−") for value in first.values] == [value.strip("+−") for value in second.values]


def test_what_was_not_tried_is_not_reached():
    checked = check(Claim("trees", "hard", "macro_auroc", "at least", 0.0), scores(CLEAR))
    assert not checked.holds and checked.verdict == "not tried"
