"""A claim holds where every seed keeps its bound: one that does not, or an interval that meets zero, and it fails."""

import dataclasses

import pytest

from ckd_dist.report.compare import Difference
from ckd_dist.studies.disease.claims import Claim
from ckd_dist.studies.disease.report.claims import check_claims
from ckd_dist.studies.disease.report.experiments import BudgetTable, Compared, ExperimentTables, VariantScores

GAIN = Claim("distilled", "hard", "macro_auroc", "at least", 0.1)
LOSS = Claim("distilled", "hard", "log_loss", "at most", -0.08)
SAME = Claim("own", "hard", "macro_auroc", "within", 0.01)
TEACHER = Claim("teacher", None, "macro_auroc", "at least", 0.83)


def line(name, aurocs, gains=(), losses=()):
    """Return a variant's line: its macro-AUROC a seed, and (value, low, high) a seed of the reference minus it."""
    minus = {
        metric: Compared([Difference(*each, "unclear") for each in seeds], 0.0, "unclear")
        for metric, seeds in (("macro_auroc", gains), ("log_loss", losses))
        if seeds
    }
    return VariantScores(name, name, "student", {"macro_auroc": aurocs, "log_loss": aurocs}, {}, minus, "")


def tables(gains, losses=((-0.1, -0.2, -0.05),) * 3, own=(0.605, 0.60, 0.60), teacher=(0.84,) * 3):
    lines = [
        line("distilled", (0.8, 0.8, 0.8)),
        line("hard", (0.6, 0.6, 0.6), gains, losses),
        line("own", own, gains),
        line("teacher", teacher, gains),
    ]
    return ExperimentTables("distilled", len(own), True, [BudgetTable(80, lines)], None, 0.0, 1.0)


CLEAR = ((0.2, 0.15, 0.25), (0.12, 0.05, 0.2), (0.1, 0.01, 0.2))


@pytest.mark.parametrize(
    ("claim", "found", "holds"),
    [
        (GAIN, tables(CLEAR), True),
        (GAIN, tables((*CLEAR[:2], (0.09, 0.05, 0.2))), False),  # one seed below the bound
        (GAIN, tables((*CLEAR[:2], (0.3, -0.01, 0.6))), False),  # one interval that meets zero
        (LOSS, tables(CLEAR), True),
        (LOSS, tables(CLEAR, losses=((-0.1, -0.2, 0.01),) * 3), False),
        (LOSS, tables(CLEAR, losses=((-0.07, -0.2, -0.01),) * 3), False),
        (SAME, tables(CLEAR), True),
        (SAME, tables(CLEAR, own=(0.6, 0.6, 0.585)), False),
        (TEACHER, tables(CLEAR), True),
        (TEACHER, tables(CLEAR, teacher=(0.84, 0.84, 0.82)), False),
    ],
    ids=range(10),
)
def test_a_claim_holds_where_every_seed_keeps_it(claim, found, holds):
    (checked,) = check_claims([claim], found)
    assert checked.holds is holds and checked.verdict == ("reached" if holds else "NOT reached")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (dataclasses.replace(tables(CLEAR, own=(0.6, 0.6)), claims=False), "2 of 3 seeds"),
        (dataclasses.replace(tables(CLEAR), claims=False), "too few patients"),
    ],
)
def test_where_nothing_may_be_claimed_none_is_reached_or_missed(found, why):
    (checked,) = check_claims([GAIN], found)
    assert not checked.holds and checked.verdict == f"no claim: {why}"


@pytest.mark.parametrize("gains", [CLEAR, ((0.2, -0.1, 0.5), *CLEAR[1:])], ids=["clear", "meets zero"])
def test_a_claim_and_its_mirror_image_have_one_verdict(gains):
    mirrored = Claim("hard", "distilled", "macro_auroc", "at most", -0.1)
    first, second = check_claims([GAIN, mirrored], tables(gains))
    assert first.holds is second.holds is (gains is CLEAR)
    assert [value.strip("+−") for value in first.values] == [value.strip("+−") for value in second.values]


def test_what_was_not_tried_is_not_reached():
    (checked,) = check_claims([Claim("trees", "hard", "macro_auroc", "at least", 0.0)], tables(CLEAR))
    assert not checked.holds and checked.verdict == "not tried"
