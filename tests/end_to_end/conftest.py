"""Two finished runs, each finished once a session, and copies of them to break."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from ckd_dist.ehr.splits import split_of
from ckd_dist.schema import FEWEST_SUBJECTS
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.recipes import RECIPES
from ckd_dist.studies.disease.runfolder import DiseaseRun
from tests.end_to_end.small import (
    DRUG,
    FEW,
    FREE_TEXT,
    SUBJECT,
    SYNTHETIC,
    THREE_LABELS,
    VISIT,
    copy_of,
    hospital,
    recipe_of,
    run_pipeline,
    write_table,
)


@pytest.fixture(scope="session", autouse=True)
def private_files() -> Iterator[None]:
    """The command line makes new files private; put the process back as it was."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> DiseaseRun:
    """A finished run of a synthetic hospital.  Read it; copy it to change anything."""
    return run_pipeline(tmp_path_factory.mktemp("finished") / "run", SYNTHETIC)


@pytest.fixture(scope="session")
def recipe(finished: DiseaseRun) -> DiseaseRecipe:
    return recipe_of(finished)


@pytest.fixture
def copy(finished: DiseaseRun, tmp_path: Path) -> DiseaseRun:
    """The finished run, to break."""
    return copy_of(finished, tmp_path / "copy")


@pytest.fixture(scope="session")
def own_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's label set."""
    file = tmp_path_factory.mktemp("labels") / "three.yaml"
    file.write_text(THREE_LABELS)
    return file


@pytest.fixture(scope="session")
def marked_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MIMIC-III tables with words and ids that can be found again: drugs of one and ten patients, free text, ids."""
    folder = tmp_path_factory.mktemp("marked")
    tables = hospital(folder, 200)
    one, *few = learned_from(tables["PRESCRIPTIONS"])[:FEWEST_SUBJECTS]
    for name, table in tables.items():
        if "SUBJECT_ID" in table.columns:
            table = table.with_columns((pl.col("SUBJECT_ID").cast(pl.Int64) + SUBJECT).cast(pl.String))
        if "HADM_ID" in table.columns:
            table = table.with_columns((pl.col("HADM_ID").cast(pl.Int64) + VISIT).cast(pl.String))
        if name == "PRESCRIPTIONS":
            subject, first = pl.col("SUBJECT_ID").cast(pl.Int64), pl.col("HADM_ID").is_first_distinct()
            planted = pl.when(subject == one).then(pl.lit(DRUG)).when(subject.is_in(few) & first).then(pl.lit(FEW))
            table = table.with_columns(DRUG=planted.otherwise("DRUG"))
        if name == "ADMISSIONS":
            table = table.with_columns(DIAGNOSIS=pl.lit(FREE_TEXT))
        write_table(folder, name, table)
    return folder


def learned_from(prescriptions: pl.DataFrame) -> list[int]:
    """The subjects of train, as the tables number them once marked, with most visits with a drug first."""
    ids = pl.col("SUBJECT_ID").cast(pl.Int64) + SUBJECT
    visits = prescriptions.group_by(ids).agg(pl.col("HADM_ID").n_unique()).sort("HADM_ID", ids, descending=True)
    settings = RECIPES["tiny"]().extract
    shares = {"train": settings.train_fraction, "tuning": settings.tuning_fraction}
    split_N = split_of(visits["SUBJECT_ID"].to_numpy(), **shares, seed=settings.split_seed)
    return visits["SUBJECT_ID"].filter(pl.Series(split_N) == "train").to_list()


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory, marked_tables: Path, own_labels: Path) -> DiseaseRun:
    """A finished run of the marked tables, with the user's own three labels."""
    folder = tmp_path_factory.mktemp("marked") / "run"
    return run_pipeline(folder, f"mimic3:{marked_tables}", f"select.labels={own_labels}")


@pytest.fixture
def copier(tmp_path: Path) -> Callable[[DiseaseRun], DiseaseRun]:
    return lambda run: copy_of(run, tmp_path / f"copy_of_{run.root.parent.name}")
