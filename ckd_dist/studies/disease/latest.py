"""Whom to predict for: everybody who lives, at the discharge from the latest visit, or not at all.

A subject who has died, in hospital or after, has no next visit.  Where the latest visit cannot be an index visit (no
diagnosis was coded, its discharge is not there yet or not readable), the one before it can, but what follows that one
is known to have begun: its prediction would be of the past.  Whoever is left out is counted, under the first reason.
"""

from collections.abc import Iterator

import polars as pl

from ckd_dist.ehr.stays import read_deaths, read_stays

NOBODY = "nobody to predict for"
WHY = (  # reason, in words after "3 subjects", and when it is one
    (f"died in hospital: {NOBODY}", pl.col("died_in_hospital")),
    (f"died, in no visit on record: {NOBODY}", pl.col("died")),
    ("came last for a visit without readable times, or are still there", pl.col("unread") > pl.col("last_admitted")),
    ("had no visit with an admission and a discharge in order", pl.col("last_discharged").is_null()),
    (
        "came last for a visit that passes no criterion (no diagnosis coded, too young)",
        pl.col("prediction_time").is_null() | (pl.col("prediction_time") < pl.col("last_discharged")),
    ),
)


def latest_visits(
    events: pl.LazyFrame, unread: pl.DataFrame, samples: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the samples to predict at, one a subject, and why how many subjects are left out, in the order of WHY.

    unread: events.read_unread_visits.  samples: all of these events.
    """
    newest = samples.sort("prediction_time", "sample_id").unique("subject_id", keep="last", maintain_order=True)
    subjects = _subjects(events, unread).join(newest.select("subject_id", "prediction_time"), "subject_id", how="left")
    reason = pl.coalesce(pl.when(holds.fill_null(False)).then(pl.lit(words)) for words, holds in WHY)
    subjects = subjects.with_columns(reason=reason)
    numbers = dict(subjects.group_by("reason").len().iter_rows())
    kept = subjects.filter(pl.col("reason").is_null()).select("subject_id")
    latest = newest.join(kept, on="subject_id", how="semi", maintain_order="left")
    return latest, {words: numbers[words] for words, _ in WHY if words in numbers}


def sentences(left_out: dict[str, int]) -> Iterator[str]:
    """Write why subjects are left out.

    >>> list(sentences({"died in hospital": 1, "came again": 1200}))
    ['1 subject died in hospital', '1,200 subjects came again']
    """
    for words, number in left_out.items():
        yield f"{number:,} {'subject' if number == 1 else 'subjects'} {words}"


def _subjects(events: pl.LazyFrame, unread: pl.DataFrame) -> pl.DataFrame:
    """Return every subject's last_admitted, last_discharged, died_in_hospital, died, and unread: the latest such."""
    stays = read_stays(events)
    in_hospital = stays.filter("died", ~pl.col("after_death"))
    whole = stays.filter(pl.col("admitted") <= pl.col("discharged")).group_by("subject_id")
    last = whole.agg(last_admitted=pl.col("admitted").max(), last_discharged=pl.col("discharged").max())
    return (
        events.select(pl.col("subject_id").unique())
        .collect()
        .join(last, on="subject_id", how="left")
        .join(unread.group_by("subject_id").agg(unread=pl.col("admitted").max()), on="subject_id", how="left")
        .with_columns(
            died_in_hospital=pl.col("subject_id").is_in(in_hospital["subject_id"].unique().implode()),
            died=pl.col("subject_id").is_in(read_deaths(events)["subject_id"].implode()),
            last_admitted=pl.coalesce("last_admitted", pl.lit(0).cast(pl.Datetime("us"))),
        )
    )
