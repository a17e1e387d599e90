"""Write the numbers and sentences of concepts as metrics.json, report.md and report.html: all three say the same."""

from pathlib import Path

from ckd_dist.report.page import write_pages
from ckd_dist.report.provenance import Provenance
from ckd_dist.report.wording import count_and_share
from ckd_dist.studies.concepts.report import plots
from ckd_dist.studies.concepts.report.grids import (
    difference_grids,
    neighbour_grids,
    score_grids,
    shown_carriers,
    size_grid,
)
from ckd_dist.studies.concepts.report.tables import ConceptTables, SplitCounts
from ckd_dist.studies.concepts.report.wording import KINDS, REGIMES, ConceptSentences, place


def write_report(provenance: Provenance, tables: ConceptTables, sentences: ConceptSentences, folder: Path) -> None:
    """Write the three files into `folder`."""
    drawings = {f"map {number}": plots.map_plot(one) for number, one in enumerate(tables.maps)}
    for model in tables.models:
        drawings[f"size {model}"] = plots.size_plot(tables, model)
        drawings[f"steps {model}"] = plots.step_plot(tables, model)
    run = {score.line.regime for score in tables.scores}
    write_pages(
        folder,
        __package__,
        (provenance, tables, sentences),
        drawings,
        score_grids=score_grids(tables),
        difference_grids={kind: difference_grids(tables, kind) for kind in KINDS},
        neighbour_grids=neighbour_grids(tables),
        sized=size_grid(tables),
        shown_carriers=shown_carriers(tables),
        regimes={name: text for name, text in REGIMES.items() if name in run},
        limits=f"at most {plots.MOST_ROWS} pairs and {plots.MOST_COLUMNS} embeddings are drawn",
        show=place,
        positives=positives,
    )


def positives(split: SplitCounts, outcome: str) -> str:
    """Say how many cases have an outcome, and the share; small counts are not shown."""
    return count_and_share(split.positives[outcome], split.cases)
