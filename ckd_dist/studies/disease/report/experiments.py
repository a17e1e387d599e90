"""Compare the variants of the experiments: per budget a table of scores, and what the distilled student has over each.

    N rows, K labels, D draws

All models of all seeds are scored on the same draws of patients.  A verdict over seeds is given where at least
LEAST_SEEDS were trained and the interval is clear of zero, on the same side, in each of them: an interval covers the
chance of having met other patients, seeds that of another training run and of other labelled patients.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from ckd_dist.report import bootstrap, metrics
from ckd_dist.report.bootstrap import Resamples
from ckd_dist.report.compare import Difference, Verdict, judge
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import NO_LABELS, Experiment
from ckd_dist.studies.disease.report.advice import Advice, advise, best_of, share_of_gap
from ckd_dist.studies.disease.variants import VARIANTS

LEAST_SEEDS = 3
COMPARED = ("macro_auroc", "macro_auprc", "log_loss")
LOWER_IS_BETTER = ("log_loss",)
METRIC_WORDS = {"macro_auroc": "macro-AUROC", "macro_auprc": "macro-AUPRC", "log_loss": "log-loss"}
OF_THESE_LABELS = [name for name, variant in VARIANTS.items() if variant.needs is None]  # what these labels allow
# What all others are compared with: the first that was trained.
REFERENCES = ("distilled", "exact", "exact_labelled", "published")

ScoresD = Mapping[str, np.ndarray]  # metric -> a value a draw


@dataclass(frozen=True)
class Compared:
    """One metric of the reference minus that of a variant, seed by seed."""

    seeds: Sequence[Difference]
    mean: float
    verdict: Verdict  # of the reference, clear in every one of enough seeds


@dataclass(frozen=True)
class VariantScores:
    """One line of a table.  seeds: a value a seed, by metric.  minus: the reference minus this; {} of itself."""

    name: str
    title: str
    role: str  # student, control, baseline, teacher, oracle
    seeds: Mapping[str, Sequence[float]]
    means: Mapping[str, float]
    minus: Mapping[str, Compared]
    expected: str  # of a control


@dataclass(frozen=True)
class BudgetTable:
    """All variants with the same labelled patients.  subjects: of train; None: as the recipe says."""

    subjects: int | None
    variants: Sequence[VariantScores]

    def variant(self, name: str) -> VariantScores | None:
        """Return the line of a variant; None where it has none."""
        return next((line for line in self.variants if line.name == name), None)


@dataclass(frozen=True)
class Checked:
    """A claim and what came out.  values: a seed each; empty where a variant was not done.  holds: in all seeds.

    unclaimed: why nothing may be claimed of them; empty where it may.
    """

    claim: str
    values: Sequence[str]
    holds: bool
    unclaimed: str = ""

    @property
    def verdict(self) -> str:
        """Whether it was reached, in words."""
        if not self.values or self.unclaimed:
            return f"no claim: {self.unclaimed}" if self.values else "not tried"
        return "reached" if self.holds else "NOT reached"


@dataclass(frozen=True)
class ExperimentTables:
    """Every number of the experiments."""

    reference: str | None  # that the others are compared with; None: no student with soft labels was trained
    num_seeds: int
    claims: bool  # whether seeds and held-out patients are enough for a verdict
    budgets: Sequence[BudgetTable]
    advice: Advice | None  # None: budgets, a distilled student or models of the same labels are missing
    idle_share: float  # of the workers' seconds, before the last experiment was handed out
    seconds: float  # of all experiments together
    checked: Sequence[Checked] = ()  # what was to be shown
    remark: str = ""  # what a reader must know before the numbers

    @property
    def unclaimed(self) -> str:
        """Why no claim rests on them: too few seeds, or patients; empty where one may."""
        if self.claims:
            return ""
        return f"{self.num_seeds} of {LEAST_SEEDS} seeds" if self.num_seeds < LEAST_SEEDS else "too few patients"


def compare_variants(
    results: Sequence[Result],
    budgets: Sequence[int | None],
    labels_NK: np.ndarray,
    draws: Resamples,
    costs: Mapping[str, float],
    *,
    enough: bool,
) -> ExperimentTables:
    """Score and compare all results.  costs: of the stage.  enough: whether a claim may rest on the held-out patients.

    labels: of held_out's labelled visits, the rows of every result.  Raises ValueError where one has other rows.
    """
    scores = {result.experiment: score(result, labels_NK, draws) for result in results}
    seeds = sorted({experiment.seed for experiment in scores})
    names = [name for name in VARIANTS if any(experiment.variant == name for experiment in scores)]
    reference = next((name for name in REFERENCES if name in names), None)
    claims = enough and len(seeds) >= LEAST_SEEDS

    def found(name: str, budget: int | None) -> list[ScoresD]:
        """Return the scores of every seed; of what reads no label, the same for each budget, or for each seed too."""
        places = [[(budget, seed), (NO_LABELS, seed), (NO_LABELS, seeds[0])] for seed in seeds]
        there = [[at for at in each if Experiment(name, *at) in scores] for each in places]
        return [scores[Experiment(name, *each[0])] for each in there if each]

    tables = []
    for budget in budgets:
        base = found(reference, budget) if reference else []
        lines = [line_of(name, found(name, budget), base, claims) for name in names if found(name, budget)]
        if lines:  # none: controls alone, which the first budget has
            tables.append(BudgetTable(budget, [replace(x, minus={}) if x.name == reference else x for x in lines]))
    advice = advice_of([budget for budget in budgets if budget], found) if enough else None
    return ExperimentTables(reference, len(seeds), claims, tables, advice, costs["idle_share"], costs["seconds"])


def advice_of(budgets: Sequence[int], found: Callable[[str, int], Sequence[ScoresD]]) -> Advice | None:
    """Advise on labels from the distilled student and, at each budget, the best model that the same labels allow.

    found: scores of every seed of a variant at a budget.
    """

    def auroc(name: str, budget: int) -> np.ndarray:
        return np.stack([scores["macro_auroc"] for scores in found(name, budget)])

    distilled, best, gaps = [], [], []
    for budget in sorted(budgets):
        others = [auroc(name, budget) for name in OF_THESE_LABELS if found(name, budget)]
        if not others or not found("distilled", budget):
            return None
        distilled.append(auroc("distilled", budget))
        best.append(best_of(np.stack(others)))
        if found("oracle", budget):
            gaps.append(share_of_gap(distilled[-1], best[-1], auroc("oracle", budget)[0]))
    if not distilled:
        return None
    return advise(sorted(budgets), np.stack(distilled), np.stack(best), gaps)


def score(result: Result, labels_NK: np.ndarray, draws: Resamples) -> ScoresD:
    """Compute the compared metrics of one result on every draw, [D] each."""
    probabilities_NK = np.asarray(result.probabilities_NK, np.float64)
    metrics.check(labels_NK, probabilities_NK)
    ranked = [
        metrics.ranking(labels_NK[:, k], probabilities_NK[:, k], draws.subject_N, draws.counts_SD)
        for k in range(labels_NK.shape[1])
    ]
    auroc_KD, auprc_KD = (np.stack(part) for part in zip(*ranked, strict=True))
    losses_N = metrics.log_losses(labels_NK, probabilities_NK).mean(axis=1)
    sums_N2 = np.stack([losses_N, np.ones(len(losses_N))], axis=1)
    loss_D, rows_D = metrics.total(sums_N2, draws.subject_N, draws.counts_SD)
    return {
        "macro_auroc": metrics.mean_of_known(auroc_KD),
        "macro_auprc": metrics.mean_of_known(auprc_KD),
        "log_loss": loss_D / rows_D,
    }


def line_of(name: str, own: Sequence[ScoresD], base: Sequence[ScoresD], claims: bool) -> VariantScores:
    """Return the line of one variant.  own, base: scores of its seeds, and of the reference's; base may be empty."""
    seeds = {metric: [float(each[metric][0]) for each in own] for metric in COMPARED}
    means = {metric: fmean(values) for metric, values in seeds.items()}
    minus = {metric: compared(metric, base, own, claims) for metric in COMPARED} if base else {}
    variant = VARIANTS[name]
    return VariantScores(name, variant.title, variant.role, seeds, means, minus, variant.expected)


def compared(metric: str, base: Sequence[ScoresD], own: Sequence[ScoresD], claims: bool) -> Compared:
    """Subtract a variant from the reference, seed by seed and draw by draw."""
    lower = metric in LOWER_IS_BETTER
    differences = [
        judge(bootstrap.difference(first[metric], second[metric]), enough=claims, lower_is_better=lower)
        for first, second in zip(base, own, strict=True)
    ]
    verdicts = {each.verdict for each in differences}
    verdict = verdicts.pop() if len(verdicts) == 1 else "unclear"
    return Compared(differences, fmean(each.value for each in differences), verdict)
