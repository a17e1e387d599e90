"""The two tables that the read stage leaves: concepts, and the cases that name them."""

import polars as pl

CONCEPTS = pl.Schema(
    {
        "concept": pl.Int32,  # its row, which CASES.concepts names
        "system": pl.String,  # code system: ICD9, ICD10, drug, eicu_diagnosis, ... or a site's own
        "text": pl.String,  # the phrase that is embedded; "Not <phrase>" for a finding that was looked for and absent
        "code": pl.String,  # one code of this phrase, for people
        "absent": pl.Boolean,  # whether it says that a finding is absent
    }
)  # (system, text) occurs once; rows sorted by it

CASES = pl.Schema(
    {
        "case_id": pl.Int64,  # running number over all sites; the only id that logs may show
        "subject_id": pl.Int64,  # over all sites: the same person has the same number, where that is known
        "site": pl.String,
        "split": pl.String,  # by subject, so never two for one person
        "concepts": pl.List(pl.Int32),  # each once, by first time up to the prediction, then in the source's order
        "outcomes": pl.List(pl.Int8),  # K bits
        "oracle": pl.List(pl.Float32),  # K exact probabilities where the law is known; null elsewhere
    }
)
