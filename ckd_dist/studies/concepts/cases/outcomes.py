"""Turn events into cases: who is predicted when, at which site, and what came of it.

    outcome       a case begins with        it is predicted           what is predicted
    death         an admission (or ICU's)   `hours` later, if there   the visit ends in death
    stay          the same                  the same                  it takes over `stay_days`
    next_visit    a discharge alive         then                      the next visit's phenotypes (samples.py)

The outcome lies after the prediction, what a case says before it (window.py).  Who died and when is read as for the
other studies (ehr/stays.py): a visit that begins after the subject's death is no case.  Days of a stay count from
admission to hospital; who dies early has no long stay.  A site is what SITE//... of the visit says, else of the
subject, or one NAME for a whole source.
"""

from collections.abc import Mapping

import polars as pl

from ckd_dist import schema
from ckd_dist.ehr import criteria
from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.flow import Flow
from ckd_dist.ehr.labelset import LabelSet
from ckd_dist.ehr.samples import build_samples
from ckd_dist.ehr.stays import VISIT, read_stays
from ckd_dist.studies.concepts.cases.built import Built
from ckd_dist.studies.concepts.cases.concepts import gather
from ckd_dist.studies.concepts.cases.options import CaseOptions
from ckd_dist.studies.concepts.cases.table import CASES
from ckd_dist.studies.concepts.cases.window import read_window

SITES = {"region": "region=", "hospital": "hospital="}
HOURS_PER_DAY = 24


def build_cases(
    events: pl.LazyFrame,
    titles: Mapping[str, str],
    options: CaseOptions,
    *,
    source: str,
    name: str | None = None,
    label_set: LabelSet | None = None,
) -> Built:
    """Build the cases of one source, by subject and beginning, with their concepts and the flow to them; no splits yet.

    events: schema.EVENTS.  titles: the source's own, by code.  source: whose subject numbers these are.  name: what to
    call all of it as a site.  label_set: for outcome next_visit.  Raises ValueError where events lack a
    column, or where a long stay would be long before it is predicted.
    """
    _check(options)
    events = schema.check_columns(events, schema.EVENTS, "events")
    visits = read_stays(events)
    if options.outcome == "next_visit":
        assert label_set is not None, "a next visit wants a label set"
        cases, flow, outcomes = _next_visits(events, label_set)
    else:
        cases, flow, outcomes = _stays(events, visits, options)
    site = _sites(events, cases, options) if name is None else pl.Series([name] * len(cases), dtype=pl.String)
    has_site = (f"no {options.by} named", pl.col("site").is_not_null())
    if len(cases) and site.null_count() == len(cases):
        raise ValueError(f"none of {len(cases):,} cases names a {options.by}: {_named(events)}")
    cases, last = criteria.apply(cases.with_columns(site.alias("site")), "cases", [has_site])
    rows, meanings, notes = read_window(events, cases, visits, titles, options)
    lists, concepts, num_cut = gather(len(cases), rows, meanings, options.max_concepts)
    cases = cases.with_columns(
        lists,
        case_id=pl.int_range(len(cases), dtype=pl.Int64),
        split=pl.lit(None, pl.String),
        oracle=pl.lit(None, CASES["oracle"]),
    )
    notes |= {"cases without a concept": int((lists.list.len() == 0).sum())}
    flow = Flow(flow.rows + last.rows[1:], flow.notes | notes)
    lost = {"concepts beyond max_concepts": num_cut}
    return Built(schema.check_columns(cases, CASES, "cases"), concepts, outcomes, flow, source, lost)


def _check(options: CaseOptions) -> None:
    is_stay = (options.outcome, options.begin) == ("stay", "admission")
    if is_stay and options.stay_days * HOURS_PER_DAY < options.hours:
        raise ValueError(
            f"a stay of {options.stay_days:g} days is long before it is predicted, {options.hours:g} hours after "
            "admission: raise sites.stay_days or lower sites.hours"
        )


def _stays(
    events: pl.LazyFrame, visits: pl.DataFrame, options: CaseOptions
) -> tuple[pl.DataFrame, Flow, tuple[str, ...]]:
    """Return cases that begin with an admission: columns of VISIT, begin, at, outcomes."""
    start = schema.ADMISSION if options.begin == "admission" else schema.ICU_ADMISSION
    begun = events.filter(pl.col("code").str.starts_with(start)).select(*VISIT, begin="time").collect()
    if options.begin == "admission":  # a visit is admitted once, at its first
        begun = begun.sort("begin", nulls_last=True).unique(VISIT, keep="first", maintain_order=True)
    cases = (
        begun.join(visits, on=VISIT, how="left")
        .with_columns(at=pl.col("begin") + pl.duration(hours=options.hours))
        .sort("subject_id", "begin", "hadm_id")
    )
    days = criteria.days_between(pl.col("admitted"), pl.col("discharged"))
    days_by_then = criteria.days_between(pl.col("admitted"), pl.col("at"))
    is_first = pl.struct(*VISIT, "begin").is_first_distinct()
    same = [("begins with another unit stay of the visit: the same case", is_first)] * (options.begin == "icu")
    judged = [
        *same,
        (
            "no admission or no discharge recorded",
            pl.col("begin").is_not_null() & pl.col("admitted").is_not_null() & pl.col("discharged").is_not_null(),
        ),
        ("discharged before admitted", pl.col("discharged") >= pl.col("admitted")),
        ("admitted after death", ~pl.col("after_death")),
        (f"left or died within {options.hours:g} hours", pl.col("ended") > pl.col("at")),
    ]
    outcome, happened = "death in hospital", pl.col("died")
    if options.outcome == "stay":
        outcome, happened = f"stay over {options.stay_days:g} days", days > options.stay_days
        judged.append(("the stay was long before the prediction", days_by_then <= options.stay_days))
    what = "hospital visits" if options.begin == "admission" else "unit stays"
    cases, flow = criteria.apply(cases, what, judged)
    return cases.with_columns(outcomes=pl.concat_list(happened.cast(pl.Int8))), flow, (outcome,)


def _next_visits(events: pl.LazyFrame, label_set: LabelSet) -> tuple[pl.DataFrame, Flow, tuple[str, ...]]:
    """Return cases that begin with a discharge alive that another visit follows: columns as of `_stays`."""
    samples, flow = build_samples(events, label_set, Criteria(history_visits=0, unlabelled=False), label_set.columns_of)
    at = pl.col("prediction_time")
    return samples.select(*VISIT, begin=at, at=at, outcomes="labels"), flow, tuple(label_set.names)


def _named(events: pl.LazyFrame) -> str:
    """Say how else the source's sites can be told apart."""
    place = pl.col("code").str.strip_prefix(schema.SITE)
    places = events.filter(pl.col("code").str.starts_with(schema.SITE)).select(place.unique()).collect()["code"]
    known = {by: places.str.starts_with(key).any() for by, key in SITES.items()}
    known["site"] = bool((~places.str.contains("=", literal=True)).any())
    ways = " or ".join(f"sites.by={by}" for by, has in known.items() if has)
    return f"give {ways}" if ways else "the source names no sites, so give several sources, each as NAME=SOURCE"


def _sites(events: pl.LazyFrame, cases: pl.DataFrame, options: CaseOptions) -> pl.Series:
    """Return each case's site: the first that its visit names, else the first that the subject does, else null."""
    place, hadm = pl.col("code").str.strip_prefix(schema.SITE), pl.col("hadm_id")
    key = SITES.get(options.by)
    is_wanted = place.str.starts_with(key) if key else ~place.str.contains("=", literal=True)
    named = (
        events.filter(pl.col("code").str.starts_with(schema.SITE))
        .filter(is_wanted)
        .select(*VISIT, site=place.str.strip_prefix(key or ""))
        .collect()
    )
    of_visit = named.filter(hadm.is_not_null()).unique(VISIT, keep="first", maintain_order=True)
    of_subject = named.filter(hadm.is_null()).unique("subject_id", keep="first", maintain_order=True)
    found = (
        cases.select(VISIT)
        .join(of_visit, on=VISIT, how="left", maintain_order="left")
        .join(of_subject.drop("hadm_id"), on="subject_id", how="left", maintain_order="left", suffix="_of_subject")
    )
    return found.select(pl.coalesce("site", "site_of_subject"))["site"]
