"""Events to samples: one row for every visit that a prediction can be made at, with the next visit's labels.

    events -> visits, each with its codes -> visits beside their neighbours -> index visits -> samples

Visits are ordered by admission time, then HADM_ID; which of them is the next one, stays.py says.  A split is held as
visits with lists of codes, each code once: the 59,000 admissions and four million prescriptions of MIMIC-III take
seconds and about a gigabyte.

    V visits, K labels
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from ckd_dist import schema
from ckd_dist.ehr import criteria
from ckd_dist.ehr.flow import Flow
from ckd_dist.ehr.labelset import LabelSet
from ckd_dist.ehr.stays import ORDER, VISIT, read_stays, with_surroundings

OLDEST = 90.0  # years: sources shift the births of older subjects, so ages beyond mean nothing
DAYS_PER_YEAR = 365.25
NO_CODES = pl.lit([], dtype=pl.List(pl.String))
CONTRADICTIONS = {  # of visits with another record of their subject, each resolved as stays.py says
    "next_began_early": "visits whose next began before their discharge, and is not taken as the next",
    "unsaid": "visits that end in death by its time alone, not by their discharge",
    "unborn": "visits that end before birth, of unknown age",
}


def build_samples(
    events: pl.LazyFrame,
    label_set: LabelSet,
    select: criteria.Criteria,
    columns_of: Callable[[str], tuple[int, ...]],
    first_sample_id: int = 0,
) -> tuple[pl.DataFrame, Flow]:
    """Build schema.SAMPLES, by subject and admission, and the flow that led there; `sample_id` counts up.

    events: schema.EVENTS, codes of one visit and time in SEQ_NUM order.  columns_of: diagnosis code -> label columns.
    No sample holds anything dated after its `prediction_time`.  Raises ValueError where a column of `events` is wrong.
    """
    events = schema.check_columns(events, schema.EVENTS, "events")
    visits, num_late = _with_codes(read_stays(events), events)
    visits, visit_flow = criteria.apply(visits, "visits", criteria.of_visits())
    visits = visits.sort(ORDER)
    visits = _with_bits(visits, columns_of, len(label_set.names))
    visits = _with_neighbours(visits, select.history_visits)
    visits = _with_subjects(visits, events)
    index, index_flow = criteria.apply(visits, "visits with a diagnosis", criteria.of_index_visits(select))
    flow = Flow(visit_flow.rows + index_flow.rows, _notes(index, num_late) | _contradictions(visits))
    return _samples(index, first_sample_id), flow


def _starting(events: pl.LazyFrame, *prefixes: str) -> pl.LazyFrame:
    """Events whose code starts with one of `prefixes`."""
    return events.filter(pl.any_horizontal(pl.col("code").str.starts_with(prefix) for prefix in prefixes))


def _with_codes(visits: pl.DataFrame, events: pl.LazyFrame) -> tuple[pl.DataFrame, int]:
    """Add the lists of codes of each visit, and count the events that came too late for it."""
    num_late = 0
    for name, prefix in (
        ("diagnoses", schema.ANY_DIAGNOSIS),
        ("medications", schema.MEDICATION),
        ("procedures", schema.ANY_PROCEDURE),
    ):
        lists, num = _codes(visits, events, prefix)
        visits = visits.join(lists.rename({"code": name}), on=VISIT, how="left").with_columns(
            pl.col(name).fill_null(NO_CODES)
        )
        num_late += num
    return visits, num_late


def _codes(visits: pl.DataFrame, events: pl.LazyFrame, prefix: str) -> tuple[pl.DataFrame, int]:
    """One kind of code by visit, each once, by first time and then as they come; and how many came after discharge."""
    ends = visits.lazy().select(*VISIT, "discharged")
    found = (
        _starting(events, prefix)
        .filter(~pl.col("code").str.starts_with(schema.EICU_DIAGNOSIS))  # its ICD codes stand beside
        .select(*VISIT, "time", "code")
        .join(ends, on=VISIT, how="inner", maintain_order="left")
        .collect()
    )
    in_input = found.filter(criteria.IN_INPUT)
    once = in_input.sort("time", maintain_order=True).unique([*VISIT, "code"], keep="first", maintain_order=True)
    if prefix == schema.MEDICATION:
        once = once.with_columns(pl.col("code").str.strip_prefix(prefix))
    return once.group_by(VISIT).agg("code"), len(found) - len(in_input)


def _with_bits(visits: pl.DataFrame, columns_of: Callable[[str], tuple[int, ...]], num_labels: int) -> pl.DataFrame:
    """Add `current`: the K label bits of each visit's own diagnoses."""
    rows = pl.DataFrame({"code": visits["diagnoses"]}).with_row_index("row").explode("code")
    codes = rows["code"].unique()
    columns = pl.DataFrame(
        {"code": codes, "column": [list(columns_of(code)) for code in codes]},
        schema={"code": pl.String, "column": pl.List(pl.Int64)},
    )
    ones = rows.join(columns, on="code").explode("column").drop_nulls("column")
    bits_VK = np.zeros((len(visits), num_labels), dtype=np.int8)
    bits_VK[ones["row"].to_numpy(), ones["column"].to_numpy()] = 1
    return visits.with_columns(current=pl.Series(bits_VK, dtype=pl.Array(pl.Int8, num_labels)).cast(pl.List(pl.Int8)))


def _with_neighbours(visits: pl.DataFrame, history_visits: int) -> pl.DataFrame:
    """Add gap_days, history, next_admitted and labels, from visits in order."""
    gap = criteria.days_between(pl.col("earlier_end"), pl.col("admitted")).clip(0)
    next_row = pl.col("next_row")
    visits = with_surroundings(visits).with_columns(
        gap_days=gap.cast(pl.Float32),
        next_admitted=pl.col("admitted").gather(next_row),
        labels=pl.col("current").gather(next_row),
    )
    by_end = visits.sort("subject_id", "discharged", "admitted", "hadm_id")
    return by_end.with_columns(history=_history(history_visits)).sort(ORDER)


def _history(num: int) -> pl.Expr:
    """Up to `num` earlier visits, newest first, from visits in order of discharge: all that had ended by then."""
    if not num:
        return pl.lit([], dtype=pl.List(schema.VISIT))
    earlier = []
    for lag in range(1, num + 1):
        visit = pl.struct(
            *(pl.col(name).shift(lag) for name in ("diagnoses", "medications", "procedures")),
            days_before=criteria.days_between(pl.col("discharged").shift(lag), pl.col("discharged")).cast(pl.Float32),
        )
        is_same = (pl.col("subject_id") == pl.col("subject_id").shift(lag)).fill_null(False)
        earlier.append(pl.when(is_same).then(visit))
    return pl.concat_list(earlier).list.drop_nulls()


def _with_subjects(visits: pl.DataFrame, events: pl.LazyFrame) -> pl.DataFrame:
    """Add age, sex and site."""
    code, time = pl.col("code"), pl.col("time")
    of_subject = (
        _starting(events, schema.BIRTH, schema.GENDER, schema.SITE)
        .group_by("subject_id")
        .agg(
            birth=time.filter(code == schema.BIRTH).min(),
            sex=code.filter(code.str.starts_with(schema.GENDER)).first().str.strip_prefix(schema.GENDER),
            site_of_subject=code.filter(code.str.starts_with(schema.SITE), pl.col("hadm_id").is_null()).first(),
        )
        .collect()
    )
    of_visit = _starting(events, schema.SITE).group_by(VISIT).agg(site_of_visit=pl.col("code").first()).collect()
    years = criteria.days_between(pl.col("birth"), pl.col("discharged")) / DAYS_PER_YEAR
    site = pl.coalesce("site_of_visit", "site_of_subject").str.strip_prefix(schema.SITE)
    return (
        visits.join(of_subject, on="subject_id", how="left", maintain_order="left")
        .join(of_visit, on=VISIT, how="left", maintain_order="left")
        .with_columns(
            age=pl.when(years >= 0).then(years.clip(upper_bound=OLDEST)).cast(pl.Float32),
            unborn=(years < 0).fill_null(False),
            sex=pl.when(pl.col("sex").is_in(["F", "M"])).then("sex"),
            site=site.fill_null("all"),
        )
    )


def _samples(index: pl.DataFrame, first_sample_id: int) -> pl.DataFrame:
    numbered = index.with_columns(
        sample_id=pl.int_range(first_sample_id, first_sample_id + len(index), dtype=pl.Int64),
        prediction_time=pl.col("discharged"),
    )
    return schema.check_columns(numbered, schema.SAMPLES, "samples")


def _notes(index: pl.DataFrame, num_late: int) -> dict[str, int]:
    """Counts that exclude nobody."""
    num_labelled = int(index["labels"].is_not_null().sum())
    return {
        "subjects": index["subject_id"].n_unique(),
        "labelled by a next visit": num_labelled,
        "unlabelled: last visit recorded": len(index) - num_labelled,
        "next visit on the day of discharge (transfer)": int(index.select(criteria.SAME_DAY.sum()).item()),
        "events after their visit's discharge, left out": num_late,
    }


def _contradictions(visits: pl.DataFrame) -> dict[str, int]:
    return {words: int(visits[name].sum()) for name, words in CONTRADICTIONS.items()}
