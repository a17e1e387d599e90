"""Parts of a report that do not fit together are refused; a target is its held-out cases."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from ckd_dist.studies.concepts.cases.table import CASES
from ckd_dist.studies.concepts.report.measure import measure
from ckd_dist.studies.concepts.report.results import Results, Space, target_of
from tests.studies.concepts.report.fakes import make_cases, make_results


def first_changed(results: Results, **changes: Any) -> dict[str, Any]:
    return {"scored": [dataclasses.replace(results.scored[0], **changes), *results.scored[1:]]}


WRONG: dict[str, Callable[[Results], dict[str, Any]]] = {
    "no experiment was run": lambda r: {"scored": []},
    "target is none of": lambda r: first_changed(r, target="west"),
    "source is neither": lambda r: first_changed(r, source="west", regime="shared"),
    "given twice": lambda r: {"scored": [*r.scored, r.scored[0]]},
    "not south's held-out cases": lambda r: first_changed(r, case_id_N=r.scored[0].case_id_N[::-1]),
    "shape": lambda r: first_changed(r, probabilities_NK=r.scored[0].probabilities_NK[:, :0]),
    "not between 0 and 1": lambda r: first_changed(r, probabilities_NK=r.scored[0].probabilities_NK * np.nan),
    "3 vectors for 60": lambda r: {"spaces": [Space("student", np.ones((3, 2)))]},
    "north: no held-out case": lambda r: {"targets": [target_of(r.cases.clear(), "north"), r.targets[1]]},
}


@pytest.mark.parametrize("message", WRONG)
def test_results_that_do_not_fit_are_refused(message: str) -> None:
    results = make_results(32, num_seeds=1, sizes=())
    with pytest.raises(ValueError, match=message):
        measure(dataclasses.replace(results, **WRONG[message](results)))


def test_a_target_is_its_held_out_cases() -> None:
    cases = make_cases(32, 2, seed=0)
    target = target_of(cases.sample(fraction=1, shuffle=True, seed=1), "south")
    own = cases.filter((pl.col("site") == "south") & (pl.col("split") == "held_out"))
    assert target.case_id_N.tolist() == own["case_id"].to_list()
    assert target.outcomes_NK.tolist() == own["outcomes"].to_list()
    assert target.oracle_NK is not None
    hidden = cases.with_columns(oracle=pl.lit(None, dtype=CASES["oracle"]))
    assert target_of(hidden, "south").oracle_NK is None
