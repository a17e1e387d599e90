"""Name codes: a diagnosis by its CCS category or its title, a procedure as the hospital describes it."""

from collections.abc import Callable

import polars as pl

from ckd_dist.ehr import codes
from ckd_dist.schema import DIAGNOSIS


def naming(descriptions: pl.DataFrame, diagnosis_names: str) -> Callable[[str], str]:
    """Return a function from an event code to its name.

    descriptions: code and description, as metadata/codes.parquet has them.  diagnosis_names: "ccs" or "title".
    A code that nobody describes keeps its own letters.
    """
    described = dict(descriptions.drop_nulls("description").select("code", "description").iter_rows())

    def name_of(code: str) -> str:
        category = codes.ccs_name(code) if diagnosis_names == "ccs" and code.startswith(DIAGNOSIS) else None
        return category or described.get(code) or codes.title(code) or code.rpartition("//")[2]

    return name_of
