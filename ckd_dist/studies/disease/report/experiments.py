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
from ckd_dist.report.compare import LEAST_SEEDS, Difference, Verdict, judge
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiments import NO_LABELS, Experiment
from ckd_dist.studies.disease.report.advice import Advice, advise, scores_of_best, share_of_gap
from ckd_dist.studies.disease.variants import VARIANTS, Name

EXPERIMENT_METRICS = ("macro_auroc", "macro_auprc", "log_loss")
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
        """Say whether it was reached."""
        if not self.values or self.unclaimed:
            return f"no claim: {self.unclaimed}" if self.values else "not tried"
        return "reached" if self.holds else "NOT reached"


@dataclass(frozen=True)
class ExperimentTables:
    """Every number of the experiments."""

    reference: str | None  # that the others are compared with; None: no student with soft labels was trained
    num_seeds: int
    may_claim: bool  # whether seeds and held-out patients are enough for a verdict
    budgets: Sequence[BudgetTable]
    advice: Advice | None  # None: budgets, a distilled student or models of the same labels are missing
    idle_share: float  # of the workers' seconds, before the last experiment was handed out
    checked: Sequence[Checked] = ()  # what was to be shown
    remark: str = ""  # what a reader must know before the numbers

    @property
    def unclaimed(self) -> str:
        """Say why no claim may rest on them: too few seeds, or patients; empty where one may."""
        if self.may_claim:
            return ""
        return f"{self.num_seeds} of {LEAST_SEEDS} seeds" if self.num_seeds < LEAST_SEEDS else "too few patients"


@dataclass(frozen=True)
class Scores:
    """What every experiment scores on every draw."""

    of: Mapping[Experiment, ScoresD]

    @property
    def seeds(self) -> list[int]:
        """Return all seeds, sorted."""
        return sorted({experiment.seed for experiment in self.of})

    @property
    def variants(self) -> list[Name]:
        """Return the variants that were done, in the order of VARIANTS."""
        return [name for name in VARIANTS if any(experiment.variant == name for experiment in self.of)]

    def found(self, name: Name, budget: int | None) -> list[ScoresD]:
        """Return the scores of every seed; of what reads no label, the same for each budget, or for each seed too."""
        seeds = self.seeds
        places = [[(budget, seed), (NO_LABELS, seed), (NO_LABELS, seeds[0])] for seed in seeds]
        there = [[at for at in each if Experiment(name, *at) in self.of] for each in places]
        return [self.of[Experiment(name, *each[0])] for each in there if each]


def compare_variants(
    scores: Scores, budgets: Sequence[int | None], idle_share: float, *, enough: bool
) -> ExperimentTables:
    """Compare all variants at every budget.  enough: whether a claim may rest on the held-out patients."""
    found, num_seeds = scores.found, len(scores.seeds)
    reference = next((name for name in REFERENCES if name in scores.variants), None)
    may_claim = enough and num_seeds >= LEAST_SEEDS
    tables = []
    for budget in budgets:
        base = found(reference, budget) if reference else []
        names = [name for name in scores.variants if found(name, budget)]
        lines = [line_of(name, found(name, budget), base, may_claim) for name in names]
        if lines:  # none: controls alone, which the first budget has
            tables.append(BudgetTable(budget, [replace(x, minus={}) if x.name == reference else x for x in lines]))
    advice = advice_of([budget for budget in budgets if budget], found) if enough else None
    return ExperimentTables(reference, num_seeds, may_claim, tables, advice, idle_share)


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
        best.append(scores_of_best(np.stack(others)))
        if found("oracle", budget):
            gaps.append(share_of_gap(distilled[-1], best[-1], auroc("oracle", budget)[0]))
    if not distilled:
        return None
    return advise(sorted(budgets), np.stack(distilled), np.stack(best), gaps)


def score_all(results: Sequence[Result], labels_NK: np.ndarray, draws: Resamples) -> Scores:
    """Score all results on the same draws.  labels: of held_out's labelled visits, the rows of every result."""
    return Scores({result.experiment: score(result, labels_NK, draws) for result in results})


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


def line_of(name: str, own: Sequence[ScoresD], base: Sequence[ScoresD], may_claim: bool) -> VariantScores:
    """Return the line of one variant.  own, base: scores of its seeds, and of the reference's; base may be empty."""
    seeds = {metric: [float(each[metric][0]) for each in own] for metric in EXPERIMENT_METRICS}
    means = {metric: fmean(values) for metric, values in seeds.items()}
    minus = {metric: compared(metric, base, own, may_claim) for metric in EXPERIMENT_METRICS} if base else {}
    variant = VARIANTS[name]
    return VariantScores(name, variant.title, variant.role, seeds, means, minus, variant.expected)


def compared(metric: str, base: Sequence[ScoresD], own: Sequence[ScoresD], may_claim: bool) -> Compared:
    """Subtract a variant from the reference, seed by seed and draw by draw."""
    lower = metric in metrics.LOWER_IS_BETTER
    differences = [
        judge(bootstrap.difference(first[metric], second[metric]), enough=may_claim, lower_is_better=lower)
        for first, second in zip(base, own, strict=True)
    ]
    verdicts = {each.verdict for each in differences}
    verdict = verdicts.pop() if len(verdicts) == 1 else "unclear"
    return Compared(differences, fmean(each.value for each in differences), verdict)
