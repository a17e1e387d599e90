"""EADF: counts by hand, the formula, and what it may and may not look at."""

import json
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.schema import FEWEST_SUBJECTS
from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from tests.studies.disease.prompts.samples import frame, sample

NAMES = ("A", "B")


def pairs(*rows: tuple[list[int], list[str], list[int] | None]) -> pl.DataFrame:
    """current bits, medications, next bits, each of a subject of its own"""
    return frame(
        [sample(sample_id=i, subject_id=i, current=c, medications=m, labels=n) for i, (c, m, n) in enumerate(rows)]
    )


def test_counts_by_hand():
    train = pairs(
        ([1, 0], ["x", "y"], [0, 0]),
        ([1, 0], ["x"], [0, 1]),
        ([1, 1], ["x", "x"], [1, 1]),  # a repeated name is one treatment
        ([1, 0], ["y"], [1, 0]),
        ([0, 1], ["y"], [0, 0]),
        ([1, 0], ["x"], None),  # no next visit: counts nowhere
    )
    knowledge = Knowledge.fit(train, NAMES, shrinkage=4, min_support=1)
    # A: 4 visits, gone after 2.  x: given 3, gone after 2.  y: given 2, gone after 1, which is the mean: not listed.
    # B: 2 visits, gone after 1.  y: given 1, gone after 1.  x: given 1, stayed.
    assert knowledge.resolved_share == (0.5, 0.5)
    assert knowledge.best_treatments([1, 1], m=5) == [
        (0, "x", pytest.approx((2 + 4 * 0.5) / (3 + 4))),
        (1, "y", pytest.approx((1 + 4 * 0.5) / (1 + 4))),
    ]
    assert knowledge.best_treatments([0, 1], m=5) == [(1, "y", pytest.approx(0.6))]
    assert knowledge.best_treatments([1, 1], m=0) == []


def test_a_rare_treatment_and_a_rare_disease_are_not_kept(tmp_path):
    train = pairs(*[([1, 0], ["common"], [0, 0])] * 5, *[([1, 0], [], [1, 0])] * 5, ([1, 1], ["rare"], [0, 0]))
    knowledge = Knowledge.fit(train, NAMES, shrinkage=1, min_support=5)
    assert [treatment for _, treatment, _ in knowledge.best_treatments([1, 1], m=9)] == ["common"]
    assert knowledge.resolved_share[1] is None
    knowledge.save(tmp_path / "knowledge.json")
    assert "rare" not in (tmp_path / "knowledge.json").read_text()


rows = st.tuples(
    st.lists(st.integers(0, 1), min_size=2, max_size=2),
    st.lists(st.sampled_from("abcdef"), max_size=4),
    st.none() | st.lists(st.integers(0, 1), min_size=2, max_size=2),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(rows, max_size=40), st.sampled_from([0.0, 1.0, 20.0]), st.integers(1, 4))
def test_equals_a_loop(train, shrinkage, min_support):
    knowledge = Knowledge.fit(pairs(*train), NAMES, shrinkage, min_support)
    for k in range(2):
        gone = [(set(m), 1 - n[k]) for c, m, n in train if n is not None and c[k]]
        expected = {}
        for drug in set().union(*(drugs for drugs, _ in gone)) if gone else ():
            here = [bit for drugs, bit in gone if drug in drugs]
            mean = np.mean([bit for _, bit in gone])
            efficacy = (sum(here) + shrinkage * mean) / (len(here) + shrinkage)
            if len(here) >= min_support and efficacy > mean + 1e-9:
                expected[drug] = efficacy
        listed = {
            t.name: t.efficacy for t in knowledge.treatments[k] if t.efficacy > knowledge.resolved_share[k] + 1e-9
        }
        assert listed == pytest.approx(expected)
        ranks = [(-t.efficacy, -t.subjects, t.name) for t in knowledge.treatments[k]]
        assert ranks == sorted(ranks)


def test_neither_the_order_of_rows_nor_their_identity_matters():
    drugs = random.Random(0).choices("abcdefgh", k=300)
    bits = np.random.default_rng(0).integers(0, 2, (300, 2)).tolist()
    train = pairs(*(([1, 1], [drug], bit) for drug, bit in zip(drugs, bits, strict=True)))
    other = train.sample(fraction=1, shuffle=True, seed=1)
    other = other.with_columns(subject_id=1000 - pl.col("subject_id"), hadm_id=pl.lit(7))
    assert Knowledge.fit(train, NAMES, 20, 3) == Knowledge.fit(other, NAMES, 20, 3)


def given_to(num_subjects: int, num_visits: int, drug: str) -> list[dict]:
    """Visits of some subjects, cured of A by a drug."""
    return [
        sample(sample_id=1000 * visit, subject_id=subject, current=[1, 0], medications=[drug], labels=[0, 0])
        for subject in range(num_subjects)
        for visit in range(num_visits)
    ]


RELAPSED = [sample(sample_id=n, subject_id=n, current=[1, 0], medications=[], labels=[1, 0]) for n in range(40)]


@pytest.mark.parametrize(("num_subjects", "leaves"), [(1, False), (2, False), (10, False), (11, True), (30, True)])
@pytest.mark.parametrize("num_visits", [1, 26])
@pytest.mark.parametrize("min_support", [1, 2, FEWEST_SUBJECTS])
def test_only_treatments_of_enough_subjects_may_leave(tmp_path, num_subjects, leaves, num_visits, min_support):
    """field/security.md S2: one patient's 26 visits are one patient; `mimic_demo` lists from 2 subjects on."""
    train = frame([*RELAPSED, *given_to(num_subjects, num_visits, "canarydrugone for smith")])
    knowledge = Knowledge.fit(train, NAMES, shrinkage=3, min_support=min_support)
    assert bool(knowledge.treatments[0]) == (num_subjects >= min_support)
    shared = knowledge.shareable(2)
    shared.save(tmp_path / "knowledge.json")
    assert ("canarydrugone" in (tmp_path / "knowledge.json").read_text()) == leaves
    assert Knowledge.load(tmp_path / "knowledge.json") == shared
    assert knowledge.account(2).kept == {"treatments of diseases in the student's knowledge": int(leaves)}
    assert ("fewer than 11 subjects" in knowledge.account(2).sentence()) == (min_support <= num_subjects < 11)


def test_what_leaves_is_what_texts_list_and_no_count(tmp_path):
    """The best `m` of every disease, in their order, an efficacy as a text shows it, and nothing to count from."""
    drugs = {"few": (10, 9), "a": (13, 5), "b": (13, 3), "c": (13, 2)}  # subjects, visits of each
    train = frame([*RELAPSED, *(row for drug, times in drugs.items() for row in given_to(*times, drug))])
    knowledge = Knowledge.fit(train, NAMES, 7, 1)
    assert [t.name for t in knowledge.treatments[0]][:3] == ["few", "a", "b"]
    shared = knowledge.shareable(2)
    assert [name for _, name, _ in shared.best_treatments([1, 1], 2)] == ["a", "b"]
    shared.save(tmp_path / "knowledge.json")
    packed = json.loads((tmp_path / "knowledge.json").read_text())
    assert packed["diseases"][0]["resolved_share"] is None
    for treatment in packed["diseases"][0]["treatments"]:
        assert treatment["subjects"] is None and round(treatment["efficacy"], 2) == treatment["efficacy"]
    assert shared.shareable(2).treatments == ((), ()), "what does not say how many, is not passed on as enough"


def test_save_and_load_is_the_identity(tmp_path):
    knowledge = Knowledge.fit(pairs(*[([1, 0], ["ä, b"], [0, 0]), ([1, 0], [], [1, 1])] * 6), NAMES, 3, 2)
    assert knowledge.treatments[0]
    knowledge.save(tmp_path / "knowledge.json")
    assert Knowledge.load(tmp_path / "knowledge.json") == knowledge


def test_bad_input_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="'current' has rows of other lengths than the 3 label names"):
        Knowledge.fit(pairs(([1, 0], [], [0, 0])), ("A", "B", "C"), 1, 1)
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(ValueError, match="not a knowledge file"):
        Knowledge.load(tmp_path / "other.json")
