"""Answers of a language model kept by content: a question that was answered once, before a kill too, costs nothing.

One file a question, JSON of an answer or npy of a vector, named by a hash of all that shaped it.  A reader
sees a whole answer or none; what cannot be read is asked again.  Answers quote notes: files are 0600, the folder is
0700, and both belong with the run's other protected data.  Left out: an index and
a command that forgets answers; delete the folder.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ckd_dist.files import filling, write


@dataclass(frozen=True)
class Answer:
    """An endpoint's answer.  Tokens are as the endpoint counts them, None where it gives no count."""

    text: str
    cut: bool  # it did not end by itself: the limit of tokens, or a content filter
    input_tokens: int | None
    output_tokens: int | None


def key(*shaped_by: str) -> str:
    """Return the name of an answer: a hash of what shaped it."""
    return hashlib.sha256(json.dumps(shaped_by).encode()).hexdigest()


def find(folder: Path, name: str) -> Answer | None:
    """Read a kept answer; None where there is none, or none that can be read."""
    try:
        kept = Answer(**json.loads((folder / f"{name}.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return kept if isinstance(kept.text, str) else None


def keep(folder: Path, name: str, answer: Answer) -> None:
    """Write an answer where `find` finds it, at once and whole.  Raises OSError where the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(folder / f"{name}.json", json.dumps(asdict(answer)))


def find_vector(folder: Path, name: str) -> np.ndarray | None:
    """Read a kept vector, float32 [D]; None where there is none, or none that can be read."""
    try:
        kept = np.load(folder / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.ndim == 1 and kept.dtype == np.float32 and np.isfinite(kept).all() else None


def keep_vectors(folder: Path, names: Sequence[str], vectors_BD: np.ndarray) -> None:
    """Write vectors where `find_vector` finds each, as `keep` does but all together."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with filling(folder) as temporary:
        for name, vector_D in zip(names, vectors_BD, strict=True):
            np.save(temporary / f"{name}.npy", vector_D.astype(np.float32), allow_pickle=False)
