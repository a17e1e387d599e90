"""One synthetic run, its tables and its pages."""

from pathlib import Path

import pytest

from ckd_dist.studies.concepts.report.measure import measure
from ckd_dist.studies.concepts.report.page import write_report
from ckd_dist.studies.concepts.report.results import Results
from ckd_dist.studies.concepts.report.tables import ConceptTables
from ckd_dist.studies.concepts.report.wording import sentences_of
from tests.studies.concepts.report.fakes import make_results


@pytest.fixture(scope="session")
def results() -> Results:
    return make_results(num_outcomes=3, maps=True)


@pytest.fixture(scope="session")
def tables(results: Results) -> ConceptTables:
    return measure(results)


@pytest.fixture(scope="session")
def written(results: Results, tables: ConceptTables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(results.provenance, tables, sentences_of(tables), folder)
    return folder
