"""Give every case its concepts in order, and number them in one table.

A concept is a phrase of a code system.  Codes that say the same phrase in one system are one concept; a case has each
once, where it first occurs, and where there are too many the latest count.
"""

import polars as pl

from ckd_dist.schema import check_columns
from ckd_dist.studies.concepts.cases.table import CONCEPTS

MEANINGS = pl.Schema(  # what a source's own number of a concept means
    {"key": pl.Int64, "system": pl.String, "text": pl.String, "code": pl.String, "absent": pl.Boolean}
)


def gather(
    num_cases: int, rows: pl.DataFrame, meanings: pl.DataFrame, max_concepts: int
) -> tuple[pl.Series, pl.DataFrame, int]:
    """Return the cases' lists of concepts, table.CONCEPTS of those that a case has, and how many exceed `max_concepts`.

    rows: columns case (0 to num_cases - 1) and key, in order within a case.  meanings: MEANINGS, each key once.
    """
    meanings = meanings.join(rows.select(pl.col("key").unique()), on="key", how="semi")
    phrases = (
        meanings.group_by("system", "text")
        .agg(pl.col("code").min(), pl.col("absent").any())
        .sort("system", "text")
        .with_row_index("concept")
        .with_columns(pl.col("concept").cast(pl.Int32))
    )
    concept_of = meanings.join(phrases, on=("system", "text")).select("key", "concept")
    lists = (
        rows.join(concept_of, on="key", maintain_order="left")
        .unique(["case", "concept"], keep="first", maintain_order=True)
        .group_by("case")
        .agg(pl.col("concept").tail(max_concepts), cut=(pl.len().cast(pl.Int64) - max_concepts).clip(0))
    )
    every = pl.DataFrame({"case": range(num_cases)}, schema={"case": rows.schema["case"]})
    found = every.join(lists, on="case", how="left", maintain_order="left")
    concepts = found["concept"].fill_null([]).rename("concepts")
    return concepts, check_columns(phrases, CONCEPTS, "concepts"), int(found["cut"].sum())
