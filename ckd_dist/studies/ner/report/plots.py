"""The second study's plots, in the look of ckd_dist/report/plots.py: strict F1 of every system, and over gold notes."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ckd_dist.report.bootstrap import Estimate
from ckd_dist.report.plots import ACCENT, GREY, INK, LOOK, dots, ends, svg
from ckd_dist.report.wording import known
from ckd_dist.studies.ner.report.results import MICRO
from ckd_dist.studies.ner.report.tables import NerReport

MOST_PANELS = 4
WIDTH = 9.2  # inches: that of the page's text, so letters have the page's size
ARM_STYLES = (  # the first arm is what the page is about
    {"color": ACCENT, "linewidth": 2.0, "marker": "o", "zorder": 4},
    {"color": INK, "linewidth": 1.2, "marker": "s", "linestyle": (0, (5, 2)), "zorder": 3},
    {"color": GREY, "linewidth": 1.2, "marker": "^", "linestyle": (0, (1, 1.2)), "zorder": 2},
    {"color": GREY, "linewidth": 1.2, "marker": "D", "linestyle": "-", "zorder": 1},
)


def system_plot(report: NerReport) -> str:
    """Draw strict F1 of every system with its interval: all types pooled, and each beside it where they are few."""
    panels = [MICRO, *(report.types if 1 < len(report.types) < MOST_PANELS else ())]
    strict = {kind: [system.scores["strict"][kind].f1 for system in report.systems] for kind in panels}
    scale = limits([each for estimates in strict.values() for each in estimates])
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(WIDTH, 0.6 + 0.26 * len(report.systems)), layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, kind in zip(grid, panels, strict=True):
            dots(axes, strict[kind], report.systems, report.primary)
            axes.set_title(kind if kind != MICRO else "all types" if len(panels) > 1 else "strict F1")
            axes.set_xlim(*scale)
        return svg(figure, "strict F1 of every system")


def limits(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Return one scale for all panels, from a tenth below the lowest to a tenth above the highest, within 0 and 1."""
    shown = [end for each in estimates for end in (each.value, each.low, each.high) if known(end)] or [0.0, 1.0]
    return max(0.0, np.floor(10 * min(shown)) / 10), min(1.0, np.ceil(10 * max(shown)) / 10) + 0.005


def curve_plot(report: NerReport) -> str:
    """Draw strict F1 over the number of annotated notes, a line an arm; empty where there is no curve.

    The sizes are evenly spaced: 0, 10, 50 and all are steps of a study, not places on a scale.
    """
    points = report.curve
    if not points:
        return ""
    sizes = sorted({point.gold_notes for point in points})
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        arms = list(dict.fromkeys(point.arm for point in points))
        for place, arm in enumerate(arms):
            own = sorted((p for p in points if p.arm == arm and known(p.f1.value)), key=lambda p: p.gold_notes)
            x = np.array([sizes.index(point.gold_notes) for point in own]) + 0.05 * (place - (len(arms) - 1) / 2)
            y, low, high = ends([point.f1 for point in own])
            style = ARM_STYLES[min(place, len(ARM_STYLES) - 1)]
            axes.plot(x, y, label=arm, markersize=5, **style)
            axes.vlines(x, low, high, color=style["color"], linewidth=1)
        axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
        axes.set(xlabel="Annotated notes learned from", ylabel="Strict F1", ylim=(0, 1.02))
        axes.grid(axis="y", color="#eeeeee", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.legend(loc="lower right", fontsize=8)
        return svg(figure, "strict F1 over the number of annotated notes")
