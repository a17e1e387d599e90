"""One small run that the tests of this study share: read it; fork it to change anything."""

import pytest

from ckd_dist.studies.concepts.experiment import ExperimentWorker
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from tests.studies.concepts.small import SMALL, build, do_stage, results, worker_of


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> ConceptsRun:
    """Everything before the grid."""
    return build(SMALL, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def worker(run) -> ExperimentWorker:
    """Of a run whose grid is done: in order, by one worker."""
    do_stage("transfer", SMALL, run)
    return worker_of(SMALL, run)


@pytest.fixture(scope="session")
def done(worker, run) -> dict:
    """Its results by experiment."""
    return results(SMALL, run)
