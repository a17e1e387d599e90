"""Table 1 counts what a person would count, and hides small cells."""

from collections.abc import Callable

import numpy as np
import polars as pl

from ckd_dist.studies.disease.report import table1

Make = Callable[..., pl.DataFrame]


def test_counts(samples: Make) -> None:
    """100 visits of 50 patients, every tenth without a next one; and 4 visits of 2 patients."""
    found = table1.table1({"train": samples(100, 1), "held_out": samples(4, 2)}, ["a", "b", "c", "d"])
    assert found.columns == ("train", "held_out", "all")
    lines = {line.title: line.cells for line in found.lines}
    assert lines["Patients"] == ("50", "<5", "52")
    assert lines["Visits"] == ("100", "<5", "104")
    assert lines["Pairs: visits whose next one is seen"] == ("90", "<5", "93")
    assert lines["Age at discharge, years"][1] == "–"
    assert lines["east"] == ("50 (50.0 %)", "<5", "52 (50.0 %)")
    assert lines["Age, share of visits"] == ()
    labels = samples(100, 1)["labels"].drop_nulls().to_list()
    positives = sum(bits[2] for bits in labels)
    assert lines["c"][0] == f"{positives} ({100 * positives / 90:.1f} %)"


def test_all_lines_have_a_cell_for_every_column(samples: Make) -> None:
    found = table1.table1(
        {"train": samples(30, 1), "tuning": samples(30, 2).head(0), "held_out": samples(8, 3)}, "abcd"
    )
    assert {len(line.cells) for line in found.lines} == {0, 4}


def test_groups(samples: Make) -> None:
    found = table1.groups_of(samples(12))
    assert found["Age"][:3].tolist() == ["unknown", "18–44", "18–44"]
    assert found["Sex"][:3].tolist() == ["unknown", "F", "M"]
    assert set(found["Site"]) == {"east", "west"}
    assert all(isinstance(group_N, np.ndarray) and len(group_N) == 12 for group_N in found.values())
