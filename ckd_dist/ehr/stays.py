"""When a subject was in hospital and when dead: every visit, its end, the death, and what came before and after it.

A death is dated to the day where its time is midnight, as a DOD without a time is: the subject is then dead by the end
of that day, so that a discharge or an admission on it is no contradiction.  A visit ends in death where its discharge
says so, or where the death lies within it.  It comes after death where the subject was dead when it began, as accounts
of organ donors do; the visit that ends in death may begin some hours after its own time of death, on the same day.

Visits overlap where one is nested in another, or begins before another's discharge.  Discharge from one of them is no
discharge home: it is `outlasted` by the visit that ends last, or, of those that end together, by the one that began
first.  The next visit is the first that begins at the discharge or later.

    N visits, in ORDER
"""

import numpy as np
import polars as pl

from ckd_dist import schema

VISIT = ["subject_id", "hadm_id"]
ORDER = ("subject_id", "admitted", "hadm_id")
DAY = pl.duration(days=1)


def read_stays(events: pl.LazyFrame) -> pl.DataFrame:
    """Return every visit's VISIT, admitted, discharged, died, unsaid, after_death, and ended; unknown times are null.

    died: in the visit; unsaid: and its discharge does not say so.  after_death: the subject was dead when it began.
    ended: its discharge, or a death before it.
    """
    admitted, discharged, dead_by = pl.col("admitted"), pl.col("discharged"), pl.col("dead_by")
    said, first = pl.col("died"), pl.col("first_died")
    dead_again = (first <= admitted) & (first < discharged) | (pl.col("death").dt.date() < admitted.dt.date())
    is_within = (dead_by <= discharged) | (pl.col("death") == discharged)
    after_death = pl.when(said).then(dead_again).otherwise(dead_by <= admitted).fill_null(False)
    died = said | is_within.fill_null(False)
    return (
        _visits(events)
        .join(read_deaths(events), on="subject_id", how="left", maintain_order="left")
        .with_columns(after_death=after_death, died=died, unsaid=died & ~said)
        .with_columns(
            ended=pl.min_horizontal(discharged, pl.when(pl.col("died") & (dead_by >= admitted)).then(dead_by))
        )
        .select(*VISIT, "admitted", "discharged", "died", "unsaid", "after_death", "ended")
        .sort(ORDER)
    )


def read_deaths(events: pl.LazyFrame) -> pl.DataFrame:
    """Return, for every subject who died: death as recorded, first_died (a visit that says so ended), and dead_by."""
    is_death, is_died = pl.col("code") == schema.DEATH, pl.col("code") == schema.DIED
    death, first_died = pl.col("death"), pl.col("first_died")
    is_day = death.dt.time() == pl.time(0)
    return (
        events.filter(is_death | is_died, pl.col("time").is_not_null())
        .group_by("subject_id")
        .agg(death=pl.col("time").filter(is_death).min(), first_died=pl.col("time").filter(is_died).min())
        .with_columns(dead_by=pl.min_horizontal(pl.when(is_day).then(death + DAY).otherwise(death), first_died))
        .sort("subject_id")
        .collect()
    )


def _visits(events: pl.LazyFrame) -> pl.DataFrame:
    """Return every visit's admitted and discharged, and whether its discharge says that it ended in death."""
    code, time = pl.col("code"), pl.col("time")
    is_admission, is_discharge = (code.str.starts_with(prefix) for prefix in (schema.ADMISSION, schema.DISCHARGE))
    return (
        events.filter(is_admission | is_discharge, pl.col("hadm_id").is_not_null())
        .group_by(VISIT)
        .agg(
            admitted=time.filter(is_admission).min(),
            discharged=time.filter(is_discharge).max(),
            died=(code == schema.DIED).any(),
        )
        .collect()
    )


def with_surroundings(visits: pl.DataFrame) -> pl.DataFrame:
    """Add outlasted, next_row (null: none), next_began_early and earlier_end to whole visits in ORDER.

    next_began_early: the visit after it in ORDER began before its discharge.  earlier_end: the last discharge of the
    visits before it in ORDER, null for a subject's first.
    """
    earlier_end = pl.col("discharged").cum_max().over("subject_id").shift(1)
    is_same = pl.col("subject_id") == pl.col("subject_id").shift(1)
    outlasted_N, next_N = _surroundings(*(visits[name].to_numpy() for name in ("subject_id", "admitted", "discharged")))
    return visits.with_columns(
        outlasted=pl.Series(outlasted_N, dtype=pl.Boolean),
        next_row=pl.Series(next_N, dtype=pl.Int64).set(pl.Series(next_N < 0, dtype=pl.Boolean), None),
        earlier_end=pl.when(is_same).then(earlier_end),
        next_began_early=(is_same.shift(-1) & (pl.col("admitted").shift(-1) < pl.col("discharged"))).fill_null(False),
    )


def _surroundings(subject_N: np.ndarray, start_N: np.ndarray, end_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each visit is outlasted, and the row of its next visit, -1 where there is none.

    A subject and a time become one number that orders as both do, so that one search serves all subjects.
    """
    num = len(subject_N)
    if not num:
        return np.empty(0, dtype=bool), np.empty(0, dtype=np.int64)
    times, rank_2N = np.unique(np.concatenate([start_N, end_N]), return_inverse=True)
    subject_rank_N = np.unique(subject_N, return_inverse=True)[1] * len(times)
    start_N, end_N = subject_rank_N + rank_2N[:num], subject_rank_N + rank_2N[num:]
    row_N = np.arange(num)
    next_N = np.maximum(np.searchsorted(start_N, end_N), row_N + 1)  # a visit of no length is not its own next
    latest_N = np.maximum.accumulate(end_N)  # of this row and those above; another subject's numbers are smaller
    ends_with_earlier_N = np.append(-1, latest_N[:-1]) == end_N
    outlasted_N = (latest_N[next_N - 1] > end_N) | (ends_with_earlier_N & (start_N < end_N))
    has_next_N = np.append(subject_N, -1)[np.minimum(next_N, num)] == subject_N
    has_next_N &= next_N < num
    return outlasted_N, np.where(has_next_N, next_N, -1)
