"""Read what a case may look at: concepts from `history_days` before its beginning to its prediction.

An event counts when it was known by the prediction:
 - it is dated then or earlier, and its visit is the case's own or began earlier (a transfer on the same day did not);
 - a drug dated at midnight may have been ordered at any time of that day, since sources like MIMIC-III date drugs by
   day: it is known when that day or its visit is over.
Diagnoses and procedures are dated as the source dates them: ICD codes of MIMIC at discharge, so a case that begins with
its admission has those of earlier visits alone; eICU's diagnoses when they were written.
"""

from collections.abc import Mapping

import polars as pl

from ckd_dist import schema
from ckd_dist.ehr.stays import VISIT
from ckd_dist.studies.concepts.cases.concepts import MEANINGS
from ckd_dist.studies.concepts.cases.options import CaseOptions
from ckd_dist.studies.concepts.cases.phrases import concept_of

CODED = ("DIAGNOSIS//", "PROCEDURE//")


def read_window(
    events: pl.LazyFrame, cases: pl.DataFrame, visits: pl.DataFrame, titles: Mapping[str, str], options: CaseOptions
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """Return columns case and key of every event that a case may look at, in order of time; what keys mean; and counts.

    cases: columns subject_id, hadm_id, begin, at.  visits: columns subject_id, hadm_id, admitted, discharged.  titles:
    the source's own, by code.
    """
    wanted = events.filter(
        pl.any_horizontal(pl.col("code").str.starts_with(prefix) for prefix in options.codes),
        pl.col("time").is_not_null(),
    )
    codes = wanted.select(pl.col("code").unique()).collect()["code"].sort()
    meanings = _meanings(codes, titles)
    windows = cases.select("subject_id", "begin", "at", own="hadm_id", case=pl.int_range(pl.len(), dtype=pl.Int64))
    near = (
        wanted.with_row_index("row")
        .join(meanings.lazy().select("code", "key"), on="code")
        .join(visits.lazy().select(*VISIT, "admitted", "discharged"), on=VISIT, how="left")
        .select("subject_id", "hadm_id", "time", "admitted", "key", "row", *_about())
        .join(windows.lazy(), on="subject_id")
        .filter(pl.col("time") >= pl.col("begin") - pl.duration(days=options.history_days))
        .with_columns(
            is_own=(pl.col("hadm_id") == pl.col("own")).fill_null(False), by_then=pl.col("known") <= pl.col("at")
        )
    )
    is_begun = pl.col("is_own") | (pl.col("admitted") < pl.col("at")).fill_null(True)
    seen = near.filter("by_then", is_begun).select("case", "time", "row", "key").collect(engine="streaming")
    counts = near.select(
        coded=(pl.col("is_own") & pl.col("is_coded") & ~pl.col("by_then")).sum(),
        midnight=(~pl.col("by_then") & is_begun & (pl.col("time") <= pl.col("at"))).sum(),
    ).collect(engine="streaming")
    return seen.sort("case", "time", "row").select("case", "key"), meanings, _notes(counts)


def _about() -> list[pl.Expr]:
    """Say when an event is known, and whether it is a diagnosis or procedure."""
    time, code = pl.col("time"), pl.col("code")
    day_over = time + pl.duration(days=1)
    is_day = code.str.starts_with(schema.MEDICATION) & (time.dt.time() == pl.time(0))
    known = pl.when(is_day).then(pl.max_horizontal(time, pl.min_horizontal(day_over, "discharged"))).otherwise(time)
    return [known.alias("known"), pl.any_horizontal(code.str.starts_with(kind) for kind in CODED).alias("is_coded")]


def _meanings(codes: pl.Series, titles: Mapping[str, str]) -> pl.DataFrame:
    """Return concepts.MEANINGS of the codes, numbered in their order."""
    rows = [(key, *concept_of(code, titles.get(code)), code, False) for key, code in enumerate(codes)]
    return pl.DataFrame(rows, schema=MEANINGS, orient="row")


def _notes(counts: pl.DataFrame) -> dict[str, int]:
    num_coded, num_by_day = counts.row(0)
    return {
        "diagnoses and procedures of the same visit dated after the prediction (ICD codes: at discharge)": num_coded,
        "drugs dated by day alone, on the day of the prediction, left out": num_by_day,
    }
