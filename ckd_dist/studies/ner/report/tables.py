"""Define the tables of the report, and fill them: a frozen dataclass a table and a row, and one that holds them all.

Pages, plots and sentences read them; metrics.json holds them under the same names.  Rows that say no more than what the
results hold are the results' own.  Where the held-out part has too few notes nothing is called better or worse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckd_dist.report.bootstrap import BootstrapOver
from ckd_dist.report.compare import Difference, judge
from ckd_dist.studies.ner.report.results import (
    MATCHES,
    MICRO,
    Choice,
    Comparison,
    Cost,
    Elsewhere,
    Match,
    NerResults,
    Point,
    Role,
    Scores,
    Split,
)

FEW_NOTES = 20  # held out; below: no claim may rest on the report


@dataclass(frozen=True)
class HeldOutSize:
    """How much all scores rest on."""

    notes: int
    words: int
    mentions: Mapping[str, int]  # annotated, by type
    too_small: bool  # for claims


@dataclass(frozen=True)
class ScoredSystem:
    """One system's row."""

    name: str
    title: str
    role: Role
    in_sample: bool
    scores: Scores


@dataclass(frozen=True)
class ComparedSystems:
    """First minus second in F1, judged."""

    first: str
    second: str
    first_title: str
    second_title: str
    f1: Mapping[Match, Mapping[str, Difference]]


@dataclass(frozen=True)
class NerReport:
    """Every number of the report."""

    primary: str  # the system that the page is about
    types: Sequence[str]
    held_out: HeldOutSize
    bootstrap: BootstrapOver
    systems: Sequence[ScoredSystem]
    differences: Sequence[ComparedSystems]
    choices: Sequence[Choice]
    curve: Sequence[Point]
    elsewhere: Sequence[Elsewhere]
    costs: Sequence[Cost]
    corpus: Sequence[Split]
    left_out: Mapping[str, int]
    answers: Mapping[str, Mapping[str, float]]

    def system(self, name: str) -> ScoredSystem:
        """Return the row of the system called `name`."""
        return next(system for system in self.systems if system.name == name)


def tables_of(results: NerResults) -> NerReport:
    """Return the tables.  Raise ValueError where the parts of `results` do not fit together."""
    results.check()
    size = held_out_size(results)
    titles, groups = results.titles(), (MICRO, *results.types)
    return NerReport(
        primary=results.primary,
        types=results.types,
        held_out=size,
        bootstrap=BootstrapOver(results.bootstrap_draws, results.seed, over=results.drawn),
        systems=[
            ScoredSystem(system.name, system.title, system.role, system.in_sample, by_group(system.scores, groups))
            for system in results.systems
        ],
        differences=[compared(pair, titles, groups, enough=not size.too_small) for pair in results.differences],
        choices=results.choices,
        curve=results.curve,
        elsewhere=results.elsewhere,
        costs=results.costs,
        corpus=results.corpus,
        left_out=results.left_out,
        answers=results.answers,
    )


def held_out_size(results: NerResults) -> HeldOutSize:
    """Count what all scores rest on, and say whether it is too small for claims."""
    held_out = results.held_out()
    mentions = {kind: held_out.mentions.get(kind, 0) for kind in results.types}
    return HeldOutSize(held_out.notes, held_out.words, mentions, held_out.notes < FEW_NOTES)


def by_group(scores: Scores, groups: Sequence[str]) -> Scores:
    """Return the scores of these groups, in this order."""
    return {match: {group: scores[match][group] for group in groups} for match in MATCHES}


def compared(pair: Comparison, titles: Mapping[str, str], groups: Sequence[str], *, enough: bool) -> ComparedSystems:
    """Judge first minus second.  enough: whether a claim may rest on the data."""
    f1 = {match: {group: judge(pair.f1[match][group], enough=enough) for group in groups} for match in MATCHES}
    return ComparedSystems(pair.first, pair.second, titles[pair.first], titles[pair.second], f1)
