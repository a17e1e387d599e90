"""Rows of different length, end to end in flat arrays, in one safetensors file that is read by mmap.

    row i = values[offsets_N1[i] : offsets_N1[i + 1]]

A row costs a slice: nothing is parsed, nothing copied, and the pages are shared by every process of a machine.  Opening
reads the header and the offsets.  safetensors' own reader checks the header, but copies a tensor or a slice of it, so
the places of the arrays are read here.  A damaged number in an array, unless it is an offset, is not seen.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ckd_dist.files import replacing
from ckd_dist.mistakes import raise_fault

Dtypes = Mapping[str, type]  # of every array of a table, by name
Rows = Mapping[str, str]  # of every array of offsets, one of the arrays whose rows they bound


def write_arrays(path: Path, table: Any, dtypes: Dtypes, metadata: Mapping[str, str] | None = None) -> None:
    """Write the attributes of `table` that `dtypes` names, each as that type; readers see the whole file or none.

    Raises ValueError where a type cannot hold a number as it is: too large for it, or a fraction.
    """
    arrays = {name: _as(name, getattr(table, name), dtype) for name, dtype in dtypes.items()}
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata=None if metadata is None else dict(metadata))


def map_arrays(
    path: Path, dtypes: Dtypes, rows: Rows, kind: str, remedy: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a file, mapped and read-only, and its metadata.

    kind, remedy: what the file should be, and what to do where it is not, for the message.  Raises ValueError where it
    is cut short or damaged, lacks an array, has one of another type, or offsets that bound no rows.
    """
    header, start = _header(path, remedy)
    if missing := sorted(dtypes.keys() - header.keys()):
        raise ValueError(f"{path} is not {kind}: it lacks {', '.join(missing)}")
    for name, dtype in dtypes.items():
        if (found := header[name]["dtype"]) != _name_of(dtype):
            raise ValueError(f"{path} is not {kind}: {name} is {found}, not {_name_of(dtype)}")
    arrays = {name: _map(path, start, header[name], dtype) for name, dtype in dtypes.items()}
    for offsets, values in rows.items():
        if not _bound_rows(arrays[offsets], arrays[values]):
            raise ValueError(f"{path} is damaged: {offsets} are not the bounds of rows of {values}: {remedy}")
    return arrays, header.get("__metadata__") or {}


def offsets_from(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return where each of some rows begins, and where the last one ends, int64 [N + 1].

    >>> offsets_from([2, 0, 3]).tolist()
    [0, 2, 2, 5]
    """
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])


def end_to_end(rows: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    """Return rows as one flat array; an empty one for none."""
    return np.concatenate([np.zeros(0, dtype), *rows]).astype(dtype)


def take_rows(values: np.ndarray, offsets_N1: np.ndarray, chosen: Iterable[int]) -> np.ndarray:
    """Return some rows, end to end in that order.

    >>> take_rows(np.array([1, 2, 3, 4, 5]), np.array([0, 2, 2, 5]), [2, 0]).tolist()
    [3, 4, 5, 1, 2]
    """
    return end_to_end([values[offsets_N1[i] : offsets_N1[i + 1]] for i in chosen], values.dtype)


def _header(path: Path, remedy: str) -> tuple[dict, int]:
    """Return a safetensors header and where its data starts: 8 bytes of length, then JSON, then the arrays."""
    with path.open("rb") as file:
        try:
            with safe_open(path, "np"):  # types, shapes and places fit each other, and all of them fill the file
                length = struct.unpack("<Q", file.read(8))[0]
                return json.loads(file.read(length)), 8 + length
        except SafetensorError as error:
            raise_fault(error, path)
            raise ValueError(f"{path} is cut short, damaged or not a safetensors file: {remedy}") from None


def _name_of(dtype: type) -> str:
    """Return a type as safetensors spells it.

    >>> _name_of(np.int32)
    'I32'
    >>> _name_of(bool)
    'BOOL'
    """
    kind, size = np.dtype(dtype).kind, np.dtype(dtype).itemsize
    return "BOOL" if kind == "b" else f"{kind.upper()}{8 * size}"


def _as(name: str, values: Any, dtype: type) -> np.ndarray:
    """Return the same numbers as another type."""
    given = np.asarray(values)
    with np.errstate(invalid="ignore", over="ignore"):  # what they warn of is refused
        array = np.ascontiguousarray(given, dtype)
    if not np.can_cast(given.dtype, dtype) and not np.array_equal(array, given, equal_nan=True):
        raise ValueError(f"{name} has numbers that {_name_of(dtype)} cannot hold: it is not written")
    return array


def _bound_rows(offsets_N1: np.ndarray, values: np.ndarray) -> bool:
    """Say whether offsets start at 0, never fall, and end where the values do."""
    if offsets_N1.ndim != 1 or values.ndim == 0 or len(offsets_N1) == 0:
        return False
    ends = offsets_N1[0] == 0 and offsets_N1[-1] == len(values)
    return bool(ends and (offsets_N1[:-1] <= offsets_N1[1:]).all())


def _map(path: Path, start: int, entry: Mapping, dtype: type) -> np.ndarray:
    """Map one array of the file; make an empty one, which cannot be mapped."""
    if math.prod(entry["shape"]) == 0:
        return np.empty(entry["shape"], dtype)
    return np.memmap(path, dtype, "r", start + entry["data_offsets"][0], tuple(entry["shape"]))
