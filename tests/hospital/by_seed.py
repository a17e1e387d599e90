"""A synthetic hospital's files by seed: the same seed gives the same bytes, another one another hospital."""

from collections.abc import Callable, Sequence
from pathlib import Path


def three_hospitals(write: Callable, folder: Path, names: Sequence[str]) -> list[dict[str, bytes]]:
    """Write two hospitals of one seed and one of another; return their files' bytes.  No other file may be there."""
    found = []
    for number, seed in enumerate((0, 0, 1)):
        root = folder / str(number)
        write(root, 50, seed)
        assert sorted(file.name for file in root.iterdir()) == sorted(f"{name}.csv.gz" for name in names)
        found.append({name: (root / f"{name}.csv.gz").read_bytes() for name in names})
    return found
