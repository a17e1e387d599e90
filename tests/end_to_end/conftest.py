"""Two finished roads, each travelled once a session, and copies of them to break."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from ckd_dist import recipes
from ckd_dist.config import Recipe
from ckd_dist.schema import Run
from tests.end_to_end.small import (
    DRUG,
    FREE_TEXT,
    SUBJECT,
    SYNTHETIC,
    THREE_LABELS,
    VISIT,
    copy_of,
    hospital,
    travel,
    write_table,
)


@pytest.fixture(scope="session", autouse=True)
def private_files() -> Iterator[None]:
    """The command line makes new files private; put the process back as it was."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of a synthetic hospital.  Read it; copy it to change anything."""
    return travel(tmp_path_factory.mktemp("road") / "run", SYNTHETIC)


@pytest.fixture(scope="session")
def recipe(travelled: Run) -> Recipe:
    return recipes.load(str(travelled.recipe))


@pytest.fixture
def copy(travelled: Run, tmp_path: Path) -> Run:
    """The finished run, to break."""
    return copy_of(travelled, tmp_path / "copy")


@pytest.fixture(scope="session")
def own_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's label set."""
    file = tmp_path_factory.mktemp("labels") / "three.yaml"
    file.write_text(THREE_LABELS)
    return file


@pytest.fixture(scope="session")
def marked_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MIMIC-III tables with words and ids that can be found again: one patient's drug, free text, every id."""
    folder = tmp_path_factory.mktemp("marked")
    for name, table in hospital(folder, 200).items():
        if "SUBJECT_ID" in table.columns:
            table = table.with_columns((pl.col("SUBJECT_ID").cast(pl.Int64) + SUBJECT).cast(pl.String))
        if "HADM_ID" in table.columns:
            table = table.with_columns((pl.col("HADM_ID").cast(pl.Int64) + VISIT).cast(pl.String))
        if name == "PRESCRIPTIONS":
            first = pl.col("HADM_ID") == pl.col("HADM_ID").first()
            table = table.with_columns(DRUG=pl.when(first).then(pl.lit(DRUG)).otherwise("DRUG"))
        if name == "ADMISSIONS":
            table = table.with_columns(DIAGNOSIS=pl.lit(FREE_TEXT))
        write_table(folder, name, table)
    return folder


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory, marked_tables: Path, own_labels: Path) -> Run:
    """A finished run of the marked tables, with the user's own three labels."""
    folder = tmp_path_factory.mktemp("marked") / "run"
    return travel(folder, f"mimic3:{marked_tables}", f"select.labels={own_labels}")


@pytest.fixture
def copier(tmp_path: Path) -> Callable[[Run], Run]:
    return lambda run: copy_of(run, tmp_path / f"copy_of_{run.root.parent.name}")
