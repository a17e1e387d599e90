"""What a report is made from: plain structures that hold no score yet.

N held-out rows (visit pairs), K labels
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ckd_dist.report import metrics
from ckd_dist.report.provenance import Provenance
from ckd_dist.report.timing import Timing
from ckd_dist.studies.disease.report.experiments import ExperimentTables
from ckd_dist.studies.disease.report.table1 import Table1
from ckd_dist.studies.disease.report.validation import Validation
from ckd_dist.studies.disease.variants import VARIANTS

Role = Literal["baseline", "student", "teacher", "oracle"]

VARIANT_OF = {  # model -> the experiments' variant that is trained alike: a page calls both the same
    "copy_last_visit": "copy_last",
    "logistic_regression": "logistic",
    "boosted_trees": "trees",
    "student_hard": "hard",
    "student": "distilled",
    "teacher": "teacher",
    "oracle": "oracle",
}
TITLES = {"predict_nothing": "Predict nothing", "prevalence": "Prevalence"}
TITLES |= {model: VARIANTS[variant].title for model, variant in VARIANT_OF.items()}
COMPARISONS = (  # first minus second; a pair with a model that is absent is left out
    ("student", "prevalence"),
    ("student", "copy_last_visit"),
    ("student", "logistic_regression"),
    ("student", "boosted_trees"),
    ("student", "student_hard"),
    ("student", "teacher"),
    ("teacher", "prevalence"),
    ("teacher", "copy_last_visit"),
    ("teacher", "logistic_regression"),
    ("teacher", "boosted_trees"),
    ("oracle", "teacher"),
    ("oracle", "student"),
)


@dataclass(frozen=True)
class Model:
    """Predictions of one model on held_out, in the row order of `HeldOut`."""

    name: str  # a key of TITLES, or any other name
    role: Role
    probabilities_NK: np.ndarray  # calibrated
    bits_NK: np.ndarray  # at thresholds fitted on tuning
    title: str = ""  # in place of TITLES[name]

    @property
    def shown(self) -> str:
        """The title in tables."""
        return self.title or TITLES.get(self.name, self.name)


@dataclass(frozen=True)
class HeldOut:
    """The labelled rows of held_out, which every model is scored on."""

    label_names: tuple[str, ...]
    labels_NK: np.ndarray  # 0 or 1
    subject_N: np.ndarray  # int64 subject ids: what the bootstrap draws; never shown
    groups: Mapping[str, np.ndarray]  # "Age" -> the band of every row; table1.groups_of makes it


@dataclass(frozen=True)
class Cohort:
    """How the samples were read and selected, and who is in them."""

    flow: Sequence[tuple[str, int, int]]  # reason, visits excluded, visits left
    table1: Table1
    tables: Sequence[Mapping[str, Any]] = ()  # of the source, as `extract` counted their rows (ehr/staging.py)


@dataclass(frozen=True)
class Results:
    """All that a report is made from."""

    provenance: Provenance
    held_out: HeldOut
    cohort: Cohort
    models: tuple[Model, ...]  # in the order of the tables
    timings: Sequence[Timing] = ()
    bootstrap_draws: int = 1000
    seed: int = 0
    primary: str = "student"  # the model that the page is about
    validation: Validation | None = None  # of the teacher before it labelled; none: there was none to validate
    experiments: ExperimentTables | None = None

    def model(self, name: str) -> Model | None:
        """Return the model called `name`; None where there is none."""
        return next((model for model in self.models if model.name == name), None)

    def title_of(self, name: str) -> str:
        """Return what tables call the model `name`."""
        model = self.model(name)
        return model.shown if model else name

    def check(self) -> None:
        """Raise ValueError where the parts do not fit together."""
        held_out = self.held_out
        num_rows, num_labels = held_out.labels_NK.shape
        if num_rows == 0:
            raise ValueError("held_out has no pair of visits to score: give it more subjects or another split seed")
        if len(held_out.label_names) != num_labels or len(held_out.subject_N) != num_rows:
            raise ValueError(
                f"labels are {num_rows} x {num_labels}, but there are {len(held_out.label_names)} names "
                f"and {len(held_out.subject_N)} subjects"
            )
        names = [model.name for model in self.models]
        if len(set(names)) != len(names) or self.primary not in names:
            raise ValueError(f"models must have unique names with {self.primary!r} among them; they are {names}")
        for model in self.models:
            try:
                metrics.check(held_out.labels_NK, model.probabilities_NK, model.bits_NK)
            except ValueError as error:
                raise ValueError(f"{model.name}: {error}") from None
        for title, group_N in held_out.groups.items():
            if len(group_N) != num_rows:
                raise ValueError(f"group {title!r} has {len(group_N)} rows, the labels {num_rows}")
