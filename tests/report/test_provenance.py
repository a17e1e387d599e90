"""What was read stands in the report as the stages said it, and nobody can be counted from it."""

import doctest
from pathlib import Path

import pytest

from ckd_dist import record
from ckd_dist.record import Record
from ckd_dist.report import wording
from ckd_dist.report.provenance import what_was_read
from ckd_dist.runfolder import RunFolder


def test_doctests() -> None:
    assert doctest.testmod(wording).failed == 0


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("4 subjects", "<5 subjects"),
        ("1 subject died in hospital", "<5 subject died in hospital"),
        ("lost: 3 cases (no site named)", "lost: <5 cases (no site named)"),
        ("2 of 1,000 patients", "<5 of 1,000 patients"),
        ("5 subjects, 14 cases, 1,004 patients", "5 subjects, 14 cases, 1,004 patients"),
        ("3 rows of cases, 2 notes, 4 codes", "3 rows of cases, 2 notes, 4 codes"),
        ("0 subjects", "0 subjects"),
        ("0.4 cases a day", "0.4 cases a day"),
    ],
)
def test_few_persons_are_not_counted(said: str, shown: str) -> None:
    assert wording.masked(said) == shown


def test_stages_that_say_something_are_shown(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for stage, said in (("read", "3 subjects; lost: 2 rows of A; no B"), ("label", "")):
        record.finish(run, Record(stage, {}, {}, {}, {}, {}, said))
    assert what_was_read(run, "extract", "read", "label") == {"read": ["<5 subjects", "lost: 2 rows of A", "no B"]}
