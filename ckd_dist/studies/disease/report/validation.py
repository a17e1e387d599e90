"""What came out of validating a teacher before it labels: two small tables of the report, and a sentence.

The rule: the teacher has something to teach where the 95 % interval of its log-loss minus that of the expectation lies
below zero, nothing where it lies above, and it cannot be told in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ckd_dist.report.bootstrap import Estimate
from ckd_dist.report.compare import Difference
from ckd_dist.report.page import plain
from ckd_dist.report.wording import count, difference, number


@dataclass(frozen=True)
class Validation:
    """How a teacher does on labelled tuning pairs, beside what its student could expect without it."""

    pairs: int
    patients: int
    scores: Mapping[str, Mapping[str, Estimate]]  # raw, taught, expected -> metric -> value; empty without a pair
    log_loss: Difference | None  # taught minus expected; none without a pair
    temperature: str  # kind: none, scalar, per_label

    @property
    def passes(self) -> bool:
        """Say whether the teacher clearly has something to teach."""
        return self.log_loss is not None and self.log_loss.verdict == "better"

    def numbers(self) -> dict[str, Any]:
        """Return what a record keeps: types that JSON has."""
        return plain(self)


def validation_of(numbers: Mapping[str, Any]) -> Validation:
    """Return what `Validation.numbers` were made from."""
    scores = {
        name: {metric: Estimate(**_with_nan(value)) for metric, value in row.items()}
        for name, row in numbers["scores"].items()
    }
    compared = Difference(**_with_nan(numbers["log_loss"])) if numbers["log_loss"] else None
    return Validation(numbers["pairs"], numbers["patients"], scores, compared, numbers["temperature"])


def sentence(found: Validation) -> str:
    """Say in one sentence whether the teacher has something to teach, with the numbers.

    >>> sentence(Validation(0, 0, {}, None, "none"))
    'whether the teacher has something to teach cannot be told: its student sees no label of a tuning pair'
    """
    if found.log_loss is None:
        return "whether the teacher has something to teach cannot be told: its student sees no label of a tuning pair"
    rows = f"{count(found.pairs)} labelled tuning pairs of {count(found.patients)} patients"
    begin = {
        "better": f"the teacher has something to teach: on {rows}",
        "worse": f"the teacher has nothing to teach: on {rows}",
        "unclear": f"whether the teacher has something to teach cannot be told from {rows}:",
    }[found.log_loss.verdict]
    taught, expected = found.scores["taught"], found.scores["expected"]
    return (
        f"{begin} its log-loss is {number(taught['log_loss'].value)}, that of a logistic regression of its student's "
        f"labels {number(expected['log_loss'].value)} (difference {difference(found.log_loss)}; macro-AUROC "
        f"{number(taught['macro_auroc'].value)} and {number(expected['macro_auroc'].value)})"
    )


def _with_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they were before JSON, which has no NaN."""
    return {name: float("nan") if value is None else value for name, value in values.items()}
