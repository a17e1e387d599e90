"""Keep the token ids of one split and role, with spans: flat arrays in one safetensors file, read by mmap.

    N samples, T tokens of all samples, S spans of all samples

A row costs a slice: nothing is parsed, nothing copied, and the pages are shared by every process of a machine.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ckd_dist.files import replacing

DTYPES = {
    "ids_T": np.int32,
    "offsets_N1": np.int64,
    "sample_id_N": np.int64,
    "span_offsets_N1": np.int64,
    "span_tokens_S2": np.int32,
    "span_kind_S": np.int8,
    "span_visit_S": np.int16,
}


@dataclass(frozen=True)
class TokenTable:
    """Tokens of a split's samples: row i is sample `sample_id_N[i]`; span s is of kind `kinds[span_kind_S[s]]`."""

    ids_T: np.ndarray  # int32
    offsets_N1: np.ndarray  # int64, row i is ids_T[offsets_N1[i] : offsets_N1[i + 1]]
    sample_id_N: np.ndarray  # int64
    span_offsets_N1: np.ndarray  # int64, spans of row i
    span_tokens_S2: np.ndarray  # int32, first token and one past the last, within the row
    span_kind_S: np.ndarray  # int8, into `kinds`
    span_visit_S: np.ndarray  # int16, 0 is the index visit
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.sample_id_N)

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of every row, int64 [N]."""
        return np.diff(self.offsets_N1)

    def row(self, i: int) -> np.ndarray:
        """Return the token ids of row i: a view, int32."""
        return self.ids_T[self.offsets_N1[i] : self.offsets_N1[i + 1]]

    def spans(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the spans of row i in the order of its prompt's: token ranges [S, 2], kinds [S], visits [S]."""
        here = slice(self.span_offsets_N1[i], self.span_offsets_N1[i + 1])
        return self.span_tokens_S2[here], self.span_kind_S[here], self.span_visit_S[here]

    @classmethod
    def join(cls, tables: Sequence["TokenTable"], kinds: tuple[str, ...]) -> "TokenTable":
        """Return the rows of several tables, in order; an empty table for none."""
        empty = {name: np.zeros((0, 2) if name.endswith("2") else 0, dtype) for name, dtype in DTYPES.items()}
        flat = {name: np.concatenate([empty[name], *(getattr(table, name) for table in tables)]) for name in DTYPES}
        for name in ("offsets_N1", "span_offsets_N1"):
            counts = [np.diff(getattr(table, name)) for table in tables]
            flat[name] = np.concatenate([[0], *counts]).cumsum(dtype=np.int64)
        return cls(**flat, kinds=kinds)

    def write(self, path: Path) -> None:
        """Write the table, in one rename."""
        arrays = {name: np.ascontiguousarray(getattr(self, name), dtype) for name, dtype in DTYPES.items()}
        with replacing(path) as unfinished:
            save_file(arrays, unfinished, metadata={"kinds": json.dumps(self.kinds)})

    @classmethod
    def open(cls, path: Path) -> "TokenTable":
        """Map the file.  Raise ValueError where it is not a whole token table."""
        header, start = _header(path)
        wanted = {field.name for field in fields(cls)} - {"kinds"}
        if wanted - header.keys():
            raise ValueError(f"{path} is not a token table: it lacks {', '.join(sorted(wanted - header.keys()))}")
        if path.stat().st_size < start + max(header[name]["data_offsets"][1] for name in wanted):
            raise ValueError(f"{path} is cut short: run its prompt stage again")
        arrays = {name: _map(path, start, header[name], dtype) for name, dtype in DTYPES.items()}
        return cls(**arrays, kinds=tuple(json.loads(header["__metadata__"]["kinds"])))


def _header(path: Path) -> tuple[dict, int]:
    """Return a safetensors header and where its data starts: 8 bytes of length, then JSON, then the arrays."""
    with path.open("rb") as file:
        size = path.stat().st_size
        length = struct.unpack("<Q", file.read(8))[0] if size >= 8 else size
        if 8 + length > size:
            raise ValueError(f"{path} is cut short: run its prompt stage again")
        try:
            return json.loads(file.read(length)), 8 + length
        except ValueError:
            raise ValueError(f"{path} is not a safetensors file") from None


def _map(path: Path, start: int, entry: Mapping, dtype: type) -> np.ndarray:
    """Map one array of the file; make an empty one, which cannot be mapped."""
    if 0 in entry["shape"]:
        return np.empty(entry["shape"], dtype)
    return np.memmap(path, dtype, "r", start + entry["data_offsets"][0], tuple(entry["shape"]))
