"""What the plots of all reports share: SVG text inside the page, in its font, with one accent colour."""

import io
import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ckd_dist.report.bootstrap import Estimate
from ckd_dist.report.wording import known

ACCENT, INK, GREY, PALE = "#14577d", "#222222", "#7d7d7d", "#c9c9c9"
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


class Drawn(Protocol):
    """A model or system as a plot shows it."""

    name: str
    title: str
    role: str


def style(line: Drawn, primary: str) -> dict[str, Any]:
    """Return how a line is drawn: the primary in the accent, teacher and oracle dark, all others grey."""
    if line.name == primary:
        return {"color": ACCENT, "linewidth": 2.0, "zorder": 5}
    if line.role == "oracle":
        return {"color": INK, "linewidth": 1.0, "linestyle": (0, (1, 1.2)), "zorder": 3}
    if line.role == "teacher":
        return {"color": INK, "linewidth": 1.1, "zorder": 4}
    return {"color": GREY, "linewidth": 1.1, "linestyle": ":", "zorder": 2}


def dots(axes: Axes, estimates: Sequence[Estimate], lines: Sequence[Drawn], primary: str) -> None:
    """Draw a dot and its interval a line, first line on top; nothing where the value is NaN."""
    for place, (estimate, line) in enumerate(zip(estimates, lines, strict=True)):
        if not known(estimate.value):
            continue
        colour = style(line, primary)["color"]
        if known(estimate.low):
            axes.hlines(-place, estimate.low, estimate.high, color=colour, linewidth=1.4)
        axes.plot(estimate.value, -place, "o", color=colour, markersize=5)
    axes.set_yticks([-place for place in range(len(lines))], [line.title for line in lines])
    axes.set_ylim(-len(lines) + 0.4, 0.6)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def ends(estimates: Sequence[Estimate]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, lower and upper ends; NaN where there is none."""
    return tuple(np.array([getattr(each, end) for each in estimates], float) for end in ("value", "low", "high"))


def svg(figure: Figure, label: str) -> str:
    """Return the figure as an <svg> element of a page with others: no prologue, no date, no unused id."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    text = text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return re.sub(r' id="([^"]+)"', lambda match: match[0] if f"#{match[1]}" in text else "", text)
