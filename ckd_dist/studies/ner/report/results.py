"""What the second study's report is made from: one plain structure with every number computed.

Scores are entity-level on held-out notes (entities.py), intervals over notes or patients (bootstrap.py).  A match has
three definitions, those of SemEval 2013 task 9: strict (same characters, same type), exact (same characters), partial
(as exact, and half a point for some of them).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ckd_dist.report.bootstrap import Estimate
from ckd_dist.report.provenance import Provenance
from ckd_dist.report.wording import known
from ckd_dist.studies.ner.report.entities import MEASURES, Estimates

Role = Literal["labeler", "combination", "student", "human"]
Kind = Literal["", "ontology", "llm", "teacher"]
Match = Literal["strict", "exact", "partial"]

MATCHES: tuple[Match, ...] = ("strict", "exact", "partial")
MICRO = "micro"  # all types pooled


@dataclass(frozen=True)
class Quality:
    """How well one type, or all of them, is found."""

    precision: Estimate
    recall: Estimate
    f1: Estimate


Scores = Mapping[Match, Mapping[str, Quality]]  # of MICRO and of every type
F1 = Mapping[Match, Mapping[str, Estimate]]  # of the same


def scores_of(found: Estimates) -> Scores:
    """Return what a system's tables show of its scores."""
    return {
        match: {
            group: Quality(*(found.estimate(match, group, measure) for measure in MEASURES)) for group in groups(found)
        }
        for match in MATCHES
    }


def f1_minus(first: Estimates, second: Estimates) -> F1:
    """Return first minus second in F1.  Both must have been scored on the same draws."""
    return {match: {group: first.minus(second, match, group) for group in groups(first)} for match in MATCHES}


def groups(found: Estimates) -> list[str]:
    """Return MICRO and every type; macro is left out."""
    return [group for group in found.groups if group != "macro"]


@dataclass(frozen=True)
class System:
    """A labeler, the combination or a student."""

    name: str
    title: str
    role: Role
    scores: Scores
    kind: Kind = ""  # of a labeler
    in_sample: bool = False  # it labelled notes that it was trained on


@dataclass(frozen=True)
class Comparison:
    """First minus second in F1, both on the same draws."""

    first: str
    second: str
    f1: F1


@dataclass(frozen=True)
class Choice:
    """What the search chose for one type."""

    type: str
    members: tuple[str, ...]  # labelers by name
    rule: str
    f1: float  # strict, on the tuning notes that it was chosen on
    tried: int  # subsets and rules


@dataclass(frozen=True)
class Point:
    """A student trained with so many annotated notes."""

    gold_notes: int
    arm: str  # shown: "distilled", "human labels alone"
    f1: Estimate  # strict, all types


@dataclass(frozen=True)
class Elsewhere:
    """A system on another corpus."""

    corpus: str
    system: str
    notes: int
    types: tuple[str, ...]  # those that both corpora annotate
    f1: Estimate  # strict, these types pooled
    home: Estimate | None = None  # the same system and types on this study's held-out notes

    @property
    def change(self) -> float | None:
        """What the system gains there; None where one of the two is not known."""
        if self.home is None or not (known(self.home.value) and known(self.f1.value)):
            return None
        return self.f1.value - self.home.value


@dataclass(frozen=True)
class Cost:
    """What 1,000 notes cost; None where it does not apply or was not measured."""

    system: str
    seconds: float | None = None
    words_per_minute: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    usd: float | None = None
    hardware: str = ""
    measured: str = ""  # how: "50 held-out notes, one after the other"


@dataclass(frozen=True)
class Split:
    """A part of the corpus."""

    name: str
    notes: int
    words: int
    mentions: Mapping[str, int]  # annotated, by type
    overlapping: int = 0  # of them, those that tags of words cannot hold: another covers one of their words
    wordless: int = 0  # and those that no word begins or ends in


@dataclass(frozen=True)
class NerResults:
    """All that a report is made from."""

    provenance: Provenance
    types: tuple[str, ...]
    systems: Sequence[System]  # in the order of the tables
    corpus: Sequence[Split]  # train, tuning, held_out
    differences: Sequence[Comparison] = ()
    choices: Sequence[Choice] = ()  # empty where a label model combined
    curve: Sequence[Point] = ()
    elsewhere: Sequence[Elsewhere] = ()
    costs: Sequence[Cost] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)  # reading the corpus: "discontinuous" -> mentions
    answers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # LLM -> "invented" -> mentions
    primary: str = "student"  # the system that the page is about
    drawn: Literal["notes", "patients"] = "notes"  # what the bootstrap draws
    bootstrap_draws: int = 1000
    seed: int = 0

    def titles(self) -> dict[str, str]:
        """Return the title of every system, by name."""
        return {system.name: system.title for system in self.systems}

    def held_out(self) -> Split:
        """Return the part that all scores are of.  Raise ValueError where it is not there or empty."""
        held_out = [split for split in self.corpus if split.name == "held_out"]
        if len(held_out) != 1 or held_out[0].notes == 0:
            raise ValueError("held_out has no note to score: give it more notes or another split seed")
        return held_out[0]

    def check(self) -> None:
        """Raise ValueError where the parts do not fit together."""
        self.held_out()
        names = [system.name for system in self.systems]
        if len(set(names)) != len(names) or self.primary not in names:
            raise ValueError(f"systems must have unique names with {self.primary!r} among them; they are {names}")
        wanted = {MICRO, *self.types}
        scored = [(system.name, system.scores) for system in self.systems]
        scored += [(f"{line.first} minus {line.second}", line.f1) for line in self.differences]
        for name, scores in scored:
            lacking = [match for match in MATCHES if wanted - set(scores.get(match, {}))]
            if lacking:
                raise ValueError(f"{name}: scores by {', '.join(lacking)} match must be of {sorted(wanted)}")
        mentioned = {name for line in self.differences for name in (line.first, line.second)}
        mentioned |= {name for choice in self.choices for name in choice.members}
        mentioned |= {line.system for line in (*self.elsewhere, *self.costs)} | set(self.answers)
        if unknown := mentioned - set(names):
            raise ValueError(f"{sorted(unknown)} are mentioned, but the systems are {names}")
