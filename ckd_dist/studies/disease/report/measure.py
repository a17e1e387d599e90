"""Compute every number of the report from predictions: the tables of `tables.py`, filled.

    N rows, K labels, D draws

Every model is scored on the same draws of subjects, so any two can be compared draw by draw.  A metric that cannot be
computed is NaN.  Where the held-out part is too small for claims, nothing is called better or worse.  Counts of groups
and positives are text, with 1 to 4 as "<5"; a label with so few cases gets no interval.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ckd_dist.report import bootstrap, metrics
from ckd_dist.report.bootstrap import Bootstrap, Estimate, Resamples
from ckd_dist.report.compare import judge
from ckd_dist.report.metrics import LOWER_IS_BETTER, Scores
from ckd_dist.report.wording import SMALL, count, count_and_share
from ckd_dist.studies.disease.report.curves import curves, reliability
from ckd_dist.studies.disease.report.results import COMPARISONS, HeldOut, Model, Results
from ckd_dist.studies.disease.report.table1 import in_order
from ckd_dist.studies.disease.report.tables import (
    ComparedModels,
    DiseaseReport,
    FlowStep,
    Gap,
    Group,
    Grouping,
    GroupScores,
    HeldOutSize,
    LabelCount,
    OfLabel,
    Overall,
    ScoredModel,
    TableRead,
    TooFew,
)

FEW_PAIRS, FEW_PATIENTS = 200, 50  # below: no claim may rest on the report
FEW_IN_GROUP = 50  # pairs; below: a group's numbers are marked
COMPARED = ("macro_auroc", "macro_auprc", "micro_f1", "macro_f1", "log_loss", "brier")
GAP_METRICS = ("macro_auroc", "macro_auprc", "log_loss", "brier")
GROUP_METRICS = ("macro_auroc", "macro_auprc", "micro_f1", "log_loss", "brier", "ece")


def measure(results: Results) -> DiseaseReport:
    """Score every model, compare them, and gather what else the report shows.

    Raises ValueError where the parts of `results` do not fit together.
    """
    results.check()
    held_out = results.held_out
    draws = bootstrap.resample(held_out.subject_N, results.bootstrap_draws, results.seed)
    scores = {model.name: score(held_out.labels_NK, model, draws) for model in results.models}
    size = held_out_size(held_out, scores[results.primary].num_scorable)
    return DiseaseReport(
        primary=results.primary,
        held_out=size,
        bootstrap=Bootstrap(results.bootstrap_draws, results.seed),
        models=[scored_model(model, scores[model.name], held_out) for model in results.models],
        differences=differences(results, scores, enough=not size.too_small),
        gaps=gaps(results, scores),
        labels=label_counts(held_out),
        groups=groupings(held_out, results.model(results.primary), draws),
        reliability={m.name: reliability(held_out.labels_NK, m.probabilities_NK, draws) for m in results.models},
        curves={model.name: curves(held_out.labels_NK, model.probabilities_NK) for model in results.models},
        experiments=results.experiments,
        timings=[replace(timing, title=results.title_of(timing.name)) for timing in results.timings],
        flow=[FlowStep(*step) for step in results.cohort.flow],
        tables_read=[TableRead(**table) for table in results.cohort.tables],
        table1=results.cohort.table1,
        validation=results.validation,
    )


def score(labels_NK: np.ndarray, model: Model, draws: Resamples) -> Scores:
    """Compute every metric of a model on every draw."""
    return metrics.score(labels_NK, model.probabilities_NK, model.bits_NK, draws.subject_N, draws.counts_SD)


def held_out_size(held_out: HeldOut, num_scorable: int) -> HeldOutSize:
    """Count what all scores rest on, and say whether it is too small for claims."""
    num_pairs, num_labels = held_out.labels_NK.shape
    num_patients = len(np.unique(held_out.subject_N))
    too_small = num_pairs < FEW_PAIRS or num_patients < FEW_PATIENTS
    return HeldOutSize(num_pairs, num_patients, num_labels, num_scorable, too_small)


def scored_model(model: Model, scores: Scores, held_out: HeldOut) -> ScoredModel:
    """Return every metric of one model, overall and by label."""
    positives_K = held_out.labels_NK.sum(axis=0)
    rare_K = np.minimum(positives_K, len(held_out.labels_NK) - positives_K) < SMALL
    per_label = {
        label: OfLabel(
            **{
                metric: interval_of(metric, value_KD[k, :1] if rare_K[k] else value_KD[k])
                for metric, value_KD in scores.per_label.items()
            }
        )
        for k, label in enumerate(held_out.label_names)
    }
    overall = Overall(**{metric: interval_of(metric, value_D) for metric, value_D in scores.overall.items()})
    return ScoredModel(model.name, model.shown, model.role, overall, per_label)


def interval_of(metric: str, value_D: np.ndarray) -> Estimate:
    """Return the value of a metric on the rows themselves, with its interval over the draws."""
    return bootstrap.interval(value_D, centred="ece" in metric)


def differences(results: Results, scores: Mapping[str, Scores], *, enough: bool) -> list[ComparedModels]:
    """Subtract the second model of each pair from the first.  enough: whether a claim may rest on the data."""
    rows = []
    for first, second in COMPARISONS:
        if first not in scores or second not in scores:
            continue
        judged = {}
        for metric in COMPARED:
            value = bootstrap.difference(scores[first].overall[metric], scores[second].overall[metric])
            judged[metric] = judge(value, enough=enough, lower_is_better=metric in LOWER_IS_BETTER)
        rows.append(ComparedModels(first, second, results.title_of(first), results.title_of(second), judged))
    return rows


def gaps(results: Results, scores: Mapping[str, Scores]) -> list[Gap]:
    """Return each model's share of the way from prevalence (0) to the oracle (1); empty where there is no oracle."""
    oracle = next((model.name for model in results.models if model.role == "oracle"), None)
    if oracle is None or "prevalence" not in scores:
        return []
    start, end = scores["prevalence"].overall, scores[oracle].overall

    def share(name: str, metric: str) -> Estimate:
        return bootstrap.share_of_way(scores[name].overall[metric], start[metric], end[metric])

    return [
        Gap(model.name, model.shown, model.role, {metric: share(model.name, metric) for metric in GAP_METRICS})
        for model in results.models
        if model.name not in ("predict_nothing", "prevalence", oracle)
    ]


def label_counts(held_out: HeldOut) -> list[LabelCount]:
    """Count the positives of every label, masked where few."""
    positives_K, num_pairs = held_out.labels_NK.sum(axis=0), len(held_out.labels_NK)
    return [
        LabelCount(name, count_and_share(int(n), num_pairs))
        for name, n in zip(held_out.label_names, positives_K, strict=True)
    ]


def groupings(held_out: HeldOut, model: Model, draws: Resamples) -> list[Grouping]:
    """Score a model by group, for every variable that groups the patients."""
    return [
        Grouping(
            title,
            [group(held_out, model, draws, name, group_N == name) for name in in_order(np.unique(group_N).tolist())],
        )
        for title, group_N in held_out.groups.items()
    ]


def group(held_out: HeldOut, model: Model, draws: Resamples, name: str, chosen_N: np.ndarray) -> Group:
    """Score a model on the rows of one group; a group of fewer than five patients is named and not scored."""
    num_pairs, num_patients = int(chosen_N.sum()), len(np.unique(held_out.subject_N[chosen_N]))
    size = (count(num_pairs), count(num_patients), num_pairs < FEW_IN_GROUP)
    if min(num_pairs, num_patients) < SMALL:
        return Group(name, *size, TooFew(metrics=None))
    own = replace(model, probabilities_NK=model.probabilities_NK[chosen_N], bits_NK=model.bits_NK[chosen_N])
    scores = score(held_out.labels_NK[chosen_N], own, draws.rows(chosen_N))
    found = {metric: interval_of(metric, scores.overall[metric]) for metric in GROUP_METRICS}
    return Group(name, *size, GroupScores(found, scores.num_scorable))
