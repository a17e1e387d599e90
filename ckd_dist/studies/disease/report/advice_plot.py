"""Draw the gain of distilling against the label budget: seeds' mean and interval, fitted curve, crossing."""

from math import inf

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ckd_dist.report.plots import ACCENT, INK, LOOK, PALE, ends, svg
from ckd_dist.studies.disease.report.advice import Advice


def advice_plot(advice: Advice) -> str:
    """Draw what the advice rests on.  Raises ValueError where there is none."""
    if not advice.is_given:
        raise ValueError(advice.sentence())
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        axes = figure.subplots()
        value, low, high = ends(advice.gain)
        first, last = advice.budgets[0], advice.budgets[-1]
        axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
        crossing = [{0.0: first, inf: last}.get(end, end) for end in (advice.crossing.low, advice.crossing.high)]
        axes.axvspan(*crossing, color=PALE, alpha=0.4, linewidth=0, label="where it crosses zero, 95 % interval")
        axes.plot(advice.budgets, advice.curve, color=ACCENT, linewidth=1.6, label="fitted curve", zorder=3)
        axes.vlines(advice.budgets, low, high, color=ACCENT, linewidth=1.2, zorder=4)
        axes.plot(advice.budgets, value, "o", color=ACCENT, markersize=5, label="mean, 95 % interval", zorder=5)
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(advice.budgets, [f"{budget:,}" for budget in advice.budgets])
        axes.set(xlabel="Labelled patients", ylabel="Macro-AUROC, distilled minus best other")
        axes.legend(loc="best", fontsize=8)
        return svg(figure, "gain of distilling against the number of labelled patients")
