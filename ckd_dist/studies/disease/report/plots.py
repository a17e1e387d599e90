"""Draw the report's plots: every model with its interval, curves over all cells, and the AUPRC of every disease."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ckd_dist.report.bootstrap import Estimate
from ckd_dist.report.plots import ACCENT, GREY, INK, LOOK, PALE, dots, ends, style, svg
from ckd_dist.studies.disease.report.advice_plot import advice_plot
from ckd_dist.studies.disease.report.experiments import ExperimentTables
from ckd_dist.studies.disease.report.tables import DiseaseReport, ScoredModel
from ckd_dist.studies.disease.report.verdicts import subjects

DASHES = {
    "copy_last_visit": (0, (5, 2)),
    "logistic_regression": "-",
    "boosted_trees": (0, (7, 2, 1, 2)),
    "student_hard": (0, (3, 1, 1, 1)),
}
MARKS = {"copy_last_visit": ("|", GREY), "oracle": ("x", INK)}  # of the models beside the primary, disease by disease


def drawings(report: DiseaseReport) -> dict[str, str]:
    """Draw the page's plots, by name."""
    auroc = {model.name: model.overall.macro_auroc for model in report.models}
    auprc = {model.name: model.overall.macro_auprc for model in report.models}
    advice = report.experiments.advice if report.experiments else None
    return {
        "auroc": model_plot(report, auroc, "Macro-AUROC"),
        "auprc": model_plot(report, auprc, "Macro-AUPRC"),
        "roc": roc_plot(report),
        "pr": pr_plot(report),
        "reliability": reliability_plot(report),
        "labels": label_plot(report),
        **({"experiments": variant_plot(report.experiments)} if report.experiments else {}),
        **({"advice": advice_plot(advice)} if advice and advice.is_given else {}),
    }


def variant_plot(tables: ExperimentTables) -> str:
    """Draw the macro-AUROC of every variant, a mark a seed, a panel a budget."""
    most = max(len(budget.variants) for budget in tables.budgets)
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(4.6 * len(tables.budgets), 0.6 + 0.28 * most), layout="constrained")
        panels = figure.subplots(1, len(tables.budgets), squeeze=False)[0]
        for axes, budget in zip(panels, tables.budgets, strict=True):
            lines = budget.variants[::-1]
            for place, line in enumerate(lines):
                colour = ACCENT if line.name == tables.reference else GREY
                values = line.seeds["macro_auroc"]
                axes.plot(values, [place] * len(values), "o", color=colour, markersize=4, markerfacecolor="none")
            axes.set_yticks(range(len(lines)), [line.title for line in lines])
            axes.set_title(f"Macro-AUROC, {subjects(budget)}")
        return svg(figure, "Macro-AUROC of every variant, by seed")


def model_plot(report: DiseaseReport, estimates: Mapping[str, Estimate], title: str) -> str:
    """Draw one metric of every model with its interval, from baselines to oracle."""
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(4.6, 0.4 + 0.28 * len(report.models)), layout="constrained")
        axes = figure.subplots()
        dots(axes, [estimates[model.name] for model in report.models], report.models, report.primary)
        axes.set_title(title)
        return svg(figure, f"{title} of every model")


def roc_plot(report: DiseaseReport) -> str:
    """Draw ROC curves over all cells."""
    with matplotlib.rc_context(LOOK):
        figure, axes = square()
        for model in with_curves(report):
            axes.plot(*np.array(report.curves[model.name].roc).T, **look_of(model, report.primary))
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=0.7, zorder=1)
        axes.set(xlabel="False positive rate", ylabel="True positive rate", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="lower right", fontsize=8)
        return svg(figure, "ROC curves")


def pr_plot(report: DiseaseReport) -> str:
    """Draw precision-recall curves over all cells, as steps."""
    with matplotlib.rc_context(LOOK):
        figure, axes = square()
        for model in with_curves(report):
            points = np.array(report.curves[model.name].pr)
            axes.plot(*points.T, **look_of(model, report.primary), drawstyle="steps-pre")
        labels = ("Recall (sensitivity)", "Precision (positive predictive value)")
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="upper right", fontsize=8)
        return svg(figure, "precision-recall curves")


def reliability_plot(report: DiseaseReport) -> str:
    """Draw the observed share against the predicted probability; the primary model's points have 95 % intervals."""
    with matplotlib.rc_context(LOOK):
        figure, axes = square()
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=0.7, zorder=1)
        top = 0.05
        for model in with_curves(report):
            bins = report.reliability[model.name]
            x = np.array([each.predicted for each in bins])
            y, low, high = ends([each.observed for each in bins])
            top = max(top, x.max(), y.max())
            axes.plot(x, y, **look_of(model, report.primary))
            if model.name == report.primary:
                axes.plot(x, y, "o", color=ACCENT, markersize=4, zorder=6)
                axes.vlines(x, low, high, color=ACCENT, linewidth=1, zorder=5)
        top = min(1.0, 1.08 * top)
        axes.set(xlabel="Predicted probability", ylabel="Observed share", xlim=(0, top), ylim=(0, top))
        axes.legend(loc="upper left", fontsize=8)
        return svg(figure, "reliability diagram")


def label_plot(report: DiseaseReport) -> str:
    """Draw the AUPRC of every label: the primary model with its interval, the last visit copied, the best possible."""
    names, primary = [label.name for label in report.labels], report.model(report.primary)
    place = np.arange(len(names))[::-1]
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(9.2, 0.9 + 0.215 * len(names)), layout="constrained")
        axes = figure.subplots()
        for name, (marker, colour) in MARKS.items():
            if name in report.by_name:
                other = report.model(name)
                value = ends([other.per_label[label].auprc for label in names])[0]
                axes.plot(value, place, marker, color=colour, markersize=6, label=other.title, zorder=3)
        value, low, high = ends([primary.per_label[label].auprc for label in names])
        axes.hlines(place, low, high, color=ACCENT, linewidth=1.2)
        label = f"{primary.title}, 95 % interval"
        axes.plot(value, place, "o", color=ACCENT, markersize=5, clip_on=False, label=label, zorder=4)
        axes.set_yticks(place, names)
        axes.set(xlim=(0, 1), ylim=(-0.7, len(names) - 0.3), xlabel="AUPRC")
        axes.grid(axis="y", color="#eeeeee", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=8)
        return svg(figure, "AUPRC of every disease")


def with_curves(report: DiseaseReport) -> list[ScoredModel]:
    """List the models that have a curve: not those that say the same for every visit."""
    return [model for model in report.models if model.name not in ("predict_nothing", "prevalence")]


def look_of(model: ScoredModel, primary: str) -> dict[str, Any]:
    """Return how a model's curve is drawn and named; baselines differ by their dashes."""
    look = {"label": model.title} | style(model, primary)
    return look | ({"linestyle": DASHES[model.name]} if model.name in DASHES and model.name != primary else {})


def square() -> tuple[Figure, Axes]:
    """Make an empty figure, nearly square."""
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    return figure, figure.subplots()
