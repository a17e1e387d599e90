"""How many optimizer steps a training phase makes, from its rows, its batch and its epochs.

The one formula: the stream deals out as many steps, the trainer makes them, and `plan` announces them.  An epoch reads
every row, so its last batch may be a small one; epochs may be a fraction.
"""

import math


def steps_per_epoch(num_rows: int, batch_samples: int) -> int:
    """Count the global batches of an epoch, the last one perhaps smaller."""
    return -(-num_rows // batch_samples)


def num_steps(num_rows: int, batch_samples: int, epochs: float) -> int | float:
    """Count the optimizer steps of `epochs`: rounded to whole ones, at least one; infinite where `epochs` is.

    >>> num_steps(33, 32, 3), num_steps(100, 32, 2.4), num_steps(100, 32, 0.1)
    (6, 10, 1)
    """
    exact = epochs * steps_per_epoch(num_rows, batch_samples)
    return max(1, round(exact)) if math.isfinite(exact) else exact


def epochs_as_long(epochs: float, num_rows: int, num_fewer: int) -> float:
    """Return the epochs over `num_fewer` rows that read as many rows as `epochs` over `num_rows` do.

    So a baseline that has fewer labels learns for as long.

    >>> epochs_as_long(3, num_rows=100, num_fewer=25)
    12.0
    """
    return epochs * num_rows / max(1, num_fewer)
