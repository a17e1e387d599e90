"""The reports' plots: SVG text inside the page, in its font, with one accent colour.

N rows, K labels
"""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ACCENT, INK, GREY, PALE = "#14577d", "#222222", "#7d7d7d", "#c9c9c9"
CURVE_POINTS = 160
LOOK = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "ckd_dist",  # the same plot gives the same bytes
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def curves(labels_NK: np.ndarray, probabilities_NK: np.ndarray) -> dict[str, list[list[float]]]:
    """Return points of the ROC curve (false, true positive rate) and of the PR curve (recall, precision), all cells."""
    order = np.argsort(-probabilities_NK.ravel(), kind="stable")
    score, label = probabilities_NK.ravel()[order], labels_NK.ravel()[order].astype(np.int64)
    last_of_tie = np.append(score[1:] != score[:-1], True)
    tp, called = np.cumsum(label)[last_of_tie], (np.arange(len(label)) + 1)[last_of_tie]
    positives, negatives = max(1, label.sum()), max(1, len(label) - label.sum())
    recall, false_rate, precision = tp / positives, (called - tp) / negatives, tp / called
    roc = np.column_stack([np.append(0, false_rate), np.append(0, recall)])
    pr = np.column_stack([np.append(0, recall), np.append(precision[0], precision)])
    return {"roc": thin(roc).round(5).tolist(), "pr": thin(pr).round(5).tolist()}


def thin(points: np.ndarray) -> np.ndarray:
    """Keep at most CURVE_POINTS points, evenly along the curve, with both ends."""
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1))])
    wanted = np.searchsorted(along, np.linspace(0, along[-1], CURVE_POINTS))
    return points[np.unique(np.append(wanted.clip(0, len(points) - 1), [0, len(points) - 1]))]


def style(model: dict[str, Any], primary: str) -> dict[str, Any]:
    """Say how a model is drawn: the primary in the accent, teacher and oracle dark, baselines grey."""
    if model["name"] == primary:
        return {"color": ACCENT, "linewidth": 2.0, "zorder": 5}
    if model["role"] == "oracle":
        return {"color": INK, "linewidth": 1.0, "linestyle": (0, (1, 1.2)), "zorder": 3}
    if model["role"] == "teacher":
        return {"color": INK, "linewidth": 1.1, "zorder": 4}
    dashes = {"copy_last_visit": (0, (5, 2)), "logistic_regression": "-", "student_hard": (0, (3, 1, 1, 1))}
    return {"color": GREY, "linewidth": 1.1, "linestyle": dashes.get(model["name"], ":"), "zorder": 2}


def curve_plot(numbers: dict[str, Any], kind: str) -> str:
    """Draw ROC ("roc") or PR ("pr") curves over all cells; models that say the same for every visit are left out."""
    with matplotlib.rc_context(LOOK):
        figure, axes = square()
        for model in drawn(numbers):
            points = np.array(numbers["curves"][model["name"]][kind])
            step = {"drawstyle": "steps-pre"} if kind == "pr" else {}
            axes.plot(*points.T, label=model["title"], **style(model, numbers["primary"]), **step)
        if kind == "roc":
            axes.plot([0, 1], [0, 1], color=PALE, linewidth=0.7, zorder=1)
            labels = ("False positive rate", "True positive rate", "lower right")
        else:
            labels = ("Recall (sensitivity)", "Precision (positive predictive value)", "upper right")
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc=labels[2], fontsize=8)
        return svg(figure, "ROC curves" if kind == "roc" else "precision-recall curves")


def reliability_plot(numbers: dict[str, Any]) -> str:
    """Draw the observed share against the predicted probability; the primary model's points have 95 % intervals."""
    with matplotlib.rc_context(LOOK):
        figure, axes = square()
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=0.7, zorder=1)
        top = 0.05
        for model in drawn(numbers):
            bins = numbers["reliability"][model["name"]]
            x = np.array([b["predicted"] for b in bins])
            y, low, high = (np.array([b["observed"][k] for b in bins], float) for k in ("value", "low", "high"))
            top = max(top, x.max(), y.max())
            line = style(model, numbers["primary"])
            axes.plot(x, y, label=model["title"], **line)
            if model["name"] == numbers["primary"]:
                axes.plot(x, y, "o", color=ACCENT, markersize=4, zorder=6)
                axes.vlines(x, low, high, color=ACCENT, linewidth=1, zorder=5)
        top = min(1.0, 1.08 * top)
        axes.set(xlabel="Predicted probability", ylabel="Observed share", xlim=(0, top), ylim=(0, top))
        axes.legend(loc="upper left", fontsize=8)
        return svg(figure, "reliability diagram")


def model_plot(numbers: dict[str, Any], metric: str, title: str) -> str:
    """Draw one metric of every model with its interval, from baselines to oracle."""
    models = numbers["models"]
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(4.6, 0.4 + 0.28 * len(models)), layout="constrained")
        axes = figure.subplots()
        dots(axes, [m["overall"][metric] for m in models], [m["title"] for m in models], models, numbers["primary"])
        axes.set_title(title)
        return svg(figure, f"{title} of every model")


def label_plot(numbers: dict[str, Any]) -> str:
    """Draw the AUPRC of every label: the primary model with its interval, the last visit copied, the best possible."""
    labels = numbers["labels"]
    models = {m["name"]: m for m in numbers["models"]}
    primary = models[numbers["primary"]]
    marks = {"copy_last_visit": ("|", GREY), "oracle": ("x", INK)}
    others = [name for name in marks if name in models]
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(9.2, 0.9 + 0.215 * len(labels)), layout="constrained")
        axes = figure.subplots()
        place = np.arange(len(labels))[::-1]
        for name in others:
            values = [models[name]["per_label"][label["name"]]["auprc"]["value"] for label in labels]
            marker, colour = marks[name]
            axes.plot(
                np.array(values, float),
                place,
                marker,
                color=colour,
                markersize=6,
                label=models[name]["title"],
                zorder=3,
            )
        cells = [primary["per_label"][label["name"]]["auprc"] for label in labels]
        value, low, high = (np.array([c[k] for c in cells], float) for k in ("value", "low", "high"))
        axes.hlines(place, low, high, color=ACCENT, linewidth=1.2)
        axes.plot(
            value,
            place,
            "o",
            color=ACCENT,
            markersize=5,
            clip_on=False,
            label=f"{primary['title']}, 95 % interval",
            zorder=4,
        )
        axes.set_yticks(place, [label["name"] for label in labels])
        axes.set(xlim=(0, 1), ylim=(-0.7, len(labels) - 0.3), xlabel="AUPRC")
        axes.grid(axis="y", color="#eeeeee", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=8)
        return svg(figure, "AUPRC of every disease")


def dots(
    axes: Axes, cells: Sequence[dict[str, float]], titles: Sequence[str], models: Sequence[dict[str, Any]], primary: str
) -> None:
    """Draw a dot and its interval a line, first line on top."""
    for line, (cell, model) in enumerate(zip(cells, models, strict=True)):
        if cell["value"] is None:
            continue
        colour = style(model, primary)["color"]
        if cell["low"] is not None:
            axes.hlines(-line, cell["low"], cell["high"], color=colour, linewidth=1.4)
        axes.plot(cell["value"], -line, "o", color=colour, markersize=5)
    axes.set_yticks([-line for line in range(len(titles))], titles)
    axes.set_ylim(-len(titles) + 0.4, 0.6)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def drawn(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """List the models that have a curve."""
    return [model for model in numbers["models"] if model["name"] not in ("predict_nothing", "prevalence")]


def square() -> tuple[Figure, Axes]:
    """Make an empty figure, nearly square."""
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    return figure, figure.subplots()


def svg(figure: Figure, label: str) -> str:
    """Return the figure as an <svg> element of a page with others: no prologue, no date, no unused id."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    text = text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return re.sub(r' id="([^"]+)"', lambda match: match[0] if f"#{match[1]}" in text else "", text)
