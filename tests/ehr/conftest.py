"""Where the open data lies, and the small hospital on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data import DATA
from tests.ehr.small import MIMIC3, write


@pytest.fixture
def mimic3(tmp_path: Path) -> Path:
    return write(tmp_path / "mimic3", MIMIC3)


@pytest.fixture(scope="session")
def open_data() -> Callable[[str], Path]:
    """A path below the open data, or a skip."""

    def find(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"open data {name} is not there: set CKD_DATA")
        return DATA / name

    return find
