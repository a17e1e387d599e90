"""The tables of the concepts report: a frozen dataclass a row, all of them in ConceptTables.

Fields carry the names that metrics.json has.  NaN stands where a number cannot be computed, None where there is none.
By outcome: "macro", the mean over outcomes that have both classes, and every outcome where they are several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckd_dist.report.bootstrap import BootstrapOver, Estimate
from ckd_dist.report.compare import Difference
from ckd_dist.report.page import inline
from ckd_dist.studies.concepts.report.results import Line

MACRO = "macro"  # the mean over outcomes


@dataclass(frozen=True)
class SeedEstimate:
    """The mean over seeds, its 95 % interval over subjects, and least and most of the seeds."""

    value: float
    low: float
    high: float
    least: float
    most: float


@dataclass(frozen=True)
class Quartiles:
    """The median and the quartiles beside it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SplitCounts:
    """Cases, subjects and outcomes of one split of a site.  shares: of its cases; None where it has none."""

    split: str
    cases: int
    subjects: int
    positives: Mapping[str, int]
    shares: Mapping[str, float | None]


@dataclass(frozen=True)
class SiteCounts:
    """Who is at a site.  vocabulary: concepts that some case of it has.

    unnamed_drugs: share of its orders whose drug has no name; None where the source does not count them.
    """

    site: str
    splits: Sequence[SplitCounts]
    concepts_a_case: Quartiles
    vocabulary: int
    unnamed_drugs: float | None


@dataclass(frozen=True)
class Overlap:
    """How many of the target's concepts, and of its records, the source knows."""

    source: str
    target: str
    concepts: int
    shared_concepts: int
    share_of_concepts: float | None
    share_of_records: float | None


@dataclass(frozen=True)
class HeldOut:
    """What a target is scored on.  too_few: outcomes that no claim may rest on."""

    site: str
    cases: int
    subjects: int
    positives: Mapping[str, int]
    too_few: Sequence[str]


@dataclass(frozen=True)
class Score:
    """How well a line does at its target, by outcome."""

    line: Line = inline()
    seeds: int
    auroc: Mapping[str, SeedEstimate]
    auprc: Mapping[str, SeedEstimate]


@dataclass(frozen=True)
class BaselineScore:
    """How well something does that was trained by no experiment, by outcome.  role: baseline or oracle."""

    name: str
    role: str
    target: str
    seeds: int
    auroc: Mapping[str, SeedEstimate]
    auprc: Mapping[str, SeedEstimate]


@dataclass(frozen=True)
class LineDifference:
    """First line minus second, by outcome, over the seeds that both have.  model, source, target: the first's."""

    kind: str
    first: Line
    second: Line
    model: str
    source: str
    target: str
    seeds: int
    auroc: Mapping[str, Difference]
    auprc: Mapping[str, Difference]


@dataclass(frozen=True)
class StepScore:
    """Macro AUROC after so many steps: mean, least and most of the seeds."""

    step: int
    value: float
    least: float
    most: float


@dataclass(frozen=True)
class StepCurve:
    """A line's macro AUROC at its target while it is tuned."""

    line: Line = inline()
    seeds: int
    points: Sequence[StepScore]


@dataclass(frozen=True)
class Neighbour:
    """A source concept, and its cosine to the target's concept."""

    text: str
    system: str
    cosine: float


@dataclass(frozen=True)
class Neighbours:
    """A concept that the target has and the source lacks, and the source's nearest by one embedding."""

    source: str
    target: str
    embedding: str
    text: str
    system: str
    subjects: int
    nearest: Sequence[Neighbour]


@dataclass(frozen=True)
class MapLabel:
    """The text of one point of a map."""

    point: int
    text: str


@dataclass(frozen=True)
class ConceptMap:
    """An embedding's concepts of one pair in two dimensions.  sides: "source", "target" or "both", a point each."""

    embedding: str
    source: str
    target: str
    concepts: int
    method: str
    places: Sequence[Sequence[float]]
    sides: Sequence[str]
    labels: Sequence[MapLabel]


@dataclass(frozen=True)
class Carrier:
    """The mean excess loss over the cases that have a concept, with its interval."""

    text: str
    subjects: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Carriers:
    """The concepts that go along with the largest excess loss of "shared" over another regime, either way."""

    embedding: str
    model: str
    source: str
    target: str
    against: str
    overall: Estimate
    concepts: int
    lost: Sequence[Carrier]
    gained: Sequence[Carrier]


@dataclass(frozen=True)
class Cost:
    """Seconds of the experiments of one patient model and embedding."""

    model: str
    embedding: str
    experiments: int
    median: float
    longest: float
    total: float


@dataclass(frozen=True)
class ConceptTables:
    """Every number of the report."""

    outcomes: Sequence[str]
    embeddings: Sequence[str]
    models: Sequence[str]
    one_hot: str
    learned: Mapping[str, str]
    pairs: Sequence[tuple[str, str]]
    bootstrap: BootstrapOver
    least_subjects: int
    few_positives: int
    left_out: Mapping[str, int]
    sites: Sequence[SiteCounts]
    overlap: Sequence[Overlap]
    targets: Sequence[HeldOut]
    baselines: Sequence[BaselineScore]
    scores: Sequence[Score]
    differences: Sequence[LineDifference]
    steps: Sequence[StepCurve]
    neighbours: Sequence[Neighbours]
    maps: Sequence[ConceptMap]
    carriers: Sequence[Carriers]
    costs: Sequence[Cost]
    seconds: float
    experiments: int
    idle_share: float | None
