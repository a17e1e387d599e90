"""Nearest neighbours, the map of the concepts, and which of them carry the loss."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from ckd_dist.report.bootstrap import resample
from ckd_dist.studies.concepts.cases.table import CASES
from ckd_dist.studies.concepts.report.attribution import carriers, flatten, maps, neighbours
from ckd_dist.studies.concepts.report.results import Results, Space
from ckd_dist.studies.concepts.report.tables import ConceptTables
from tests.studies.concepts.report.fakes import EMBEDDINGS, NUM_CONCEPTS, NUM_SHARED, make_cases, make_results


def test_subjects_are_counted_not_cases() -> None:
    """Forty cases of one subject make nobody's concept a common one."""
    cases = make_cases(80, 1, seed=0).with_columns(subject_id=pl.when(pl.col("site") == "north").then(7).otherwise(8))
    results = dataclasses.replace(make_results(maps=True), cases=cases.cast(dict(CASES)))
    assert neighbours(results) == []
    (one, _) = maps(results)
    assert one.labels == []


def test_neighbours_are_the_nearest() -> None:
    """Every concept of the south points nearly where one of the north does, its partner."""
    results = make_results()
    random = np.random.default_rng(0)
    vectors_VD = random.normal(size=(NUM_CONCEPTS, 16))
    vectors_VD[2 * NUM_SHARED :] = 3 * vectors_VD[NUM_SHARED : 2 * NUM_SHARED] + 0.1 * random.normal(size=(20, 16))
    found = neighbours(dataclasses.replace(results, spaces=[Space("pairs", vectors_VD)]))
    texts = results.concepts["text"].to_list()
    assert len(found) == 16
    for line in found:
        concept = texts.index(line.text)
        partner = concept + (NUM_SHARED if line.target == "north" else -NUM_SHARED)
        assert line.nearest[0].text == texts[partner]
        first, second = vectors_VD[concept], vectors_VD[partner]
        cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        assert line.nearest[0].cosine == pytest.approx(cosine)
        assert [one.cosine for one in line.nearest] == sorted((one.cosine for one in line.nearest), reverse=True)


def test_the_map_tells_sites_apart(results: Results, tables: ConceptTables) -> None:
    has = {site: set(own["concepts"].explode()) for (site,), own in results.cases.group_by("site")}
    both = has["north"] & has["south"]
    for one in tables.maps:
        assert len(one.places) == len(one.sides) == len(has["north"] | has["south"])
        assert [one.sides.count(side) for side in ("source", "both", "target")] == [
            len(has["north"] - both),
            len(both),
            len(has["south"] - both),
        ]
        assert np.isfinite(one.places).all()


@pytest.mark.parametrize("vectors", [np.zeros((30, 5)), np.ones((4, 1)), np.eye(12)])
def test_odd_spaces_have_a_map(vectors: np.ndarray) -> None:
    places, _ = flatten(vectors, seed=0)
    assert places.shape == (len(vectors), 2)
    assert np.isfinite(places).all()


def test_the_concept_that_carries_the_loss_is_found() -> None:
    """The shared model errs where concept 3 is, is better where concept 7 is, and says the same elsewhere."""
    results = make_results(num_seeds=2, sizes=())
    target = next(target for target in results.targets if target.site == "south")
    concepts = dict(results.cases.select("case_id", "concepts").iter_rows())
    has = {v: np.array([[v in concepts[case]] for case in target.case_id_N]) for v in (3, 7)}
    says = np.where(target.outcomes_NK == 1, 0.6, 0.4)
    shared = np.where(has[3], 1 - says, np.where(has[7], says + np.sign(says - 0.5) * 0.3, says))
    scored = [
        dataclasses.replace(one, probabilities_NK=shared if one.regime == "shared" else says)
        for one in results.scored
        if one.target == "south"
    ]
    found = carriers(
        dataclasses.replace(results, scored=scored),
        {"south": resample(target.subject_N, 200, 0)},
    )
    assert len(found) == len(EMBEDDINGS)
    texts = results.concepts["text"].to_list()
    for line in found:
        lost, gained = line.lost[0], line.gained[0]
        assert (line.against, lost.text, gained.text) == ("local", texts[3], texts[7])
        assert lost.value == pytest.approx(np.log(0.6 / 0.4))
        assert lost.low == pytest.approx(lost.value)
        assert gained.low < gained.value < gained.high < 0
        only = has[7] & ~has[3]
        expected = (np.log(0.6 / 0.9) * only.sum() + np.log(0.6 / 0.4) * (has[7] & has[3]).sum()) / has[7].sum()
        assert gained.value == pytest.approx(expected)
