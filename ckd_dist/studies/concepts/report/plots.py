"""Plot curves over cases and over steps, and the map of the concepts, in the look of ckd_dist/report/plots.py."""

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ckd_dist.report.plots import ACCENT, GREY, INK, LOOK, svg
from ckd_dist.report.wording import known
from ckd_dist.studies.concepts.report.tables import MACRO, ConceptMap, ConceptTables
from ckd_dist.studies.concepts.report.wording import place

WIDTH = 9.2  # inches: that of the page's text
MOST_ROWS, MOST_COLUMNS = 6, 4  # panels: pairs of sites, embeddings
PLAIN = {**LOOK, "text.parse_math": False}  # a dollar in a name is a dollar
RUST = "#b3541e"
REGIMES: dict[str, dict[str, Any]] = {
    "local": {"color": INK, "linestyle": (0, (5, 2)), "marker": "s"},
    "frozen": {"color": GREY, "linestyle": "-", "marker": "^"},
    "full": {"color": ACCENT, "linestyle": "-", "marker": "o", "linewidth": 1.8},
    "thawed": {"color": RUST, "linestyle": "-", "marker": "v"},
    "pooled": {"color": GREY, "linestyle": (0, (1, 1.2)), "marker": "D"},
    "adversarial": {"color": RUST, "linestyle": (0, (1, 1.2)), "marker": "P"},
}
UNLABELLED = "adversarial"  # reads all of the target's cases, and no label of them
TUNED = ("frozen", "full", "thawed")  # start from the shared model
SIDES = {"source": (RUST, "{source} only"), "both": (GREY, "both"), "target": (ACCENT, "{target} only")}
LETTER = 0.055  # inches of a letter of a map's label, about


def size_plot(tables: ConceptTables, model: str) -> str:
    """Plot macro AUROC over labelled target cases, sizes spaced evenly; empty where no smaller size was run."""
    scores = {score.line: score.auroc[MACRO] for score in tables.scores if score.line.model == model}
    if all(line.size is None for line in scores):
        return ""
    sizes = [0, *sorted({line.size for line in scores} - {None}), None]

    def draw(axes: Axes, embedding: str, source: str, target: str) -> None:
        own = {
            (line.regime, line.size): score
            for line, score in scores.items()
            if (line.embedding, line.target) == (embedding, target) and line.source in (source, target)
        }
        for regime, style in REGIMES.items():
            sized = {size: score for (of, size), score in own.items() if of == regime}
            points = {0 if regime == UNLABELLED else size: score for size, score in sized.items()}
            if regime in TUNED and points and ("shared", None) in own:
                points[0] = own["shared", None]
            at = [size for size in sizes if size in points and known(points[size].value)]
            if not at:
                continue
            x = np.array([sizes.index(size) for size in at])
            x = x + 0.07 * (list(REGIMES).index(regime) - 2)  # so that intervals lie beside one another
            axes.plot(x, [points[size].value for size in at], label=regime, markersize=4, **style)
            low, high = [points[size].low for size in at], [points[size].high for size in at]
            axes.vlines(x, low, high, color=style["color"], linewidth=0.8, alpha=0.6)
        axes.set_xticks(range(len(sizes)), ["all" if size is None else f"{size:,}" for size in sizes])

    return panels(tables, draw, "Labelled target cases", "macro AUROC over the number of labelled target cases")


def step_plot(tables: ConceptTables, model: str) -> str:
    """Plot macro AUROC over tuning steps, with the spread over seeds; empty where no curve was asked for."""
    curves = [curve for curve in tables.steps if curve.line.model == model and curve.line.size is None and curve.points]
    if not curves:
        return ""

    def draw(axes: Axes, embedding: str, source: str, target: str) -> None:
        for curve in curves:
            line = curve.line
            if (line.embedding, line.source, line.target) != (embedding, source, target):
                continue
            x = np.array([point.step for point in curve.points], float)
            least, most = [point.least for point in curve.points], [point.most for point in curve.points]
            style = REGIMES.get(line.regime, REGIMES["pooled"]) | {"marker": ""}
            axes.plot(x, [point.value for point in curve.points], label=line.regime, **style)
            axes.fill_between(x, least, most, color=style["color"], alpha=0.1, linewidth=0)

    return panels(tables, draw, "Tuning steps", "macro AUROC over tuning steps")


def panels(tables: ConceptTables, draw: Callable[[Axes, str, str, str], None], below: str, says: str) -> str:
    """Draw a panel for every pair and embedding on one scale, as many as find room; a legend on top."""
    pairs, embeddings = tables.pairs[:MOST_ROWS], tables.embeddings[:MOST_COLUMNS]
    with matplotlib.rc_context(PLAIN):
        figure = Figure(figsize=(WIDTH, 0.7 + 2.1 * len(pairs)), layout="constrained")
        grid = figure.subplots(len(pairs), len(embeddings), sharex=True, sharey=True, squeeze=False)
        named = {}
        for row, (source, target) in enumerate(pairs):
            for column, embedding in enumerate(embeddings):
                axes = grid[row, column]
                draw(axes, embedding, source, target)
                axes.grid(axis="y", color="#eeeeee", linewidth=0.7)
                axes.set_axisbelow(True)
                axes.axhline(0.5, color="#bbbbbb", linewidth=0.6, zorder=0)
                if row == 0:
                    axes.set_title(embedding)
                if column == 0:
                    axes.set_ylabel(f"{place(source, target)}\nmacro AUROC")
                if row == len(pairs) - 1:
                    axes.set_xlabel(below)
                named |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(named.values(), named.keys(), loc="outside upper right", ncols=len(named) or 1, fontsize=8)
        return svg(figure, says)


def map_plot(drawn: ConceptMap) -> str:
    """Draw the concepts where they lie, coloured by the site that has them; names where there is room for them."""
    places, sides = np.array(drawn.places, float), np.array(drawn.sides)
    with matplotlib.rc_context(PLAIN):
        figure = Figure(figsize=(WIDTH / 2, WIDTH / 2), layout="constrained")
        axes = figure.subplots()
        for side, (colour, title) in SIDES.items():
            own = places[sides == side]
            label = f"{title.format(source=drawn.source, target=drawn.target)} ({len(own):,})"
            axes.scatter(*own.T, s=12, color=colour, alpha=0.65, linewidths=0, label=label)
        axes.set_title(drawn.embedding)
        axes.set(xticks=[], yticks=[])
        axes.margins(0.12)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=8, handletextpad=0.1)
        name_points(axes, drawn, places, sides)
        return svg(figure, "map of the concepts")


def name_points(axes: Axes, drawn: ConceptMap, places: np.ndarray, sides: np.ndarray) -> None:
    """Write labels beside their points, the most frequent of each side in turn, leaving out what would overlap."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    inch = np.array([(right - left), (top - bottom)]) / (WIDTH / 2 - 0.4)
    taken: list[tuple[np.ndarray, np.ndarray]] = []
    queues = [[one for one in drawn.labels if sides[one.point] == side] for side in SIDES]
    for rank in range(max(map(len, queues), default=0)):
        for one in (queue[rank] for queue in queues if rank < len(queue)):
            text = one.text if len(one.text) <= 30 else one.text[:29] + "…"
            low = places[one.point] + inch * [0.04, -0.07]
            high = low + inch * [LETTER * len(text), 0.14]
            inside = high[0] < right and high[1] < top and low[1] > bottom
            if inside and all((high < other_low).any() or (low > other_high).any() for other_low, other_high in taken):
                taken.append((low, high))
                axes.text(low[0], places[one.point][1], text, fontsize=7, va="center", color=INK)
