"""What the report is made from: every experiment's probabilities, the vectors, and baselines.

Nothing is fitted here but the baselines.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from ckd_dist.engine.experiments import path_of
from ckd_dist.studies.concepts.cases.cases import read_cases
from ckd_dist.studies.concepts.grid import Experiment, GridOptions, list_experiments, model_names
from ckd_dist.studies.concepts.report.baselines import site_baselines
from ckd_dist.studies.concepts.report.results import Scored, Space, Target, target_of
from ckd_dist.studies.concepts.result import Result
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.tables import ONE_HOT, RANDOM, Table, keys_of


def read_scored(run: ConceptsRun, grid: GridOptions, embeddings: Sequence[str]) -> list[Scored]:
    """Read what every experiment found at a site of this run, in the order of the report."""
    cases = read_cases(run)
    experiments, _ = list_experiments(grid, embeddings, cases.num_train)
    results = [Result.read(path_of(run.experiments, experiment)) for experiment in experiments]
    results.sort(key=lambda result: place_of(grid, embeddings, result.experiment))
    return [_scored(result) for result in results if result.experiment.target in cases.sites]


def place_of(grid: GridOptions, embeddings: Sequence[str], experiment: Experiment) -> tuple:
    """Return an experiment's place in the report: as the recipe names things, not as they were run."""
    return (
        embeddings.index(experiment.embedding),
        model_names(grid.models).index(experiment.model),
        grid.regimes.index(experiment.regime) if experiment.regime in grid.regimes else -1,
        experiment,
    )


def targets_of(scored: Sequence[Scored], cases: pl.DataFrame, num_concepts: int) -> list[Target]:
    """Return the held-out cases of every site that something was scored at, baselines beside them."""
    sites = dict.fromkeys(one.target for one in scored)
    return [target_of(cases, site, site_baselines(cases, site, num_concepts)) for site in sites]


def read_spaces(run: ConceptsRun, embeddings: Mapping[str, int | None], concepts: pl.DataFrame) -> list[Space]:
    """Read the vectors of every embedding whose directions mean something."""
    keys_V = keys_of(concepts)
    names = [name for name in embeddings if name not in (ONE_HOT, RANDOM)]
    return [Space(name, Table.open(run.vectors(name)).rows_of(keys_V)) for name in names]


def _scored(result: Result) -> Scored:
    return Scored(
        **vars(result.experiment),
        case_id_N=result.case_id_N,
        probabilities_NK=result.probabilities_NK,
        curve=result.curve,
        seconds=result.seconds,
    )
