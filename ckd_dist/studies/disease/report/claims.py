"""Hold what a recipe's experiments were expected to show against what they showed, seed by seed."""

from collections.abc import Sequence

from ckd_dist.report.compare import Difference
from ckd_dist.report.metrics import METRIC_TITLES
from ckd_dist.report.wording import lower_first, number, signed
from ckd_dist.studies.disease.claims import Claim
from ckd_dist.studies.disease.report.experiments import Checked, Scores, compared
from ckd_dist.studies.disease.variants import VARIANTS


def check_claims(claims: Sequence[Claim], scores: Scores, budget: int | None, unclaimed: str) -> list[Checked]:
    """Check every claim at a budget.  unclaimed: why none holds or fails, where seeds or patients are too few."""
    return [_checked(claim, scores, budget, unclaimed) for claim in claims]


def _checked(claim: Claim, scores: Scores, budget: int | None, unclaimed: str) -> Checked:
    differences = _differences(claim, scores, budget)
    holds = not unclaimed and bool(differences) and all(map(claim.met_by, (each.value for each in differences)))
    if claim.second and claim.bound != "within":
        holds = holds and all(_is_clear(claim, each) for each in differences)
    written = [number(each.value) if claim.second is None else signed(each.value) for each in differences]
    return Checked(sentence(claim), written, holds, unclaimed)


def _differences(claim: Claim, scores: Scores, budget: int | None) -> Sequence[Difference]:
    """Return a value a seed, of a difference with its paired interval; nothing where a variant was not done."""
    first = scores.found(claim.first, budget)
    if claim.second is None:
        values = [float(each[claim.metric][0]) for each in first]
        return [Difference(value, float("nan"), float("nan"), "unclear") for value in values]
    second = scores.found(claim.second, budget)
    return compared(claim.metric, first, second, may_claim=True).seeds if first and second else []


def _is_clear(claim: Claim, difference: Difference) -> bool:
    return difference.low > 0 if claim.bound == "at least" else difference.high < 0


def sentence(claim: Claim) -> str:
    """Write a claim out.

    >>> sentence(Claim("distilled", "hard", "macro_auroc", "at least", 0.1))
    'macro-AUROC of distilled student minus hard labels alone: at least +0.100'
    """
    of = f"{lower_first(METRIC_TITLES[claim.metric])} of {lower_first(VARIANTS[claim.first].title)}"
    if claim.second is None:
        return f"{of}: {claim.bound} {number(claim.value)}"
    value = number(claim.value) if claim.bound == "within" else signed(claim.value)
    than = lower_first(VARIANTS[claim.second].title)
    return f"{of} minus {than}: {claim.bound} {value}"
