"""Describe the cohort by split (Table 1), and sort visits into the groups that the report compares.

Counts of 1 to 4 are shown as "<5" without a share, so that nobody is found in a report.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ckd_dist.report.wording import SMALL, count, count_and_share
from ckd_dist.studies.disease.samples import with_labels

AGE_BANDS = ((18, "under 18"), (45, "18–44"), (65, "45–64"), (75, "65–74"), (85, "75–84"), (np.inf, "85 and over"))
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Line:
    """One line of Table 1: a heading where it has no cells."""

    title: str
    cells: tuple[str, ...] = ()
    indent: bool = False


@dataclass(frozen=True)
class Table1:
    """The cohort by split."""

    columns: tuple[str, ...]  # train, tuning, held_out, all
    lines: tuple[Line, ...]


def table1(samples: Mapping[str, pl.DataFrame], names: Sequence[str]) -> Table1:
    """Describe schema.SAMPLES frames by split, and all of them together.  names: the K labels."""
    parts = [frame.with_columns(age_band=age_bands(frame["age"])) for frame in samples.values()]
    parts.append(pl.concat(parts))
    pairs = [with_labels(part) for part in parts]
    subjects = [part.sort("prediction_time").unique("subject_id", keep="first", maintain_order=True) for part in parts]

    lines = [
        Line("Patients", tuple(count(part["subject_id"].n_unique()) for part in parts)),
        Line("Visits", tuple(count(part.height) for part in parts)),
        Line("Pairs: visits whose next one is seen", tuple(count(part.height) for part in pairs)),
        Line("Age at discharge, years", tuple(quartiles(part["age"]) for part in parts)),
        *shares("Age, share of visits", "age_band", parts),
        *shares("Sex, share of patients", "sex", subjects),
        *shares("Site, share of visits", "site", parts),
        Line("A visit's record"),
        Line("Diagnoses", tuple(quartiles(part["diagnoses"].list.len()) for part in parts), indent=True),
        Line("Medications", tuple(quartiles(part["medications"].list.len()) for part in parts), indent=True),
        Line("Procedures", tuple(quartiles(part["procedures"].list.len()) for part in parts), indent=True),
        Line("Earlier visits known", tuple(quartiles(part["history"].list.len()) for part in parts), indent=True),
        Line("Days since the visit before", tuple(quartiles(part["gap_days"]) for part in parts), indent=True),
        Line("Diseases at the next visit, share of pairs"),
    ]
    for k, name in enumerate(names):
        positives = [int(part["labels"].list.get(k).sum() or 0) for part in pairs]
        cells = tuple(count_and_share(n, part.height) for n, part in zip(positives, pairs, strict=True))
        lines.append(Line(name, cells, indent=True))
    return Table1((*samples, "all"), tuple(lines))


def groups_of(samples: pl.DataFrame) -> dict[str, np.ndarray]:
    """Return the group of every row by age band, sex and site: arrays of text [N]."""
    return {
        "Age": age_bands(samples["age"]).to_numpy().astype(str),
        "Sex": samples["sex"].fill_null(UNKNOWN).to_numpy().astype(str),
        "Site": samples["site"].fill_null(UNKNOWN).to_numpy().astype(str),
    }


def age_bands(age: pl.Series) -> pl.Series:
    """Return the band that an age in years lies in; "unknown" where it is null.

    >>> age_bands(pl.Series([17.9, 18.0, 300.0, None])).to_list()
    ['under 18', '18–44', '85 and over', 'unknown']
    """
    band = pl.lit(UNKNOWN)
    for upper, label in reversed(AGE_BANDS):
        band = pl.when(pl.col("age") < upper).then(pl.lit(label)).otherwise(band)
    return age.to_frame("age").select(pl.when(pl.col("age").is_not_null()).then(band).otherwise(pl.lit(UNKNOWN)))[
        "literal"
    ]


def shares(title: str, column: str, parts: Sequence[pl.DataFrame]) -> list[Line]:
    """Return a heading, and a line for every value that occurs."""
    columns = [part[column].fill_null(UNKNOWN) for part in parts]
    lines = [Line(title)]
    for value in in_order(columns[-1].unique()):
        cells = tuple(count_and_share(int((values_of == value).sum()), len(values_of)) for values_of in columns)
        lines.append(Line(value, cells, indent=True))
    return lines


def in_order(values: Iterable[str]) -> list[str]:
    """Sort age bands by age, anything else by name, the unknown last.

    >>> in_order(["unknown", "45–64", "under 18"])
    ['under 18', '45–64', 'unknown']
    """
    bands = [label for _, label in AGE_BANDS]
    return sorted(values, key=lambda v: (v == UNKNOWN, bands.index(v) if v in bands else 0, v))


def quartiles(values: pl.Series) -> str:
    """Return median and quartiles; a dash where fewer than five are known."""
    values = values.drop_nulls()
    if len(values) < SMALL:
        return "–"
    low, median, high = (values.quantile(q, "linear") for q in (0.25, 0.5, 0.75))
    return f"{median:.0f} [{low:.0f}, {high:.0f}]"
