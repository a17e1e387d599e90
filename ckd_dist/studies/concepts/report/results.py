"""What the report of concepts is made from: one plain structure, filled by the evaluate stage.

    N held-out cases of a target, K outcomes, V concepts (rows of table.CONCEPTS), D width of a vector

An experiment is one training run: embedding x patient model x regime x source -> target x size x seed.  Its
probabilities are of the target's held-out cases, in the target's order.  A local one has no source: its target alone
names it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from ckd_dist.report.provenance import Provenance
from ckd_dist.schema import FEWEST_SUBJECTS, check_columns
from ckd_dist.studies.concepts.cases.table import CASES, CONCEPTS
from ckd_dist.studies.concepts.grid import REST

LOCAL = "local"  # the regime without a source


class Line(NamedTuple):
    """What all seeds of an experiment share.  size: labelled cases of the target it saw; None: all."""

    embedding: str
    model: str
    regime: str
    source: str
    target: str
    size: int | None


@dataclass(frozen=True)
class Scored:
    """One experiment's predictions.

    source: a site, or "all but TARGET"; a local one has none.  curve: macro AUROC after so many steps.
    """

    embedding: str
    model: str
    source: str
    target: str
    regime: str
    size: int | None
    seed: int
    case_id_N: np.ndarray  # the target's, in its order: other cases are refused
    probabilities_NK: np.ndarray
    curve: Sequence[tuple[int, float]] = ()
    seconds: float = 0.0

    @property
    def line(self) -> Line:
        """The line of the report that its seed adds to."""
        source = REST + self.target if self.source.startswith(REST) else self.source
        source = self.target if self.regime == LOCAL else source
        return Line(self.embedding, self.model, self.regime, source, self.target, self.size)


@dataclass(frozen=True)
class Target:
    """The held-out cases of a site.  baselines: name -> probabilities_NK of what needs no other site."""

    site: str
    case_id_N: np.ndarray
    subject_N: np.ndarray
    outcomes_NK: np.ndarray  # 0 or 1
    oracle_NK: np.ndarray | None = None
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Space:
    """An embedding's vectors of all concepts, in their order."""

    embedding: str
    vectors_VD: np.ndarray


@dataclass(frozen=True)
class Results:
    """Everything that the report says or is computed from."""

    provenance: Provenance
    outcomes: tuple[str, ...]  # K names
    cases: pl.DataFrame  # table.CASES, all sites and splits
    concepts: pl.DataFrame  # table.CONCEPTS
    targets: Sequence[Target]
    scored: Sequence[Scored]
    spaces: Sequence[Space] = ()
    one_hot: str = "one-hot"  # the embedding that the others are compared with, where it was run
    learned: Mapping[str, str] = field(default_factory=dict)  # student -> the embedding that it learned
    idle_share: float | None = None  # of the workers' seconds, before the last experiment was handed out
    left_out: Mapping[str, int] = field(default_factory=dict)  # reading the sources: "left before it" -> cases
    unnamed_drugs: Mapping[str, Sequence[int]] = field(default_factory=dict)  # site -> orders without a name, all
    bootstrap_draws: int = 1000
    seed: int = 0
    neighbours: int = 8  # target concepts whose nearest source concepts are shown
    least_subjects: int = FEWEST_SUBJECTS  # a concept that fewer subjects have is not named

    @property
    def sites(self) -> list[str]:
        """Names of all sites, sorted."""
        return sorted(self.cases["site"].unique())

    def pairs(self) -> list[tuple[str, str]]:
        """Return source and target in the experiments' order; a target that has local ones alone is its own source."""
        found = dict.fromkeys((one.line.source, one.target) for one in self.scored if one.regime != LOCAL)
        reached = {target for _, target in found}
        return [*found, *dict.fromkeys((one.target,) * 2 for one in self.scored if one.target not in reached)]

    def embeddings(self) -> list[str]:
        """Return the embeddings in the experiments' order."""
        return list(dict.fromkeys(one.embedding for one in self.scored))

    def models(self) -> list[str]:
        """Return the patient models in the experiments' order."""
        return list(dict.fromkeys(one.model for one in self.scored))

    def check(self) -> None:
        """Raise ValueError where the parts do not fit together."""
        check_columns(self.cases, CASES, "cases")
        check_columns(self.concepts, CONCEPTS, "concepts")
        if not self.scored:
            raise ValueError("no experiment was run, so there is nothing to report: give the grid a pair of sites")
        targets = {target.site: target for target in self.targets}
        if empty := sorted(site for site, target in targets.items() if len(target.case_id_N) == 0):
            raise ValueError(f"{', '.join(empty)}: no held-out case to score; give it more cases or another split seed")
        for target in self.targets:
            shape = (len(target.case_id_N), len(self.outcomes))
            check_probabilities(f"{target.site}'s outcomes", target.outcomes_NK, shape)
            for name, probabilities_NK in target.baselines.items():
                check_probabilities(f"{target.site}'s baseline {name}", probabilities_NK, target.outcomes_NK.shape)
        seen = set()
        for one in self.scored:
            name = f"experiment {one.line} seed {one.seed}"
            if one.target not in targets:
                raise ValueError(f"{name}: its target is none of {sorted(targets)}")
            if one.line.source not in (*self.sites, REST + one.target):
                raise ValueError(f"{name}: its source is neither one of {self.sites} nor {REST + one.target!r}")
            check_probabilities(name, one.probabilities_NK, targets[one.target].outcomes_NK.shape)
            if not np.array_equal(one.case_id_N, targets[one.target].case_id_N):
                raise ValueError(f"{name}: its cases are not {one.target}'s held-out cases in their order; run it anew")
            if (one.line, one.seed) in seen:
                raise ValueError(f"{name}: given twice")
            seen.add((one.line, one.seed))
        for space in self.spaces:
            if len(space.vectors_VD) != self.concepts.height:
                raise ValueError(
                    f"{space.embedding}: {len(space.vectors_VD)} vectors for {self.concepts.height} concepts"
                )


def check_probabilities(name: str, array_NK: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the array has this shape and lies within [0, 1]."""
    if array_NK.shape != shape:
        raise ValueError(f"{name}: shape {array_NK.shape}, expected {shape} (held-out cases, outcomes)")
    if not ((array_NK >= 0) & (array_NK <= 1)).all():  # NaN fails both
        raise ValueError(f"{name}: some values are not between 0 and 1, or not a number")


def target_of(cases: pl.DataFrame, site: str, baselines: Mapping[str, np.ndarray] | None = None) -> Target:
    """Return a site's held-out cases by case_id.  cases: table.CASES."""
    own = cases.filter((pl.col("site") == site) & (pl.col("split") == "held_out")).sort("case_id")
    num_outcomes = cases["outcomes"].list.len().max() or 0
    oracle_NK = None
    if own.height and own["oracle"].null_count() == 0:
        oracle_NK = np.array(own["oracle"].to_list(), dtype=np.float64)
    return Target(
        site,
        own["case_id"].to_numpy(),
        own["subject_id"].to_numpy(),
        np.array(own["outcomes"].to_list(), dtype=np.int8).reshape(own.height, num_outcomes),
        oracle_NK,
        baselines or {},
    )
