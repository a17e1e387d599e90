"""Cut rows, longest first, into batches by a budget of padded tokens: a batch costs its rows times its longest.

Every forward pass of the house is cut here: a step's micro-batches, predictions, embeddings.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np


def batches(lengths: np.ndarray, micro_tokens: int) -> Iterator[slice]:
    """Yield which rows, longest first, go together within `micro_tokens`; a longer row goes alone.

    >>> list(batches(np.array([9, 5, 4, 4]), 10))
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None)]
    """
    start = 0
    for size in cut(lengths.tolist(), micro_tokens):
        yield slice(start, start + size)
        start += size


def cut(longest_first: Sequence[int], tokens: int, num_batches: int = 0) -> list[int]:
    """Return how many rows each batch has: as many as `tokens` hold when padded to its longest, at least one.

    A row is kept for each of `num_batches` where that many are asked for.

    >>> cut([50, 40, 30, 10, 10], 100), cut([50, 40, 30, 10, 10], 100, num_batches=4)
    ([2, 3], [2, 1, 1, 1])
    """
    sizes, start, num_rows = [], 0, len(longest_first)
    while start < num_rows:
        others = max(0, num_batches - len(sizes) - 1)
        size = max(1, min(tokens // longest_first[start], num_rows - start - others))
        sizes.append(size)
        start += size
    return sizes


def cut_evenly(longest_first: Sequence[int], tokens: int, num_batches: int) -> list[int]:
    """Cut into `num_batches` (or single rows), the costliest of which is as cheap as it can be.

    `num_batches` is at least what `cut` needs.  The fewer tokens a batch may hold, the more batches: so bisect.

    >>> cut_evenly([50, 40, 30, 10, 10], 100, 2), cut_evenly([7] * 32, 10_000, 3)
    ([2, 3], [11, 11, 10])
    """
    lowest, highest = longest_first[0], max(tokens, longest_first[0])
    fits = bisect_left(range(lowest, highest), True, key=lambda tokens: len(cut(longest_first, tokens)) <= num_batches)
    return cut(longest_first, lowest + fits, num_batches)
