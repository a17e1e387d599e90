"""Every visit is paired with one of another subject, each once."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.studies.disease.others import rows_of_others

FEW_EACH = st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(lambda s: 2 * max(Counter(s).values()) <= len(s))


@given(FEW_EACH, st.integers(0, 9))
def test_all_rows_stand_once_each_by_one_of_another_subject(subjects, seed):
    subjects = np.array(subjects)
    taken = rows_of_others(subjects, seed, "a control")
    assert sorted(taken) == list(range(len(subjects))) and (subjects[taken] != subjects).all()
    assert np.array_equal(rows_of_others(subjects, seed, "a control"), taken)


def test_seeds_pair_otherwise():
    subjects = np.repeat(np.arange(50), 3)
    assert not np.array_equal(*(rows_of_others(subjects, seed, "a control") for seed in (0, 1)))


def test_one_subject_with_most_visits_is_refused_and_no_visits_are_none():
    with pytest.raises(ValueError, match=r"prompt\.teacher_permuted: one subject has 3 of a split's 5 visits"):
        rows_of_others(np.array([1, 1, 1, 2, 3]), 0, "prompt.teacher_permuted")
    assert len(rows_of_others(np.array([], np.int64), 0, "a control")) == 0
