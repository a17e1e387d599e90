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
TORN = "is cut short, damaged or not a safetensors file: write it again"
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
    return map_arrays(path, DTYPES, {"offsets_N1": "ids_T"}, "a table of rows", "write it again")


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
        with pytest.raises(ValueError, match=rf"torn\.safetensors {TORN}"):
            opened(torn)


def test_another_file_is_refused_with_what_is_wrong(tmp_path):
    path, table = tmp_path / "other.safetensors", table_of([[1, 2], [3]])
    path.write_bytes((8).to_bytes(8, "little") + b"not json")
    with pytest.raises(ValueError, match=TORN):
        opened(path)
    write_arrays(path, table, {name: dtype for name, dtype in DTYPES.items() if name != "kind_S"})
    with pytest.raises(ValueError, match="is not a table of rows: it lacks kind_S"):
        opened(path)
    write_arrays(path, table, DTYPES | {"ids_T": np.int64})
    with pytest.raises(ValueError, match="is not a table of rows: ids_T is I64, not I32"):
        opened(path)


@pytest.mark.parametrize(
    ("rows", "metadata"), [([[7], [], [5, 6, 4]] * 4, {"kinds": "a, b"}), ([], None)], ids=["twelve", "none"]
)
def test_with_any_bit_of_the_header_flipped_the_arrays_are_the_same_or_refused(tmp_path, rows, metadata):
    """What is not read of a header, spaces and the metadata's words, may be damaged; nothing else."""
    whole, torn = tmp_path / "whole.safetensors", tmp_path / "torn.safetensors"
    write_arrays(whole, table_of(rows), DTYPES, metadata)
    content, (arrays, _) = whole.read_bytes(), opened(whole)
    num_refused, num_bits = 0, 8 * (8 + int.from_bytes(content[:8], "little"))
    for bit in range(num_bits):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        torn.write_bytes(damaged)
        try:
            found, _ = opened(torn)
        except ValueError as error:
            assert str(torn) in str(error)
            num_refused += 1
            continue
        for name, array in arrays.items():  # of no numbers there may be none in rows of another width
            assert found[name].dtype == array.dtype and len(found[name]) == len(array)
            assert np.array_equal(found[name], array) or array.size == found[name].size == 0
    assert num_refused > 0.8 * num_bits


ENTRY = {"dtype": "I32", "shape": [3], "data_offsets": [0, 12]}  # of ids_T, were it alone


@pytest.mark.parametrize(
    "header",
    [
        [1],
        None,
        3,
        {"ids_T": 3},
        {"ids_T": {}},
        {"ids_T": {"dtype": "I32", "shape": [3]}},
        {"ids_T": ENTRY | {"dtype": "I33"}},
        {"ids_T": ENTRY | {"dtype": 5}},
        {"ids_T": ENTRY | {"shape": [1000]}},
        {"ids_T": ENTRY | {"shape": [2]}},
        {"ids_T": ENTRY | {"shape": [-3]}},
        {"ids_T": ENTRY | {"shape": [3.0]}},
        {"ids_T": ENTRY | {"shape": 3}},
        {"ids_T": ENTRY | {"data_offsets": [-12, 0]}},
        {"ids_T": ENTRY | {"data_offsets": [12, 0]}},
        {"ids_T": ENTRY | {"data_offsets": [4, 16]}},
        {"ids_T": ENTRY | {"data_offsets": [12]}},
        {"ids_T": ENTRY | {"shape": [2], "data_offsets": [0, 8]}},  # bytes that are nobody's
    ],
    ids=json.dumps,
)
def test_a_header_that_does_not_fit_its_file_is_refused(tmp_path, header):
    path, text = tmp_path / "t.safetensors", json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
    with pytest.raises(ValueError, match=TORN):
        map_arrays(path, {"ids_T": np.int32}, {}, "a table of rows", "write it again")


@pytest.mark.parametrize(
    "offsets", [[0, 2, 1, 3], [1, 2, 3], [0, 2], [0, 2, 4], [0, 5, 3], [-1, 3], [3, 0], [], [[0, 3]]]
)
def test_offsets_that_bound_no_rows_are_refused(tmp_path, offsets):
    table = table_of([[1, 2], [3]])
    table.offsets_N1 = np.array(offsets, np.int64)
    write_arrays(tmp_path / "t.safetensors", table, DTYPES)
    with pytest.raises(ValueError, match="is damaged: offsets_N1 are not the bounds of rows of ids_T: write it again"):
        opened(tmp_path / "t.safetensors")


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float32, np.float64])
def test_every_type_is_read_back(tmp_path, dtype):
    path, table = tmp_path / "t.safetensors", SimpleNamespace(bits_N=np.array([1, 0, 1]))
    write_arrays(path, table, {"bits_N": dtype})
    arrays, _ = map_arrays(path, {"bits_N": dtype}, {}, "a table", "write it again")
    assert arrays["bits_N"].dtype == dtype and arrays["bits_N"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [
        ([2**40], np.int32),
        ([-1], np.uint64),
        ([300], np.int8),
        ([1.7], np.int32),
        ([float("nan")], np.int32),
        ([0.1], np.float32),
        ([1e300], np.float32),
        ([2**24 + 1], np.float32),
        ([2], bool),
    ],
)
def test_numbers_that_a_type_cannot_hold_are_refused_and_nothing_is_written(tmp_path, numbers, dtype):
    with pytest.raises(ValueError, match=r"ids_T has numbers that .* cannot hold"):
        write_arrays(tmp_path / "t.safetensors", SimpleNamespace(ids_T=numbers), {"ids_T": dtype})
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_a_type_can_hold_are_written_whatever_type_they_come_in(tmp_path):
    for numbers, dtype in (([1.0, 2.0], np.int8), ([0.5, float("nan")], np.float32), ([2**31 - 1], np.int32)):
        write_arrays(tmp_path / "t.safetensors", SimpleNamespace(ids_T=numbers), {"ids_T": dtype})
        arrays, _ = map_arrays(tmp_path / "t.safetensors", {"ids_T": dtype}, {}, "a table", "write it again")
        assert np.array_equal(arrays["ids_T"], numbers, equal_nan=True)


def test_the_header_says_nothing_that_was_not_given(tmp_path):
    write_arrays(tmp_path / "t.safetensors", table_of([]), DTYPES)
    content = (tmp_path / "t.safetensors").read_bytes()
    assert json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).keys() == DTYPES.keys()
