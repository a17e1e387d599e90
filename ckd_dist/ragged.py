"""Rows of different length, end to end in flat arrays, in one safetensors file that is read by mmap.

    row i = values[offsets_N1[i] : offsets_N1[i + 1]]

A row costs a slice: nothing is parsed, nothing copied, and the pages are shared by every process of a machine.  Opening
reads the header alone.  safetensors' own reader copies a tensor or a slice of it, so the header is read here.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ckd_dist.files import replacing

Dtypes = Mapping[str, type]  # of every array of a table, by name


def write_arrays(path: Path, table: Any, dtypes: Dtypes, metadata: Mapping[str, str] | None = None) -> None:
    """Write the attributes of `table` that `dtypes` names, each as that type; readers see the whole file or none."""
    arrays = {name: np.ascontiguousarray(getattr(table, name), dtype) for name, dtype in dtypes.items()}
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata=None if metadata is None else dict(metadata))


def map_arrays(path: Path, dtypes: Dtypes, kind: str, remedy: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a file, mapped and read-only, and its metadata.

    kind, remedy: what the file should be, and what to do where it is not, for the message.  Raises ValueError where it
    is cut short, lacks an array, or has one of another type.
    """
    header, start = _header(path, remedy)
    if missing := sorted(dtypes.keys() - header.keys()):
        raise ValueError(f"{path} is not {kind}: it lacks {', '.join(missing)}")
    for name, dtype in dtypes.items():
        if (found := header[name]["dtype"]) != _name_of(dtype):
            raise ValueError(f"{path} is not {kind}: {name} is {found}, not {_name_of(dtype)}")
    if path.stat().st_size < start + max(header[name]["data_offsets"][1] for name in dtypes):
        raise ValueError(f"{path} is cut short: {remedy}")
    arrays = {name: _map(path, start, header[name], dtype) for name, dtype in dtypes.items()}
    return arrays, header.get("__metadata__", {})


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
    size = path.stat().st_size
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0] if size >= 8 else size
        if 8 + length > size:
            raise ValueError(f"{path} is cut short: {remedy}")
        try:
            return json.loads(file.read(length)), 8 + length
        except ValueError:
            raise ValueError(f"{path} is not a safetensors file: {remedy}") from None


def _name_of(dtype: type) -> str:
    """Return a type as safetensors spells it.

    >>> _name_of(np.int32)
    'I32'
    """
    return f"{np.dtype(dtype).kind.upper()}{8 * np.dtype(dtype).itemsize}"


def _map(path: Path, start: int, entry: Mapping, dtype: type) -> np.ndarray:
    """Map one array of the file; make an empty one, which cannot be mapped."""
    if math.prod(entry["shape"]) == 0:
        return np.empty(entry["shape"], dtype)
    return np.memmap(path, dtype, "r", start + entry["data_offsets"][0], tuple(entry["shape"]))
