"""Hold what a recipe's experiments were expected to show against what they showed, seed by seed."""

from collections.abc import Sequence

from ckd_dist.report.compare import Difference
from ckd_dist.report.wording import lower_first, number, signed
from ckd_dist.studies.disease.claims import Claim
from ckd_dist.studies.disease.report.experiments import (
    METRIC_WORDS,
    BudgetTable,
    Checked,
    ExperimentTables,
)
from ckd_dist.studies.disease.variants import VARIANTS


def check_claims(claims: Sequence[Claim], tables: ExperimentTables) -> list[Checked]:
    """Check every claim at the first budget.  Where seeds or patients are too few, none holds or fails."""
    return [_checked(claim, tables.budgets[0], tables.unclaimed) for claim in claims]


def _checked(claim: Claim, table: BudgetTable, unclaimed: str) -> Checked:
    differences = _differences(claim, table)
    holds = not unclaimed and bool(differences) and all(map(claim.met_by, (each.value for each in differences)))
    if claim.second and claim.bound != "within":
        holds = holds and all(_is_clear(claim, each) for each in differences)
    written = [number(each.value) if claim.second is None else signed(each.value) for each in differences]
    return Checked(sentence(claim), written, holds, unclaimed)


def _differences(claim: Claim, table: BudgetTable) -> list[Difference]:
    """Return a value a seed, with its interval where the table has one: where one of the two is the reference."""
    first, second = table.variant(claim.first), table.variant(claim.second or "")
    if first is None or (claim.second and second is None):
        return []
    if second and second.minus and not first.minus:  # only the reference is compared with others by intervals
        return list(second.minus[claim.metric].seeds)
    if second and first.minus and not second.minus:
        return [
            Difference(-each.value, -each.high, -each.low, each.verdict) for each in first.minus[claim.metric].seeds
        ]
    values = first.seeds[claim.metric]
    if second:
        values = [mine - other for mine, other in zip(values, second.seeds[claim.metric], strict=True)]
    return [Difference(value, float("nan"), float("nan"), "unclear") for value in values]


def _is_clear(claim: Claim, difference: Difference) -> bool:
    return difference.low > 0 if claim.bound == "at least" else difference.high < 0


def sentence(claim: Claim) -> str:
    """Write a claim out.

    >>> sentence(Claim("distilled", "hard", "macro_auroc", "at least", 0.1))
    'macro-AUROC of distilled student minus hard labels alone: at least +0.100'
    """
    of = lower_first(VARIANTS[claim.first].title)
    if claim.second is None:
        return f"{METRIC_WORDS[claim.metric]} of {of}: {claim.bound} {number(claim.value)}"
    value = number(claim.value) if claim.bound == "within" else signed(claim.value)
    than = lower_first(VARIANTS[claim.second].title)
    return f"{METRIC_WORDS[claim.metric]} of {of} minus {than}: {claim.bound} {value}"
