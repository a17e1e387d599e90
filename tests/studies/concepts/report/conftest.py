"""One synthetic run, its numbers and its pages."""

from pathlib import Path
from typing import Any

import pytest

from ckd_dist.studies.concepts.report.measure import measure
from ckd_dist.studies.concepts.report.page import write_report
from ckd_dist.studies.concepts.report.results import Results
from tests.studies.concepts.report.fakes import make_results


@pytest.fixture(scope="session")
def results() -> Results:
    return make_results(num_outcomes=3, maps=True)


@pytest.fixture(scope="session")
def numbers(results: Results) -> dict[str, Any]:
    return measure(results)


@pytest.fixture(scope="session")
def written(numbers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(numbers, folder)
    return folder
