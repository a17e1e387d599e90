"""EADF: counts by hand, the formula, and what it may and may not look at."""

import json
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.studies.disease.prompts.knowledge import Knowledge
from tests.studies.disease.prompts.samples import frame, sample

NAMES = ("A", "B")


def pairs(*rows: tuple[list[int], list[str], list[int] | None]) -> pl.DataFrame:
    """current bits, medications, next bits"""
    return frame([sample(sample_id=i, current=c, medications=m, labels=n) for i, (c, m, n) in enumerate(rows)])


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
        ranks = [(-t.efficacy, -t.given, t.name) for t in knowledge.treatments[k]]
        assert ranks == sorted(ranks)


def test_neither_the_order_of_rows_nor_their_identity_matters():
    drugs = random.Random(0).choices("abcdefgh", k=300)
    bits = np.random.default_rng(0).integers(0, 2, (300, 2)).tolist()
    train = pairs(*(([1, 1], [drug], bit) for drug, bit in zip(drugs, bits, strict=True)))
    other = train.sample(fraction=1, shuffle=True, seed=1).with_columns(subject_id=pl.lit(7), hadm_id=pl.lit(7))
    assert Knowledge.fit(train, NAMES, 20, 3) == Knowledge.fit(other, NAMES, 20, 3)


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
