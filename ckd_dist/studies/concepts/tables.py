"""Keep the vectors of an embedding by concept, in a file of its own, never as a part of a model that reads it.

    V concepts, D width of a vector

A concept's key is a hash of what it says, (system, text), so a table is read in any order and for any subset, and a
model that moves to another site meets that site's vocabulary there: the published study kept the table in the
checkpoint, by row number, where a site with other concepts silently read vectors of the wrong ones.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import safetensors
import safetensors.numpy

from ckd_dist.files import write
from ckd_dist.mistakes import raise_fault
from ckd_dist.splitmix import hashes_of, mix

ONE_HOT, RANDOM = "one-hot", "random"  # embeddings that no model makes: no table at all, and a random one


@dataclass(frozen=True, eq=False)
class Table:
    """Vectors by key.  Raises ValueError on anything but what the fields say."""

    keys_V: np.ndarray  # int64, each once
    vectors_VD: np.ndarray  # float32, finite
    metadata: Mapping[str, Any] = field(default_factory=dict)  # name, width, ... of what embedded them

    def __post_init__(self) -> None:
        name = self.metadata.get("name", "a table")
        if self.vectors_VD.ndim != 2 or len(self.keys_V) != len(self.vectors_VD):
            raise ValueError(f"{name}: {len(self.keys_V)} keys for vectors of shape {self.vectors_VD.shape}")
        if num_twice := len(self.keys_V) - len(np.unique(self.keys_V)):
            raise ValueError(f"{name}: {num_twice} concepts have two vectors: embed each once")
        if num_bad := int((~np.isfinite(self.vectors_VD).all(1)).sum()):
            raise ValueError(f"{name}: {num_bad} of {len(self.keys_V)} vectors are not finite: look at the model")

    @property
    def width(self) -> int:
        """Return the numbers of a vector."""
        return self.vectors_VD.shape[1]

    def rows_of(self, keys_V: np.ndarray) -> np.ndarray:
        """Return the vectors of these concepts in this order, float32 [V, D].  Raises ValueError where it lacks one."""
        order = np.argsort(self.keys_V)
        place_V = np.searchsorted(self.keys_V, keys_V, sorter=order).clip(max=max(0, len(order) - 1))
        row_V = order[place_V] if len(order) else np.zeros(len(keys_V), np.int64)
        known_V = self.keys_V[row_V] == keys_V if len(order) else np.zeros(len(keys_V), bool)
        if num_unknown := int((~known_V).sum()):
            name = self.metadata.get("name", "the table")
            raise ValueError(f"{name} lacks {num_unknown} of {len(keys_V)} concepts: embed them first")
        return self.vectors_VD[row_V]

    def save(self, path: Path) -> None:
        """Write the table at once and whole, for the owner alone."""
        tensors = {"keys_V": np.ascontiguousarray(self.keys_V, dtype=np.int64)}
        tensors["vectors_VD"] = np.ascontiguousarray(self.vectors_VD, dtype=np.float32)
        metadata = {"table": json.dumps(dict(self.metadata), sort_keys=True)}
        write(path, safetensors.numpy.save(tensors, metadata=metadata))

    @classmethod
    def open(cls, path: Path) -> "Table":
        """Read what `save` wrote.  Raises ValueError where it is something else, or cut short."""
        try:
            with safetensors.safe_open(path, framework="np") as file:
                metadata = json.loads(file.metadata()["table"])
                return cls(file.get_tensor("keys_V"), file.get_tensor("vectors_VD"), metadata)
        except (safetensors.SafetensorError, KeyError, TypeError) as error:
            raise_fault(error, path)
            raise ValueError(f"{path} is no table of concept vectors, or is cut short: embed again") from error


def key_of(system: str, text: str) -> int:
    """Return the key of a concept: 64 bits of a hash of what it says.

    >>> key_of("ICD9", "Atrial fibrillation") == key_of("ICD9", "Atrial fibrillation") != key_of("ICD10", "Fever")
    True
    """
    digest = hashlib.sha256(json.dumps([system, text]).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def keys_of(concepts: pl.DataFrame) -> np.ndarray:
    """Return the key of every row of CONCEPTS, int64 [V].  Raises ValueError where two different concepts share one."""
    named = list(zip(concepts["system"], concepts["text"], strict=True))
    keys_V = np.array([key_of(system, text) for system, text in named], dtype=np.int64)
    if num_shared := len(set(named)) - len(np.unique(keys_V)):
        raise ValueError(
            f"{num_shared} of {len(named)} concepts have the key of another: reword one of the two phrases"
        )
    return keys_V


def random_table(keys_V: np.ndarray, width: int, seed: int) -> Table:
    """Draw a vector of length 1 in a random direction for every key: without meaning, the same at every site."""
    vectors_VD = draw(keys_V, width, seed)
    vectors_VD /= np.linalg.norm(vectors_VD, axis=1, keepdims=True)
    return Table(keys_V, vectors_VD, {"name": "random", "width": width, "seed": seed})


def draw(keys_V: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Draw standard normal numbers that are a function of key, column and seed alone, float32 [V, width]."""
    start_V = hashes_of(keys_V, seed)
    with np.errstate(over="ignore"):
        hash_VD = mix(start_V[:, None] + mix(np.arange(width, dtype=np.uint64))[None, :])
    from scipy.special import ndtri  # not above: what a recipe is made of imports this module, and --help waits

    return ndtri(((hash_VD >> np.uint64(11)) + 0.5) * 2.0**-53).astype(np.float32)


def unit(vectors_VD: np.ndarray) -> np.ndarray:
    """Scale vectors to length 1; a vector of zeros stays."""
    return vectors_VD / np.maximum(np.linalg.norm(vectors_VD, axis=1, keepdims=True), 1e-12)
