"""Table 1: who is in the cohort, by split; and the groups that the report tells apart.

Counts of 1 to 4 are shown as "<5", and no share is given beside them: nobody should be found in a report.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

SMALL = 5
AGE_BANDS = ((18, "under 18"), (45, "18–44"), (65, "45–64"), (75, "65–74"), (85, "75–84"), (np.inf, "85 and over"))
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Line:
    """One line: a heading where it has no cells."""

    title: str
    cells: tuple[str, ...] = ()
    indent: bool = False


@dataclass(frozen=True)
class Table1:
    columns: tuple[str, ...]  # train, tuning, held_out, all
    lines: tuple[Line, ...]


def table1(samples: Mapping[str, pl.DataFrame], names: Sequence[str]) -> Table1:
    """Describe schema.SAMPLES frames by split, and all of them together.  names: the K labels."""
    parts = [frame.with_columns(age_band=age_bands(frame["age"])) for frame in samples.values()]
    parts.append(pl.concat(parts))
    pairs = [part.filter(pl.col("labels").is_not_null()) for part in parts]
    subjects = [part.sort("prediction_time").unique("subject_id", keep="first", maintain_order=True) for part in parts]

    lines = [
        Line("Patients", tuple(count(part["subject_id"].n_unique()) for part in parts)),
        Line("Visits", tuple(count(part.height) for part in parts)),
        Line("Visits with a known next visit (pairs)", tuple(count(part.height) for part in pairs)),
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
        cells = tuple(share(n, part.height) for n, part in zip(positives, pairs, strict=True))
        lines.append(Line(name, cells, indent=True))
    return Table1((*samples, "all"), tuple(lines))


def groups(samples: pl.DataFrame) -> dict[str, np.ndarray]:
    """The group of every row: by age band, sex and site.  Arrays of text [N]."""
    return {
        "Age": age_bands(samples["age"]).to_numpy().astype(str),
        "Sex": samples["sex"].fill_null(UNKNOWN).to_numpy().astype(str),
        "Site": samples["site"].fill_null(UNKNOWN).to_numpy().astype(str),
    }


def age_bands(age: pl.Series) -> pl.Series:
    """The band that an age in years lies in; "unknown" where it is null.

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
    """A heading, and a line for every value that occurs."""
    columns = [part[column].fill_null(UNKNOWN) for part in parts]
    lines = [Line(title)]
    for value in in_order(columns[-1].unique()):
        cells = tuple(share(int((values_of == value).sum()), len(values_of)) for values_of in columns)
        lines.append(Line(value, cells, indent=True))
    return lines


def in_order(values: Iterable[str]) -> list[str]:
    """Age bands by age, anything else by name, the unknown last.

    >>> in_order(["unknown", "45–64", "under 18"])
    ['under 18', '45–64', 'unknown']
    """
    bands = [label for _, label in AGE_BANDS]
    return sorted(values, key=lambda v: (v == UNKNOWN, bands.index(v) if v in bands else 0, v))


def count(n: int) -> str:
    """A count as a reader may see it.

    >>> [count(n) for n in (0, 4, 5, 12345)]
    ['0', '<5', '5', '12,345']
    """
    return f"<{SMALL}" if 0 < n < SMALL else f"{n:,}"


def share(n: int, of: int) -> str:
    """A count and its share of a total, or the count alone where it is small."""
    return count(n) if n < SMALL or of == 0 else f"{n:,} ({100 * n / of:.1f} %)"


def quartiles(values: pl.Series) -> str:
    """Median and quartiles; a dash where fewer than five are known."""
    values = values.drop_nulls()
    if len(values) < SMALL:
        return "–"
    low, median, high = (values.quantile(q, "linear") for q in (0.25, 0.5, 0.75))
    return f"{median:.0f} [{low:.0f}, {high:.0f}]"
