"""Lay out what the pages show of the tables: rows are embedding and regime, columns are pairs of sites, or outcomes.

Where there are several outcomes but few, the outcomes of one pair stand beside one another, else the pairs.  A line
without a source stands in every column of its target.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckd_dist.report.compare import Difference
from ckd_dist.studies.concepts.report.results import LOCAL, Line
from ckd_dist.studies.concepts.report.tables import (
    MACRO,
    Carriers,
    ConceptTables,
    LineDifference,
    Neighbour,
    SeedEstimate,
)
from ckd_dist.studies.concepts.report.wording import place, shown_outcomes

MOST_COLUMNS = 6  # pairs beside one another; more go below one another, by target
MOST_PAIRS = 6  # whose neighbours and concepts are shown; the others are in metrics.json


class Row(NamedTuple):
    """What names a row.  role: of a baseline or oracle."""

    group: str
    title: str
    role: str = ""


class Column(NamedTuple):
    """What names a column."""

    source: str
    target: str
    outcome: str


class Place(NamedTuple):
    """Where a cell stands."""

    row: Row
    model: str
    column: Column


Cell = SeedEstimate | Difference


@dataclass(frozen=True)
class GridRow:
    """A row and its cells, None where nothing was run."""

    group: str
    title: str
    role: str
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class Grid:
    """A table of one patient model.  columns: their titles."""

    model: str
    title: str
    columns: Sequence[str]
    rows: Sequence[GridRow]


@dataclass(frozen=True)
class SizeRow:
    """A line's cells by size."""

    title: str
    pair: str
    cells: Sequence[SeedEstimate | None]


@dataclass(frozen=True)
class SizeGrid:
    """A row for what was also learned from fewer cases of the target; a column a size."""

    columns: Sequence[str]
    rows: Sequence[SizeRow]


@dataclass(frozen=True)
class NeighbourRow:
    """A target concept and the nearest source concepts by every embedding."""

    text: str
    system: str
    cells: Sequence[Sequence[Neighbour]]


@dataclass(frozen=True)
class NeighbourGrid:
    """A table of one pair.  columns: embeddings."""

    source: str
    target: str
    columns: Sequence[str]
    rows: Sequence[NeighbourRow]


def score_grids(tables: ConceptTables) -> list[Grid]:
    """Lay out the AUROC of everything that was run on all of the target's cases; baselines and oracle below."""
    cells: dict[Place, Cell] = {}
    for score in tables.scores:
        line = score.line
        if line.size is None:
            for pair in pairs_of(line, tables):
                cells |= placed(Row(line.embedding, line.regime), line.model, pair, score.auroc)
    for one in tables.baselines:
        for model in tables.models:
            for pair in (pair for pair in tables.pairs if pair[1] == one.target):
                cells |= placed(Row("", one.name, one.role), model, pair, one.auroc)
    lines = sorted((score.line for score in tables.scores), key=lambda line: tables.embeddings.index(line.embedding))
    rows = [Row(line.embedding, line.regime) for line in lines]
    rows += [Row("", one.name, one.role) for one in sorted(tables.baselines, key=lambda one: one.role)]
    return lay_out(tables, rows, cells)


def difference_grids(tables: ConceptTables, kind: str) -> list[Grid]:
    """Lay out the AUROC differences of one kind, leaving out tables without a row."""
    cells: dict[Place, Cell] = {}
    lines = [line for line in tables.differences if line.kind == kind]
    for line in lines:
        for pair in pairs_of(line.first, tables):
            cells |= placed(Row("", row_title(line)), line.model, pair, line.auroc)
    grids = lay_out(tables, [Row("", row_title(line)) for line in lines], cells)
    return [grid for grid in grids if grid.rows]


def pairs_of(line: Line, tables: ConceptTables) -> list[tuple[str, str]]:
    """Return the pairs in whose columns a line stands: every one of its target where it has no source."""
    own = [(source, target) for source, target in tables.pairs if target == line.target]
    return own if line.regime == LOCAL else [(source, target) for source, target in own if source == line.source]


def placed(row: Row, model: str, pair: tuple[str, str], by_outcome: Mapping[str, Cell]) -> dict[Place, Cell]:
    """Return the cells of every outcome by where they stand."""
    return {Place(row, model, Column(*pair, outcome)): cell for outcome, cell in by_outcome.items()}


def lay_out(tables: ConceptTables, rows: Sequence[Row], cells: Mapping[Place, Cell]) -> list[Grid]:
    """Lay out a table for every patient model and block of columns; a row without any cell is left out."""
    grids = []
    for model in tables.models:
        for title, columns in blocks(tables):
            found = [
                GridRow(*row, [cells.get(Place(row, model, column)) for column in columns.values()])
                for row in dict.fromkeys(rows)
            ]
            grids.append(Grid(model, title, list(columns), [row for row in found if any(row.cells)]))
    return grids


def blocks(tables: ConceptTables) -> Iterator[tuple[str, dict[str, Column]]]:
    """Yield tables as (heading, columns by title)."""
    pairs, outcomes = tables.pairs, shown_outcomes(tables)
    if len(outcomes) > 1:
        for source, target in pairs:
            yield place(source, target), {outcome: Column(source, target, outcome) for outcome in outcomes}
    elif len(pairs) <= MOST_COLUMNS:
        yield "", {place(*pair): Column(*pair, MACRO) for pair in pairs}
    else:
        for target in dict.fromkeys(target for _, target in pairs):
            own = [pair for pair in pairs if pair[1] == target]
            yield f"to {target}", {place(*pair): Column(*pair, MACRO) for pair in own}


def row_title(line: LineDifference) -> str:
    """Name a difference's row: the embedding whose regimes differ, or the two embeddings in one regime."""
    first, second = line.first, line.second
    if first.embedding == second.embedding:
        return first.embedding
    return f"{first.embedding} − {second.embedding}, {first.regime}"


def size_grid(tables: ConceptTables) -> SizeGrid:
    """Lay out a row for what was also learned from fewer cases of the target; a column a size."""
    lines: dict[Line, dict[int | None, SeedEstimate]] = {}
    for score in tables.scores:
        lines.setdefault(score.line._replace(size=None), {})[score.line.size] = score.auroc[MACRO]
    sizes = sorted({score.line.size for score in tables.scores} - {None})
    return SizeGrid(
        [f"{size:,} cases" for size in sizes] + ["all"] if sizes else [],
        [
            SizeRow(
                f"{line.embedding}, {line.regime}" + (f", {line.model}" if len(tables.models) > 1 else ""),
                place(line.source, line.target),
                [cells.get(size) for size in [*sizes, None]],
            )
            for line, cells in lines.items()
            if set(cells) != {None}
        ],
    )


def neighbour_grids(tables: ConceptTables) -> list[NeighbourGrid]:
    """Lay out a table a pair: a target concept a row, an embedding a column."""
    grids = []
    for pair in tables.pairs[:MOST_PAIRS]:
        own = [line for line in tables.neighbours if (line.source, line.target) == pair]
        columns = list(dict.fromkeys(line.embedding for line in own))
        nearest = {(line.text, line.system, line.embedding): line.nearest for line in own}
        rows = [
            NeighbourRow(text, system, [nearest[text, system, name] for name in columns])
            for text, system in dict.fromkeys((line.text, line.system) for line in own)
        ]
        if own:
            grids.append(NeighbourGrid(*pair, columns, rows))
    return grids


def shown_carriers(tables: ConceptTables) -> list[Carriers]:
    """Return those of the first patient model and the first embedding that is no baseline, of the pairs shown."""
    lines = [line for line in tables.carriers if line.model == tables.models[0]]
    names = [line.embedding for line in lines if line.embedding != tables.one_hot]
    return [line for line in lines if line.embedding == (names or [tables.one_hot])[0]][:MOST_PAIRS]
