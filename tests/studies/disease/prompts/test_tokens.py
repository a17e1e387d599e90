"""Token tables on disk."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.studies.disease.prompts.tokens import DTYPES, TokenTable

KINDS = ("visit", "section", "diagnosis")


def table(rows: list[tuple[int, list[int], int]]) -> TokenTable:
    """sample id, token ids, number of spans"""
    spans = sum(num for _, _, num in rows)
    return TokenTable(
        ids_T=np.array([token for _, ids, _ in rows for token in ids], np.int32),
        offsets_N1=np.cumsum([0, *(len(ids) for _, ids, _ in rows)]),
        sample_id_N=np.array([number for number, _, _ in rows], np.int64),
        span_offsets_N1=np.cumsum([0, *(num for _, _, num in rows)]),
        span_tokens_S2=np.arange(2 * spans, dtype=np.int32).reshape(spans, 2),
        span_kind_S=np.arange(spans, dtype=np.int8) % 3,
        span_visit_S=np.arange(spans, dtype=np.int16) % 2,
        kinds=KINDS,
    )


rows = st.lists(
    st.tuples(st.integers(0, 2**40), st.lists(st.integers(0, 200_000), max_size=6), st.integers(0, 3)), max_size=8
)


@settings(max_examples=50, deadline=None)
@given(rows=rows, cut=st.integers(0, 8))
def test_joined_written_and_opened_is_the_same(rows, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "train.teacher.safetensors"
    TokenTable.join([table(rows[:cut]), table(rows[cut:])], KINDS).write(path)
    opened = TokenTable.open(path)
    assert len(opened) == len(rows) and opened.kinds == KINDS
    assert opened.lengths.tolist() == [len(ids) for _, ids, _ in rows]
    assert opened.sample_id_N.tolist() == [number for number, _, _ in rows]
    assert [opened.row(i).tolist() for i in range(len(rows))] == [ids for _, ids, _ in rows]
    assert [len(opened.spans(i)[0]) for i in range(len(rows))] == [num for _, _, num in rows]
    assert {name: getattr(opened, name).dtype for name in DTYPES} == DTYPES


def test_a_row_is_a_view_of_the_file(tmp_path):
    table([(7, [1, 2, 3], 1)]).write(tmp_path / "t.safetensors")
    row = TokenTable.open(tmp_path / "t.safetensors").row(0)
    assert isinstance(row.base, np.memmap) or isinstance(row, np.memmap)
    assert not row.flags.writeable


def test_a_file_cut_short_or_of_another_kind_is_refused(tmp_path):
    whole, torn = tmp_path / "whole.safetensors", tmp_path / "torn.safetensors"
    table([(1, list(range(50)), 2)]).write(whole)
    content = whole.read_bytes()
    for size in (0, 5, 60, len(content) - 1):
        torn.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"torn\.safetensors is cut short"):
            TokenTable.open(torn)
    torn.write_bytes(b"\x02" + b"\x00" * 7 + b"{}")
    with pytest.raises(ValueError, match="not a token table: it lacks ids_T"):
        TokenTable.open(torn)


@pytest.mark.parametrize(
    "damage", [(b'"kinds"', b'"kinda"'), (b"[", b"{"), (b'[\\"', b'[5,\\"')], ids=["name", "JSON", "number"]
)
def test_a_table_that_does_not_say_its_kinds_is_refused(tmp_path, damage):
    table([(1, list(range(50)), 2)]).write(path := tmp_path / "t.safetensors")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(*damage, 1)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    with pytest.raises(ValueError, match="does not say which kinds its spans are of: run its prompt stage again"):
        TokenTable.open(path)


@pytest.mark.parametrize("name", ["offsets_N1", "span_offsets_N1"])
def test_offsets_that_bound_no_rows_are_refused(tmp_path, name):
    whole = table([(1, list(range(50)), 2), (2, list(range(9)), 2)])
    dataclasses.replace(whole, **{name: getattr(whole, name)[::-1]}).write(tmp_path / "t.safetensors")
    with pytest.raises(ValueError, match=f"is damaged: {name} are not the bounds of rows"):
        TokenTable.open(tmp_path / "t.safetensors")
