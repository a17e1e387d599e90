"""Compute every number of the report from predictions, as one plain dict: what metrics.json holds and the pages show.

    N rows, K labels, D draws

Every model is scored on the same draws of subjects, so any two can be compared draw by draw.  NaN becomes None: a
metric that cannot be computed.  Where the held-out part is too small for claims, nothing is called better or worse.
Counts of groups and positives are text, with 1 to 4 as "<5"; a label with so few cases gets no interval.
"""

from typing import Any

import numpy as np

from ckd_dist.report import bootstrap, metrics, plots
from ckd_dist.report.bootstrap import Estimate, Resamples
from ckd_dist.report.compare import judge
from ckd_dist.report.metrics import Scores
from ckd_dist.report.page import plain
from ckd_dist.report.wording import SMALL, count, count_and_share
from ckd_dist.studies.disease.report.results import Results
from ckd_dist.studies.disease.report.table1 import in_order

FEW_PAIRS, FEW_PATIENTS = 200, 50  # below: no claim may rest on the report
FEW_IN_GROUP = 50  # pairs; below: a group's numbers are marked
COMPARED = ("macro_auroc", "macro_auprc", "micro_f1", "macro_f1", "brier")
LOWER_IS_BETTER = ("brier", "ece", "macro_ece")
GAP_METRICS = ("macro_auroc", "macro_auprc", "brier")
GROUP_METRICS = ("macro_auroc", "macro_auprc", "micro_f1", "brier", "ece")
RELIABILITY_BINS = 15


def measure(results: Results) -> dict[str, Any]:
    """Score every model, compare them, and gather what else the report shows."""
    results.check()
    provenance, cohort, labels_NK = results.provenance, results.cohort, results.held_out.labels_NK
    draws = bootstrap.resample(results.held_out.subject_N, results.bootstrap_draws, results.seed)
    scores = {
        model.name: metrics.score(labels_NK, model.probabilities_NK, model.bits_NK, draws.subject_N, draws.counts_SD)
        for model in results.models
    }
    num_pairs, num_labels = labels_NK.shape
    num_patients = len(draws.counts_SD)
    return plain(
        {
            "title": provenance.title,
            "source": provenance.source,
            "date": provenance.date,
            "primary": results.primary,
            "held_out": {
                "pairs": num_pairs,
                "patients": num_patients,
                "labels": num_labels,
                "scorable_labels": scores[results.primary].num_scorable,
                "too_small": too_small(num_pairs, num_patients),
            },
            "bootstrap": {"draws": results.bootstrap_draws, "seed": results.seed, "level": bootstrap.LEVEL},
            "warnings": warnings(num_pairs, num_patients, num_labels, scores[results.primary].num_scorable),
            "notes": list(provenance.notes),
            "models": [model_numbers(results, name, score) for name, score in scores.items()],
            "differences": differences(results, scores),
            "gaps": gaps(results, scores),
            "labels": label_counts(results),
            "groups": group_numbers(results, draws),
            "reliability": reliability(results, draws),
            "curves": {model.name: plots.curves(labels_NK, model.probabilities_NK) for model in results.models},
            "timings": [vars(timing) | {"title": results.title_of(timing.name)} for timing in results.timings],
            "flow": [{"reason": reason, "excluded": out, "left": left} for reason, out, left in cohort.flow],
            "table1": {
                "columns": list(cohort.table1.columns),
                "lines": [vars(line) for line in cohort.table1.lines],
            },
            "recipe": dict(provenance.recipe),
            "versions": dict(provenance.versions),
        }
    )


def warnings(num_pairs: int, num_patients: int, num_labels: int, num_scorable: int) -> list[str]:
    """List what the numbers themselves forbid to claim, a sentence each."""
    sentences = []
    if too_small(num_pairs, num_patients):
        sentences.append(
            f"Too small for claims: the held-out part has {count(num_pairs)} pairs of visits from "
            f"{count(num_patients)} patients (fewer than {FEW_PAIRS} pairs or {FEW_PATIENTS} patients). "
            "The numbers show that the pipeline runs, nothing more."
        )
    if num_scorable < num_labels:
        sentences.append(
            f"{num_labels - num_scorable} of {num_labels} diseases cannot be scored: in the held-out part "
            "every patient has them, or none. Macro means go over the others."
        )
    return sentences


def too_small(num_pairs: int, num_patients: int) -> bool:
    """Say whether held_out is too small for claims."""
    return num_pairs < FEW_PAIRS or num_patients < FEW_PATIENTS


def model_numbers(results: Results, name: str, scores: Scores) -> dict[str, Any]:
    """Return every metric of one model, overall and by label."""
    model, labels_NK = results.model(name), results.held_out.labels_NK
    positives_K = labels_NK.sum(axis=0)
    rare_K = np.minimum(positives_K, len(labels_NK) - positives_K) < SMALL
    return {
        "name": name,
        "title": model.shown,
        "role": model.role,
        "overall": {key: interval_of(key, value_D) for key, value_D in scores.overall.items()},
        "per_label": {
            label: {
                key: interval_of(key, value_KD[k, :1] if rare_K[k] else value_KD[k])
                for key, value_KD in scores.per_label.items()
            }
            for k, label in enumerate(results.held_out.label_names)
        },
    }


def interval_of(metric: str, value_D: np.ndarray) -> Estimate:
    """Return the value of a metric on the rows themselves, with its interval over the draws."""
    return bootstrap.interval(value_D, centred="ece" in metric)


def differences(results: Results, scores: dict[str, Scores]) -> list[dict[str, Any]]:
    """Subtract the second model of each pair from the first: paired interval and verdict (better, worse or unclear)."""
    held_out = results.held_out
    no_claim = too_small(len(held_out.labels_NK), len(np.unique(held_out.subject_N)))
    lines = []
    for first, second in results.comparisons:
        if first not in scores or second not in scores:
            continue
        cells = {}
        for metric in COMPARED:
            value = bootstrap.difference(scores[first].overall[metric], scores[second].overall[metric])
            cells[metric] = judge(value, enough=not no_claim, lower_is_better=metric in LOWER_IS_BETTER)
        titles = {"first_title": results.title_of(first), "second_title": results.title_of(second)}
        lines.append({"first": first, "second": second, **titles, "metrics": cells})
    return lines


def gaps(results: Results, scores: dict[str, Scores]) -> list[dict[str, Any]]:
    """Return each model's share of the way from prevalence (0) to the oracle (1); empty where there is no oracle."""
    oracle = next((model.name for model in results.models if model.role == "oracle"), None)
    if oracle is None or "prevalence" not in scores:
        return []
    start, end = scores["prevalence"].overall, scores[oracle].overall
    return [
        {
            "name": name,
            "title": results.title_of(name),
            "role": results.model(name).role,
            "metrics": {m: bootstrap.share_of_way(score.overall[m], start[m], end[m]) for m in GAP_METRICS},
        }
        for name, score in scores.items()
        if name not in ("predict_nothing", "prevalence", oracle)
    ]


def label_counts(results: Results) -> list[dict[str, Any]]:
    """Count the positives of every label, masked where few."""
    held_out = results.held_out
    positives_K, num_pairs = held_out.labels_NK.sum(axis=0), len(held_out.labels_NK)
    return [
        {"name": name, "positives": count_and_share(int(n), num_pairs)}
        for name, n in zip(held_out.label_names, positives_K, strict=True)
    ]


def group_numbers(results: Results, draws: Resamples) -> list[dict[str, Any]]:
    """Score the primary model by group; a group of fewer than five patients is named and not scored."""
    return [
        {
            "title": title,
            "groups": [
                one_group(results, draws, group_N == name, name) for name in in_order(np.unique(group_N).tolist())
            ],
        }
        for title, group_N in results.held_out.groups.items()
    ]


def one_group(results: Results, draws: Resamples, chosen_N: np.ndarray, name: str) -> dict[str, Any]:
    """Score the primary model on the rows of one group."""
    held_out = results.held_out
    num_pairs, num_patients = int(chosen_N.sum()), len(np.unique(held_out.subject_N[chosen_N]))
    line = {"name": str(name), "pairs": count(num_pairs), "patients": count(num_patients), "metrics": None}
    line["few"] = num_pairs < FEW_IN_GROUP
    if min(num_pairs, num_patients) < SMALL:
        return line
    model, draws = results.model(results.primary), draws.rows(chosen_N)
    score = metrics.score(
        held_out.labels_NK[chosen_N],
        model.probabilities_NK[chosen_N],
        model.bits_NK[chosen_N],
        draws.subject_N,
        draws.counts_SD,
    )
    line["metrics"] = {m: interval_of(m, score.overall[m]) for m in GROUP_METRICS}
    line["scorable_labels"] = score.num_scorable
    return line


def reliability(results: Results, draws: Resamples) -> dict[str, list[dict[str, Any]]]:
    """Compare predicted with observed share in bins of equally many cells, by model."""
    labels_NK = results.held_out.labels_NK
    return {model.name: reliability_of(labels_NK, model.probabilities_NK, draws) for model in results.models}


def reliability_of(labels_NK: np.ndarray, probabilities_NK: np.ndarray, draws: Resamples) -> list[dict[str, Any]]:
    """Return predicted and observed share of one model, bin by bin."""
    bin_NK = metrics.equal_mass_bins(probabilities_NK, RELIABILITY_BINS)
    lines = []
    for number in np.unique(bin_NK):
        inside_NK = bin_NK == number
        sums_3N = np.stack([(inside_NK * part_NK).sum(axis=1) for part_NK in (1, probabilities_NK, labels_NK)])
        cells_D, predicted_D, observed_D = metrics.total(sums_3N.T, draws.subject_N, draws.counts_SD)
        with np.errstate(invalid="ignore", divide="ignore"):
            observed = bootstrap.interval(observed_D / cells_D)
        lines.append({"predicted": predicted_D[0] / cells_D[0], "observed": observed, "cells": int(cells_D[0])})
    return lines
