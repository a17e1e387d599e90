"""Ids that two files spell differently: restored where there is one reading, apart where there are two."""

import doctest

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.studies.concepts.cases import ids


def tidied(*written: str) -> list[str | None]:
    return pl.DataFrame({"id": written}, schema={"id": pl.String}).select(ids.tidy("id"))["id"].to_list()


def met(theirs: list[str], ours: list[str]) -> dict[str, str]:
    found = ids.meet(*(pl.Series(tidied(*each), dtype=pl.String) for each in (theirs, ours)))
    return dict(zip(found["theirs"], found["ours"], strict=True))


def test_doctests() -> None:
    assert doctest.testmod(ids).failed == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1.0", "1"),  # a data frame's column with a gap
        ("1.", "1"),
        ("1.000", "1"),
        ("'1'", "1"),
        ('"1"', "1"),
        ('="001"', "001"),  # a spreadsheet's way to keep zeros
        ("\ufeff1", "1"),
        ("12,345", "12345"),
        ("1.5", "1.5"),
        ("A.0", "A.0"),
        ("1,23", "1,23"),
        ("", None),
        ("''", None),
        ("O'Neil", "O'Neil"),
        ("0", "0"),
    ],
)
def test_what_never_tells_two_ids_apart_goes(written: str, meant: str | None) -> None:
    assert tidied(written) == [meant]


@pytest.mark.parametrize(
    ("theirs", "ours", "pairs"),
    [
        (["1.0", "2.0"], ["1", "2"], {"1": "1", "2": "2"}),
        (["1", "2"], ["001", "002"], {"1": "001", "2": "002"}),
        (["001"], ["1"], {"001": "1"}),
        (["s-1"], ["S-1"], {"s-1": "S-1"}),
        (["1"], ["01", "001"], {}),  # two of ours
        (["1", "01"], ["001"], {}),  # two of theirs
        (["01"], ["1", "01"], {"01": "01"}),  # one that is spelled the same, and is no other one's
        (["01", "1"], ["1"], {"1": "1"}),
        (["a", "A"], ["a"], {"a": "a"}),
        (["0", "00"], ["000"], {}),
        (["0"], ["0"], {"0": "0"}),
        (["10"], ["1"], {}),
        ([], ["1"], {}),
    ],
)
def test_ids_meet_where_each_file_has_one_such_spelling(theirs, ours, pairs) -> None:
    assert met(theirs, ours) == pairs


SPELLINGS = {
    "float": lambda number: f"{number}.0",
    "quoted": lambda number: f"'{number}'",
    "padded": lambda number: f"{number:08d}",
    "formula": lambda number: f'="{number}"',
    "thousands": lambda number: f"{number:,}",
    "plain": str,
}


@given(st.sets(st.integers(0, 10**7), min_size=1), st.sampled_from(list(SPELLINGS)), st.sampled_from(list(SPELLINGS)))
def test_numbers_written_alike_within_a_file_all_meet(numbers, theirs, ours) -> None:
    written = [SPELLINGS[theirs](number) for number in numbers], [SPELLINGS[ours](number) for number in numbers]
    found = met(*written)
    assert len(found) == len(numbers)
    assert all(int(one) == int(other) for one, other in found.items())


@given(st.lists(st.text("0aA1", min_size=1, max_size=3)), st.lists(st.text("0aA1", min_size=1, max_size=3)))
def test_no_id_meets_two_and_the_same_spelling_always_meets(theirs, ours) -> None:
    found = ids.meet(pl.Series(theirs, dtype=pl.String), pl.Series(ours, dtype=pl.String))
    assert found["theirs"].is_unique().all() and found["ours"].is_unique().all()
    assert set(theirs) & set(ours) == set(found.filter("exact")["theirs"])


def test_rounded_numbers_are_counted() -> None:
    assert ids.num_rounded(pl.Series(["1.23E+08", "1e+10", "1E5", "123", None])) == 2
