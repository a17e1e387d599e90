"""Who enters the cohort, and which time a sample may look at.

    trigger   a visit's discharge, alive: `prediction_time`
    input     the index visit, admission to discharge, and other visits that ended by then; nothing later
    gap       discharge to the next admission: 0 for a same-day transfer, at most `max_gap_days`
    target    the first coded visit that begins at the discharge or later, to its own end (which may be death)

A visit is what has an admission, a discharge not before it, and a diagnosis, and begins while the subject lives; others
are counted and never come in between.  Death censors: a visit that ends in it has no next visit and leaves, while the
visit before it keeps it as its target.  So does a next visit that comes too late.  A visit that is merely the last one
recorded stays, unlabelled.

Visits may overlap (nested accounts, transfers booked twice: some pairs in MIMIC-IV, many in other records).  A visit
that began before the discharge is no next visit: its codes may be older than the prediction, its end too, and who
predicts it predicts the past.  And a discharge while another visit goes on is not the end of being in hospital, so it
is no time to predict at: of visits that overlap, the one that ends last is the index visit, with the next visit after
all of them.  That is when and what merging them would predict; their codes stay apart, the others' as history.
femr and EHRSHOT exclude such visits likewise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ckd_dist.ehr.flow import Flow

DAYS = 24 * 60 * 60 * 1e6  # microseconds


@dataclass(frozen=True)
class Criteria:
    """Which visits become samples."""

    history_visits: int = 1  # earlier visits kept with a sample
    min_age: float = 0.0  # years at the index visit
    max_gap_days: float | None = None  # longest time to the next visit; later ones are censored
    unlabelled: bool = True  # keep visits without a successor


Criterion = tuple[str, pl.Expr]  # why a visit leaves, and whether it stays

IN_INPUT = pl.col("time") <= pl.col("discharged")  # an event of a visit that its discharge has seen

SAME_DAY = pl.col("next_admitted").dt.date() <= pl.col("discharged").dt.date()


def days_between(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Return the time from `start` to `end` in days."""
    return (end - start).dt.total_microseconds() / DAYS


def of_visits() -> list[Criterion]:
    """List what makes a visit, whether index, earlier or next.  Wants admitted, discharged, after_death, diagnoses."""
    return [
        (
            "no admission or no discharge recorded",
            pl.col("admitted").is_not_null() & pl.col("discharged").is_not_null(),
        ),
        ("discharged before admitted", pl.col("discharged") >= pl.col("admitted")),
        ("admitted after death", ~pl.col("after_death")),
        ("no diagnosis coded", pl.col("diagnoses").list.len() > 0),
    ]


def of_index_visits(select: Criteria) -> list[Criterion]:
    """List what makes an index visit.  Wants age, died, outlasted, discharged and next_admitted (null: none)."""
    has_next = pl.col("next_admitted").is_not_null()
    criteria = [
        ("discharged while another visit went on: censored", ~pl.col("outlasted")),
        ("died in hospital: censored", ~pl.col("died")),
    ]
    if select.min_age > 0:
        criteria.append((f"younger than {select.min_age:g} years, or of unknown age", pl.col("age") >= select.min_age))
    if select.max_gap_days is not None:
        soon = days_between(pl.col("discharged"), pl.col("next_admitted")) <= select.max_gap_days
        criteria.append((f"next visit more than {select.max_gap_days:g} days later: censored", ~has_next | soon))
    if not select.unlabelled:
        criteria.append(("no next visit", has_next))
    return criteria


def apply(visits: pl.DataFrame, start: str, criteria: Sequence[Criterion]) -> tuple[pl.DataFrame, Flow]:
    """Keep the visits that pass every criterion in turn, and say how many each took; a null answer does not pass."""
    rows = [(start, 0, len(visits))]
    for reason, stays in criteria:
        num_before = len(visits)
        visits = visits.filter(stays)
        rows.append((reason, num_before - len(visits), len(visits)))
    return visits, Flow(tuple(rows))
