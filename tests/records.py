"""Records of stages, written as `run_stage` writes them, for stages that a test has not run."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ckd_dist import record


def write_record(ledger: record.Ledger, name: str, files: Iterable[Path], numbers: Mapping[str, Any] = {}) -> None:
    """Say that stage `name` has made `files` from what the recipe and the run folder hold now."""
    depends = ledger.fields(name), ledger.inputs(name)
    hashes = record.hashes_of(ledger.run, files)
    record.finish(ledger.run, record.Record(name, *depends, hashes, dict(numbers)))
