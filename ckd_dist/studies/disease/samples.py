"""Pick rows and bits out of schema.SAMPLES frames.

N rows, K labels
"""

import numpy as np
import polars as pl


def with_labels(samples: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows whose next visit is known."""
    return samples.filter(pl.col("labels").is_not_null())


def bits_of(samples: pl.DataFrame, column: str, num_labels: int | None = None) -> np.ndarray:
    """Return `current` or `labels` as int8 [N, K].  Raise ValueError where a row is null or rows differ in length.

    num_labels: K, needed where there may be no row.
    """
    lengths = samples[column].list.len().unique().to_list()
    if len(lengths) > 1 or lengths == [None]:
        raise ValueError(f"samples: column {column!r} has null rows or rows of unequal length; leave them out first")
    width = lengths[0] if lengths else num_labels or 0
    return samples[column].explode(empty_as_null=False).to_numpy().astype(np.int8).reshape(samples.height, width)
