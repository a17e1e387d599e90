"""What the third study's report is made from: every cell's probabilities, the vectors, and floors.  Nothing is fitted
here but the floors.
"""

import datetime
from collections.abc import Callable
from importlib.metadata import version

import polars as pl

from ckd_dist import stages
from ckd_dist.config import result_fields
from ckd_dist.schema import CASES, CONCEPTS, Run, check_columns
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.concepts.describe import notes_of, sources_in_words
from ckd_dist.studies.concepts.experiment import ONE_HOT, Planned, embeddings_of
from ckd_dist.studies.concepts.grid import Cell, Result, model_names
from ckd_dist.studies.concepts.report import page as transfer_report
from ckd_dist.studies.concepts.report.baselines import site_floors
from ckd_dist.studies.concepts.report.measure import measure
from ckd_dist.studies.concepts.report.results import Scored, Space, TransferResults, target_of
from ckd_dist.studies.concepts.tables import Table, keys_of
from ckd_dist.studies.disease.describe import without_places

PACKAGES = ("torch", "transformers", "peft", "ray", "numpy", "scikit-learn")


def report(recipe: ConceptRecipe, run: Run, track: Callable[..., None]) -> None:
    """Write the report."""
    settings, student = recipe.evaluate, recipe.student
    cases = check_columns(pl.read_parquet(run.cases), CASES, "cases")
    concepts = check_columns(pl.read_parquet(run.concepts), CONCEPTS, "concepts")
    planned = Planned(recipe, run)
    found = sorted(planned.results()[0], key=lambda result: place_of(recipe, result.cell))
    targets = dict.fromkeys(result.cell.target for result in found if result.cell.target in planned.cases.sites)
    track(1, 4)
    read, tabulated = stages.read(run, "read").numbers, stages.read(run, "tabulate").numbers
    moved = stages.read(run, "transfer").numbers
    results = TransferResults(
        title=recipe.name,
        source=sources_in_words(recipe.sites.sources),
        date=datetime.date.today().isoformat(),
        outcomes=planned.cases.names,
        cases=cases,
        concepts=concepts,
        targets=[target_of(cases, site, site_floors(cases, site, len(concepts))) for site in targets],
        scored=[_scored(result) for result in found if result.cell.target in targets],
        recipe=without_places(result_fields(recipe)),
        spaces=_spaces(recipe, run, concepts),
        one_hot=ONE_HOT,
        learned={student.name: student.of} if student.of else {},
        idle_share=moved["idle_share"],
        left_out={reason: excluded for reason, excluded, _ in read["flow"] if excluded},
        versions={name: version(name) for name in PACKAGES},
        notes=[*notes_of(recipe, tabulated), *(f"Not run: {what}." for what in moved["left_out"])],
        bootstrap_draws=settings.bootstrap_draws,
        seed=settings.seed,
        neighbours=settings.neighbours,
        least_subjects=settings.least_subjects,
    )
    track(2, 4)
    numbers = measure(results)
    track(3, 4)
    transfer_report.write(run.report, numbers)
    track(4, 4)


def place_of(recipe: ConceptRecipe, cell: Cell) -> tuple:
    """Where a cell stands in the report: as the recipe names things, not as they were run."""
    grid = recipe.grid
    return (
        embeddings_of(recipe).index(cell.embedding),
        model_names(grid.models).index(cell.model),
        grid.regimes.index(cell.regime) if cell.regime in grid.regimes else -1,
        cell,
    )


def _scored(result: Result) -> Scored:
    cell = result.cell
    return Scored(
        embedding=cell.embedding,
        model=cell.model,
        source=cell.source,
        target=cell.target,
        regime=cell.regime,
        size=cell.size,
        seed=cell.seed,
        case_id_N=result.case_id_N,
        probabilities_NK=result.probabilities_NK,
        curve=result.curve,
        seconds=result.seconds,
    )


def _spaces(recipe: ConceptRecipe, run: Run, concepts: pl.DataFrame) -> list[Space]:
    """The vectors of every embedding that means something."""
    names = [name for name in embeddings_of(recipe) if name not in (ONE_HOT, "random")]
    keys_V = keys_of(concepts)
    return [Space(name, Table.open(run.vectors(name)).rows_of(keys_V)) for name in names]
