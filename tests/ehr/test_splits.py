"""A subject's split is its own: a hash of its id and the seed."""

import numpy as np
import polars as pl
import pytest

from ckd_dist.ehr.splits import check_disjoint, check_labels, split_of
from ckd_dist.schema import SPLITS

FRACTIONS = {"train": 0.7, "tuning": 0.15}


def labels(*rows: list[int] | None) -> pl.Series:
    return pl.Series(rows, dtype=pl.List(pl.Int8))


def test_split_does_not_depend_on_who_else_is_there():
    subjects = np.arange(10_000, 11_000)
    together = split_of(subjects, seed=3, **FRACTIONS)
    alone = [split_of(np.array([subject]), seed=3, **FRACTIONS)[0] for subject in subjects]
    assert together.tolist() == alone
    assert split_of(subjects[::-1], seed=3, **FRACTIONS)[::-1].tolist() == alone


@pytest.mark.parametrize("step", [1, 2, 1000])
def test_fractions_hold_on_average_and_seeds_are_independent(step):
    subjects = np.arange(0, 50_000 * step, step)
    one, other = (split_of(subjects, seed=seed, **FRACTIONS) for seed in (0, 1))
    shares = [(one == split).mean() for split in SPLITS]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.01)
    assert (one == other).mean() == pytest.approx(0.7**2 + 2 * 0.15**2, abs=0.01)


def test_more_training_subjects_keep_those_that_were():
    subjects = np.arange(5000)
    small = split_of(subjects, train=0.5, tuning=0.2, seed=0) == "train"
    large = split_of(subjects, train=0.6, tuning=0.2, seed=0) == "train"
    assert small.sum() < large.sum() and not (small & ~large).any()


@pytest.mark.parametrize("train, tuning", [(0.7, 0.3), (0.9, 0.2), (0.0, 0.5), (0.5, 0.0)])
def test_nothing_held_out_is_refused(train, tuning):
    with pytest.raises(ValueError, match="below 1"):
        split_of(np.arange(3), train=train, tuning=tuning, seed=0)


def test_subject_in_two_splits_raises_without_naming_it():
    check_disjoint({"train": np.array([1, 2, 2]), "tuning": np.array([3]), "held_out": np.array([], dtype=int)})
    with pytest.raises(ValueError, match="1 subjects are in both train and held_out") as error:
        check_disjoint({"train": np.array([1, 2]), "tuning": np.array([3]), "held_out": np.array([771, 2])})
    assert "771" not in str(error.value)


def test_label_that_never_occurs():
    by_split = {"train": labels([1, 0], None, [1, 0]), "tuning": labels([1, 1]), "held_out": labels(None)}
    with pytest.raises(ValueError, match="1 of 2 labels never occur in train, the first is 'gout'"):
        check_labels(by_split, ["asthma", "gout"], absent="refuse")
    remarks = ["1 of 1 code of DIAGNOSIS//OWN// in the label set occur in no event: G1 (of 'gout')"]
    with pytest.raises(ValueError, match=r"'gout'; 1 of 1 code of .*G1 .of 'gout'.: mend the codes .*code_map; else"):
        check_labels(by_split, ["asthma", "gout"], absent="refuse", remarks=remarks)
    missing = check_labels(by_split, ["asthma", "gout"], absent="allow")
    assert missing == {"train": ["gout"], "tuning": [], "held_out": ["asthma", "gout"]}


@pytest.mark.parametrize("train", [labels(), labels(None, None)])
def test_empty_cohort_is_refused_even_where_absent_labels_are_allowed(train):
    with pytest.raises(ValueError, match="no labelled visit in train"):
        check_labels({"train": train, "tuning": train, "held_out": train}, ["asthma"], absent="allow")
