"""What experiments are expected to show: a recipe says so in advance, and what came out is held against it."""

from dataclasses import asdict
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from ckd_dist.config import STRICT, how
from ckd_dist.studies.disease.variants import Name

Metric = Literal["macro_auroc", "macro_auprc", "log_loss"]


@dataclass(frozen=True, config=STRICT)
class Claim:
    """A bound on one variant's score, or on one minus another, that must hold in every seed, at the first budget.

    A difference that must be at least or at most something must also be clear of zero, by its interval over patients.
    """

    first: Name = how("distilled", "variant that the bound is on")
    second: Name | None = how(None, "variant that is subtracted; none: none is")
    metric: Metric = how("macro_auroc", "score that is bounded")
    bound: Literal["at least", "at most", "within"] = how("at least", "kind of the bound")
    value: float = how(0.0, "bound, in the metric's unit")

    def met_by(self, value: float) -> bool:
        """Say whether one seed's value keeps the bound.

        >>> own = Claim("own", "hard", "macro_auroc", "within", 0.01)
        >>> own.met_by(-0.004), own.met_by(0.02)
        (True, False)
        """
        match self.bound:
            case "at least":
                return value >= self.value
            case "at most":
                return value <= self.value
            case "within":
                return abs(value) <= self.value


def claims_shape(recipe: Any) -> dict[str, Any]:
    """Return what shapes the report and no experiment: the claims that it is held against (study.Stage.shaped_by)."""
    return {"experiments.claims": [asdict(claim) for claim in recipe.experiments.claims]}
