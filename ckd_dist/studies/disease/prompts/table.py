"""Name the columns of a role's prompts."""

import polars as pl

SPAN = pl.Struct(
    {
        "kind": pl.String,  # visit, section, diagnosis, medication, procedure, efficacy
        "start": pl.Int32,  # characters into the text
        "end": pl.Int32,
        "visit": pl.Int16,  # 0 is the index visit, 1 the one before
    }
)

PROMPTS = pl.Schema(
    {
        "sample_id": pl.Int64,
        "text": pl.String,  # the teacher's with its chat template; within the role's token budget
        "spans": pl.List(SPAN),
        "answer": pl.String,  # the published answer sentence; null: unlabelled, or the student's prompt
        "num_items_cut": pl.Int32,  # items of the record that the role's budget left out
    }
)
