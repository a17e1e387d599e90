"""Rows of different length on disk: they come back as views of the file, and nothing else is taken for such a file."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.ragged import end_to_end, map_arrays, offsets_from, take_rows, write_arrays

DTYPES = {"ids_T": np.int32, "offsets_N1": np.int64, "kind_S": np.int8, "places_S2": np.int16, "score_S": np.float32}
ROWS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5), max_size=7)


def table_of(rows: list[list[int]]) -> SimpleNamespace:
    """A table of every kind of array that rows can have: flat, of two columns, of small and of real numbers."""
    ids_T = end_to_end([np.array(row, np.int32) for row in rows], np.int32)
    return SimpleNamespace(
        ids_T=ids_T,
        offsets_N1=offsets_from([len(row) for row in rows]),
        kind_S=(ids_T % 3).astype(np.int8),
        places_S2=np.stack([ids_T % 7, ids_T % 5], axis=1).astype(np.int16),
        score_S=(ids_T / 3).astype(np.float32),
    )


def opened(path):
    return map_arrays(path, DTYPES, "a table of rows", "write it again")


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, metadata=st.none() | st.dictionaries(st.text("ab_", min_size=1), st.text(max_size=5), max_size=1))
def test_what_is_written_comes_back_and_plain_safetensors_reads_the_same(rows, metadata, tmp_path_factory):
    path, table = tmp_path_factory.mktemp("rows") / "new" / "t.safetensors", table_of(rows)
    write_arrays(path, table, DTYPES, metadata)
    arrays, found = opened(path)
    assert found == (metadata or {})
    plain = safetensors.numpy.load_file(path)
    assert arrays.keys() == plain.keys() == DTYPES.keys()
    for name, dtype in DTYPES.items():
        for read in (arrays[name], plain[name]):
            assert read.dtype == dtype and np.array_equal(read, getattr(table, name))
    bounds = arrays["offsets_N1"]
    assert [arrays["ids_T"][bounds[i] : bounds[i + 1]].tolist() for i in range(len(rows))] == rows


@settings(max_examples=60, deadline=None)
@given(rows=ROWS.filter(bool), draw=st.data())
def test_taken_rows_are_those_rows_in_that_order(rows, draw):
    chosen = draw.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    table = table_of(rows)
    taken = take_rows(table.ids_T, table.offsets_N1, chosen)
    assert taken.dtype == np.int32
    assert taken.tolist() == [number for i in chosen for number in rows[i]]


def test_an_array_is_written_as_its_named_type_and_mapped_not_read(tmp_path):
    table = table_of([[1, 2], [3]])
    table.ids_T = table.ids_T.astype(np.int64)  # as numpy makes it from a list
    write_arrays(tmp_path / "t.safetensors", table, DTYPES)
    arrays, _ = opened(tmp_path / "t.safetensors")
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in arrays.values())
    assert arrays["ids_T"].dtype == np.int32


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole, torn = tmp_path / "whole.safetensors", tmp_path / "torn.safetensors"
    write_arrays(whole, table_of([[1, 2], [3]]), DTYPES)
    content = whole.read_bytes()
    for size in range(len(content)):
        torn.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"torn\.safetensors is cut short: write it again"):
            opened(torn)


def test_another_file_is_refused_with_what_is_wrong(tmp_path):
    path, table = tmp_path / "other.safetensors", table_of([[1, 2], [3]])
    path.write_bytes((8).to_bytes(8, "little") + b"not json")
    with pytest.raises(ValueError, match="is not a safetensors file: write it again"):
        opened(path)
    write_arrays(path, table, {name: dtype for name, dtype in DTYPES.items() if name != "kind_S"})
    with pytest.raises(ValueError, match="is not a table of rows: it lacks kind_S"):
        opened(path)
    write_arrays(path, table, DTYPES | {"ids_T": np.int64})
    with pytest.raises(ValueError, match="is not a table of rows: ids_T is I64, not I32"):
        opened(path)


def test_the_header_says_nothing_that_was_not_given(tmp_path):
    write_arrays(tmp_path / "t.safetensors", table_of([]), DTYPES)
    content = (tmp_path / "t.safetensors").read_bytes()
    assert json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).keys() == DTYPES.keys()
