"""Typed tables become plain values at the very end, under their fields' names."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ckd_dist.report.page import inline, plain, write_pages


class Pair(NamedTuple):
    source: str
    target: str


@dataclass(frozen=True)
class Words:
    value: str


@dataclass(frozen=True)
class Row:
    pair: Pair
    value: float
    cells: dict[str, tuple[float, ...]]


def test_plain_keeps_names_and_values() -> None:
    row = Row(Pair("a", "b"), np.float64("nan"), {"one": (np.float32(0.5), float("inf")), 2: ()})
    assert plain([row]) == [
        {"pair": {"source": "a", "target": "b"}, "value": None, "cells": {"one": [0.5, None], "2": []}}
    ]
    json.dumps(plain(row), allow_nan=False)


def test_an_inline_field_leaves_its_own_fields() -> None:
    @dataclass(frozen=True)
    class Score:
        pair: Pair = inline()
        words: Words = inline()
        seeds: int = 1

    assert plain(Score(Pair("a", "b"), Words("one"))) == {"source": "a", "target": "b", "value": "one", "seeds": 1}


def test_a_name_of_two_parts_is_refused(tmp_path: Path) -> None:
    """One would hide the other in metrics.json."""
    with pytest.raises(ValueError, match="value"):
        write_pages(tmp_path, __package__, [Row(Pair("a", "b"), 1.0, {}), Words("one")], {})
    assert not list(tmp_path.iterdir())
