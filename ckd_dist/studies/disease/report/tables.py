"""Define the tables of the report: a frozen dataclass a table and a row, and one that holds them all.

`measure` fills them; pages, plots and sentences read them; metrics.json holds them under the same names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckd_dist.report.bootstrap import Bootstrap, Estimate
from ckd_dist.report.compare import Difference
from ckd_dist.report.page import inline
from ckd_dist.report.timing import Timing
from ckd_dist.studies.disease.report.curves import Bin, Curves
from ckd_dist.studies.disease.report.experiments import ExperimentTables
from ckd_dist.studies.disease.report.results import Role
from ckd_dist.studies.disease.report.table1 import Table1
from ckd_dist.studies.disease.report.validation import Validation


@dataclass(frozen=True)
class HeldOutSize:
    """How much all scores rest on."""

    pairs: int  # of visits
    patients: int
    labels: int
    scorable_labels: int  # that the primary model can be scored on
    too_small: bool  # for claims


@dataclass(frozen=True)
class Overall:
    """Scores of one model over all labels."""

    macro_auroc: Estimate
    macro_auprc: Estimate
    micro_auroc: Estimate
    micro_auprc: Estimate
    log_loss: Estimate
    brier: Estimate
    ece: Estimate
    macro_ece: Estimate
    micro_f1: Estimate
    macro_f1: Estimate
    cell_accuracy: Estimate


@dataclass(frozen=True)
class OfLabel:
    """Scores of one model at one label."""

    auroc: Estimate
    auprc: Estimate
    log_loss: Estimate
    brier: Estimate
    ece: Estimate
    f1: Estimate


@dataclass(frozen=True)
class ScoredModel:
    """One model's row."""

    name: str
    title: str
    role: Role
    overall: Overall
    per_label: Mapping[str, OfLabel]


@dataclass(frozen=True)
class ComparedModels:
    """First minus second, by metric."""

    first: str
    second: str
    first_title: str
    second_title: str
    metrics: Mapping[str, Difference]


@dataclass(frozen=True)
class Gap:
    """A model's share of the way from prevalence (0) to the oracle (1), by metric."""

    name: str
    title: str
    role: Role
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class LabelCount:
    """How many pairs have a label: text, masked where few."""

    name: str
    positives: str


@dataclass(frozen=True)
class GroupScores:
    """Scores of the primary model in one group."""

    metrics: Mapping[str, Estimate]
    scorable_labels: int


@dataclass(frozen=True)
class TooFew:
    """In place of the scores of a group with too few pairs or patients."""

    metrics: None


@dataclass(frozen=True)
class Group:
    """The primary model in one group of patients; counts are text, masked where few."""

    name: str
    pairs: str
    patients: str
    few: bool
    scores: GroupScores | TooFew = inline()


@dataclass(frozen=True)
class Grouping:
    """The groups of one variable, such as age."""

    title: str
    groups: Sequence[Group]


@dataclass(frozen=True)
class FlowStep:
    """One step of the selection of visits."""

    reason: str
    excluded: int
    left: int


@dataclass(frozen=True)
class TableRead:
    """What became of the rows of one table of the source.  skipped: reason -> rows."""

    file: str
    rows: int
    kept: int
    merged: int
    skipped: Mapping[str, int]

    @property
    def num_skipped(self) -> int:
        """Rows that are neither kept nor merged."""
        return sum(self.skipped.values())


@dataclass(frozen=True)
class DiseaseReport:
    """Every number of the report."""

    primary: str  # the model that the page is about
    held_out: HeldOutSize
    bootstrap: Bootstrap
    models: Sequence[ScoredModel]
    differences: Sequence[ComparedModels]
    gaps: Sequence[Gap]  # empty where there is no oracle
    labels: Sequence[LabelCount]
    groups: Sequence[Grouping]
    reliability: Mapping[str, Sequence[Bin]]  # by model
    curves: Mapping[str, Curves]  # by model
    experiments: ExperimentTables | None
    timings: Sequence[Timing]
    flow: Sequence[FlowStep]
    tables_read: Sequence[TableRead]
    table1: Table1
    validation: Validation | None  # of the teacher, on tuning

    def model(self, name: str) -> ScoredModel:
        """Return the row of the model called `name`.  Raise KeyError where there is none."""
        return self.by_name[name]

    @property
    def by_name(self) -> dict[str, ScoredModel]:
        """The rows of all models."""
        return {model.name: model for model in self.models}
