"""Join the cases of several sources, and the concepts that they name, into one table each.

    (cases, concepts) of every source -> sites that count -> one numbering of cases, persons and concepts -> splits

A concept is the same wherever its system and text are.  A person is the same only within one source: the same number
in two sources means two persons.  The split depends on the person's number alone, unless the source brought its own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ckd_dist.ehr import criteria
from ckd_dist.ehr.flow import Flow
from ckd_dist.ehr.splits import check_disjoint, split_of
from ckd_dist.schema import SPLITS, check_columns
from ckd_dist.studies.concepts.cases.concepts import gather
from ckd_dist.studies.concepts.cases.table import CASES

SOURCE_BIT = 56  # a source's place is mixed into its persons' numbers here and above: MIMIC's and counters end below
MOST_SOURCES = 1 << (62 - SOURCE_BIT)


@dataclass(frozen=True)
class JoinOptions:
    """Which sites count, how much of a case is kept, and which subjects are learned from."""

    keep: tuple[str, ...]  # names of sites; none: all
    min_cases: int  # of a site
    max_concepts: int  # of a case
    train_fraction: float
    tuning_fraction: float
    split_seed: int


@dataclass(frozen=True, eq=False)
class Built:
    """Cases and concepts of one source, or of several as one.

    cases: table.CASES, numbered from 0; split is null where the source names none.  concepts: table.CONCEPTS.
    outcomes: their names, in order.  source: whose subject numbers these are, for instance "mimic3:DIR".  lost,
    remarks: as of an Account.  unnamed_drugs: site -> orders without a drug's name, all orders.
    """

    cases: pl.DataFrame
    concepts: pl.DataFrame
    outcomes: tuple[str, ...]
    flow: Flow
    source: str
    lost: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    unnamed_drugs: Mapping[str, Sequence[int]] = field(default_factory=dict)


def join_sources(builts: Sequence[Built], options: JoinOptions) -> Built:
    """Join the cases of all sources, every case with a split; small sites and those not in `keep` are counted out.

    Raises ValueError where outcomes differ, where `keep` names no site, where no site is left, or where a subject is in
    two splits.
    """
    outcomes = _same_outcomes(builts)
    _check_each_keeps(builts)
    cases, meanings = _side_by_side(builts)
    _check_kept(cases, options)
    cases, flow = criteria.apply(cases, "cases of all sources", _of_sites(options))
    if not len(cases):
        raise ValueError(
            f"no site has {options.min_cases} cases or more: bring more cases, lower sites.min_cases, or make a whole "
            f"source one site by NAME=SOURCE{_before(builts)}"
        )
    rows = cases.with_row_index("case").select("case", key="concepts").explode("key").drop_nulls("key")
    lists, concepts, _ = gather(len(cases), rows, meanings, options.max_concepts)
    split_N = split_subjects(cases["subject_id"].to_numpy(), options)
    cases = cases.with_columns(
        lists,
        case_id=pl.int_range(len(cases), dtype=pl.Int64),
        split=pl.col("split").fill_null(pl.Series(split_N.tolist(), dtype=pl.String)),
    )
    check_disjoint({split: cases.filter(split=split)["subject_id"].to_numpy() for split in SPLITS})
    joined = " and ".join(dict.fromkeys(built.source for built in builts))
    cases = check_columns(cases, CASES, "cases")
    lost, remarks, unnamed = _losses(builts)
    return Built(cases, concepts, outcomes, _flow(builts, flow, cases), joined, lost, remarks, unnamed)


def _same_outcomes(builts: Sequence[Built]) -> tuple[str, ...]:
    outcomes = builts[0].outcomes
    for place, built in enumerate(builts[1:], 2):
        if built.outcomes != outcomes:
            raise ValueError(
                f"source 1 has the outcomes {list(outcomes)}, source {place} has {list(built.outcomes)}: sites can be "
                "compared only where they have the same, in the same order"
            )
    return outcomes


def _check_each_keeps(builts: Sequence[Built]) -> None:
    """Raise ValueError where one of several sources has no case: its sites would be missing in silence."""
    for place, built in enumerate(builts, 1):
        if len(builts) > 1 and not len(built.cases):
            raise ValueError(f"source {place} has no case{_before([built])}: mend it, or leave it out of sites.sources")


def _side_by_side(builts: Sequence[Built]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put all cases side by side, persons kept apart and concepts numbered on over all sources; and what those mean."""
    sources = list(dict.fromkeys(built.source for built in builts))
    if len(sources) > MOST_SOURCES:
        raise ValueError(f"{len(sources)} sources are too many: at most {MOST_SOURCES}")
    cases, meanings, num_concepts = [], [], 0
    for built in builts:
        place = sources.index(built.source)
        cases.append(
            built.cases.with_columns(
                pl.col("subject_id").xor(pl.lit(place << SOURCE_BIT, dtype=pl.Int64)),
                pl.col("concepts").list.eval(pl.element().cast(pl.Int64) + num_concepts),
                source=pl.lit(place),
            )
        )
        meanings.append(built.concepts.rename({"concept": "key"}).with_columns(pl.col("key") + pl.lit(num_concepts)))
        num_concepts += len(built.concepts)
    joined = pl.concat(cases)
    if (num := _num_confused(joined)) > 0:
        raise ValueError(f"{num} subject numbers of two sources cannot be told apart: give one of them smaller numbers")
    return joined.drop("source"), pl.concat(meanings).with_columns(pl.col("key").cast(pl.Int64))


def _before(builts: Sequence[Built]) -> str:
    """Say what took most cases away before sites were looked at, for there the cause may lie."""
    rows = [row for built in builts for row in built.flow.rows if row[1]]
    if not rows:
        return ""
    reason, excluded, left = max(rows, key=lambda row: row[1])
    return f" ({excluded:,} of {excluded + left:,} were left out before: {reason})"


def _num_confused(cases: pl.DataFrame) -> int:
    persons = cases.select("subject_id", "source").unique()
    return len(persons) - persons["subject_id"].n_unique()


def _check_kept(cases: pl.DataFrame, options: JoinOptions) -> None:
    there = sorted(cases["site"].unique().to_list())
    if missing := [site for site in options.keep if site not in there]:
        raise ValueError(f"sites.keep names {', '.join(missing)}, but the sites are {', '.join(there) or 'none'}")


def _of_sites(options: JoinOptions) -> list[criteria.Criterion]:
    """Return what makes a case's site count."""
    kept = [("site not in sites.keep", pl.col("site").is_in(list(options.keep)))] * bool(options.keep)
    return [*kept, (f"site of fewer than {options.min_cases} cases", pl.len().over("site") >= options.min_cases)]


def split_subjects(subject_N: np.ndarray, options: JoinOptions) -> np.ndarray:
    """Return the split of each subject, by hash."""
    fractions = {"train": options.train_fraction, "tuning": options.tuning_fraction}
    return split_of(subject_N, **fractions, seed=options.split_seed)


def _losses(builts: Sequence[Built]) -> tuple[dict[str, int], tuple[str, ...], dict[str, list[int]]]:
    """Add up what the sources lost and their sites' unnamed drugs; what is to be known names the source of several."""
    lost: Counter[str] = Counter()
    remarks, unnamed = [], {}
    for place, built in enumerate(builts, 1):
        lost.update(built.lost)
        remarks += [f"source {place}: {remark}" if len(builts) > 1 else remark for remark in built.remarks]
        for site, (num, orders) in built.unnamed_drugs.items():
            before = unnamed.get(site, (0, 0))
            unnamed[site] = [before[0] + num, before[1] + orders]
    return dict(lost), tuple(remarks), unnamed


def _flow(builts: Sequence[Built], flow: Flow, cases: pl.DataFrame) -> Flow:
    """Return every source's own criteria, then those of sites."""
    rows, notes = [], {}
    for place, built in enumerate(builts, 1):
        who = f"source {place}: " if len(builts) > 1 else ""
        rows += [(who + reason, *numbers) for reason, *numbers in built.flow.rows]
        notes |= {who + note: number for note, number in built.flow.notes.items()}
    notes |= {"sites": cases["site"].n_unique(), "subjects": cases["subject_id"].n_unique()}
    return Flow((*rows, *flow.rows), notes)
