"""Keep the token ids of one split and role, with spans: flat arrays in one safetensors file, read by mmap.

N samples, T tokens of all samples, S spans of all samples
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ckd_dist.ragged import map_arrays, offsets_from, write_arrays

DTYPES = {
    "ids_T": np.int32,
    "offsets_N1": np.int64,
    "sample_id_N": np.int64,
    "span_offsets_N1": np.int64,
    "span_tokens_S2": np.int32,
    "span_kind_S": np.int8,
    "span_visit_S": np.int16,
}
ROWS = {"offsets_N1": "ids_T", "span_offsets_N1": "span_kind_S"}
REMEDY = "run its prompt stage again"


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
            flat[name] = offsets_from(np.concatenate([np.diff(getattr(table, name)) for table in tables] or [[]]))
        return cls(**flat, kinds=kinds)

    def write(self, path: Path) -> None:
        """Write the table; readers see the whole file or none."""
        write_arrays(path, self, DTYPES, {"kinds": json.dumps(self.kinds)})

    @classmethod
    def open(cls, path: Path) -> "TokenTable":
        """Map the file.  Raise ValueError where it is not a whole token table."""
        arrays, metadata = map_arrays(path, DTYPES, ROWS, "a token table", REMEDY)
        return cls(**arrays, kinds=_kinds(path, metadata))


def _kinds(path: Path, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the spans' kinds."""
    try:
        kinds = json.loads(metadata["kinds"])
    except (KeyError, ValueError):
        kinds = None
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise ValueError(f"{path} is damaged: it does not say which kinds its spans are of: {REMEDY}")
    return tuple(kinds)
