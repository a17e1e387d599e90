"""Write the third study's numbers as metrics.json, report.md and report.html: all three say the same.

Both pages are made of the same plain tables, which are laid out here: rows are embedding and regime; columns are pairs
of sites, or, where there are several outcomes but few, the outcomes of one pair.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ckd_dist.report.page import write_pages
from ckd_dist.report.wording import count_and_share
from ckd_dist.studies.concepts.report import plots
from ckd_dist.studies.concepts.report.wording import KINDS, MACRO, REGIMES, place, shown_outcomes

MOST_COLUMNS = 6  # pairs beside one another; more go below one another, by target
MOST_PAIRS = 6  # whose neighbours and concepts are shown; the others are in metrics.json


def write_report(numbers: dict[str, Any], folder: Path) -> None:
    """Write the three files into `folder`.  numbers: what measure.measure returns."""
    drawings = {f"map {place}": plots.map_plot(one) for place, one in enumerate(numbers["maps"])}
    for model in numbers["models"]:
        drawings[f"size {model}"] = plots.size_plot(numbers, model)
        drawings[f"steps {model}"] = plots.step_plot(numbers, model)
    write_pages(
        folder,
        __package__,
        [numbers],
        drawings,
        score_tables=score_tables(numbers),
        difference_tables={kind: difference_tables(numbers, kind) for kind in KINDS},
        neighbour_tables=neighbour_tables(numbers),
        sized=size_table(numbers),
        shown_carriers=shown_carriers(numbers),
        regimes={name: text for name, text in REGIMES.items() if any(s["regime"] == name for s in numbers["scores"])},
        limits=f"at most {plots.MOST_ROWS} pairs and {plots.MOST_COLUMNS} embeddings are drawn",
        show=place,
        positives=positives,
    )


def blocks(numbers: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str, str, str]]]]:
    """Yield tables as (heading, columns); a column is (title, source, target, outcome)."""
    pairs, outcomes = numbers["pairs"], shown_outcomes(numbers)
    if len(outcomes) > 1:
        for source, target in pairs:
            yield place(source, target), [(group, source, target, group) for group in outcomes]
    elif len(pairs) <= MOST_COLUMNS:
        yield "", [(place(*pair), *pair, MACRO) for pair in pairs]
    else:
        for target in dict.fromkeys(target for _, target in pairs):
            own = [pair for pair in pairs if pair[1] == target]
            yield f"to {target}", [(place(*pair), *pair, MACRO) for pair in own]


def table(
    title: str, columns: list[tuple[str, str, str, str]], rows: list[tuple[str, str, str, Callable[..., Any]]]
) -> dict[str, Any]:
    """Lay out one table.  rows: group, title, role, and what finds the cell of (source, target, outcome)."""
    found = [
        {"group": group, "title": name, "role": role, "cells": [cell_of(*column[1:]) for column in columns]}
        for group, name, role, cell_of in rows
    ]
    found = [row for row in found if any(row["cells"])]
    return {"title": title, "columns": [column[0] for column in columns], "rows": found}


def size_table(numbers: dict[str, Any]) -> dict[str, Any]:
    """Lay out a row for what was also learned from fewer cases of the target; a column a size."""
    lines: dict[tuple[str, str, str, str, str], dict[int | None, Any]] = {}
    for score in numbers["scores"]:
        name = (score["embedding"], score["model"], score["regime"], score["source"], score["target"])
        lines.setdefault(name, {})[score["size"]] = score["auroc"][MACRO]
    sizes = sorted({score["size"] for score in numbers["scores"]} - {None})
    return {
        "columns": [f"{size:,} cases" for size in sizes] + ["all"] if sizes else [],
        "rows": [
            {
                "title": f"{embedding}, {regime}" + (f", {model}" if len(numbers["models"]) > 1 else ""),
                "pair": place(source, target),
                "cells": [cells.get(size) for size in [*sizes, None]],
            }
            for (embedding, model, regime, source, target), cells in lines.items()
            if set(cells) != {None}
        ],
    }


def score_tables(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Lay out the AUROC of everything that was run on all of the target's cases; baselines and oracle below."""
    kinds = list(
        dict.fromkeys(
            (s["embedding"], s["regime"])
            for e in numbers["embeddings"]
            for s in numbers["scores"]
            if s["embedding"] == e
        )
    )
    cells = {
        (s["embedding"], s["model"], s["regime"], s["source"], s["target"]): s["auroc"]
        for s in numbers["scores"]
        if s["size"] is None
    }
    baselines = {(one["name"], one["target"]): one["auroc"] for one in numbers["baselines"]}
    roles = {one["name"]: one["role"] for one in sorted(numbers["baselines"], key=lambda one: one["role"])}

    def of_line(model: str, embedding: str, regime: str) -> Callable[..., Any]:
        def cell_of(source: str, target: str, outcome: str) -> Any:
            own = target if regime == "local" else source
            return cells.get((embedding, model, regime, own, target), {}).get(outcome)

        return cell_of

    def of_baseline(name: str) -> Callable[..., Any]:
        return lambda source, target, outcome: baselines.get((name, target), {}).get(outcome)

    return [
        {"model": model}
        | table(
            title,
            columns,
            [(embedding, regime, "", of_line(model, embedding, regime)) for embedding, regime in kinds]
            + [("", name, role, of_baseline(name)) for name, role in roles.items()],
        )
        for model in numbers["models"]
        for title, columns in blocks(numbers)
    ]


def difference_tables(numbers: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Lay out the AUROC differences of one kind."""
    lines = [line for line in numbers["differences"] if line["kind"] == kind]
    cells = {(row_title(line), line["model"], line["source"], line["target"]): line["auroc"] for line in lines}
    local = {row_title(line) for line in lines if line["first"]["regime"] == "local"}

    def of_row(model: str, name: str) -> Callable[..., Any]:
        def cell_of(source: str, target: str, outcome: str) -> Any:
            return cells.get((name, model, target if name in local else source, target), {}).get(outcome)

        return cell_of

    names = list(dict.fromkeys(name for name, *_ in cells))
    made = [
        {"model": model} | table(title, columns, [("", name, "", of_row(model, name)) for name in names])
        for model in numbers["models"]
        for title, columns in blocks(numbers)
    ]
    return [one for one in made if one["rows"]]


def row_title(line: dict[str, Any]) -> str:
    """Name a difference's row: the embedding whose regimes differ, or the two embeddings in one regime."""
    first, second = line["first"], line["second"]
    if first["embedding"] == second["embedding"]:
        return first["embedding"]
    return f"{first['embedding']} − {second['embedding']}, {first['regime']}"


def neighbour_tables(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Lay out a table a pair: a target concept a row, an embedding a column."""
    tables = []
    for source, target in numbers["pairs"][:MOST_PAIRS]:
        own = [line for line in numbers["neighbours"] if (line["source"], line["target"]) == (source, target)]
        columns = list(dict.fromkeys(line["embedding"] for line in own))
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for line in own:
            rows.setdefault((line["text"], line["system"]), {})[line["embedding"]] = line["nearest"]
        if own:
            listed = [
                {"text": text, "system": system, "cells": [cells[name] for name in columns]}
                for (text, system), cells in rows.items()
            ]
            tables.append({"source": source, "target": target, "columns": columns, "rows": listed})
    return tables


def shown_carriers(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Return those of the first patient model and the first embedding that is no baseline, of the pairs shown."""
    lines = [line for line in numbers["carriers"] if line["model"] == numbers["models"][0]]
    names = [line["embedding"] for line in lines if line["embedding"] != numbers["one_hot"]]
    return [line for line in lines if line["embedding"] == (names or [numbers["one_hot"]])[0]][:MOST_PAIRS]


def positives(split: dict[str, Any], outcome: str) -> str:
    """Say how many cases have an outcome, and the share; small counts are not shown."""
    return count_and_share(split["positives"][outcome], split["cases"])
