"""What the report's tables say of every system: scores, differences, choices, the learning curve, and the corpus."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ckd_dist.schema import SPLITS
from ckd_dist.studies.ner.distill import FULL, Arm
from ckd_dist.studies.ner.label import TEACHER
from ckd_dist.studies.ner.report.entities import Estimates
from ckd_dist.studies.ner.report.results import (
    Choice,
    Comparison,
    Point,
    Role,
    Split,
    System,
    f1_minus,
    scores_of,
)

COMBINED = "combination"
ROLES: dict[str, Role] = {COMBINED: "combination", "student": "student", "human": "human"}


def systems_of(estimates: Mapping[str, Estimates], kinds: Mapping[str, str], arms: Mapping[str, Arm]) -> list[System]:
    """Return the systems of the tables, in order: labelers, combination, student and its baseline.

    kinds: what each labeler is.
    """
    titles = {COMBINED: "Combination", TEACHER: "Teacher"} | {name: arm.title for name, arm in arms.items()}
    return [
        System(
            name,
            titles.get(name, name[:1].upper() + name[1:]),
            ROLES.get(name, "labeler"),
            scores_of(found),
            kind=kinds.get(name, ""),
            in_sample=name == TEACHER,
        )
        for name, found in estimates.items()
        if name not in arms or name in ROLES
    ]


def differences_of(estimates: Mapping[str, Estimates], arms: Mapping[str, Arm]) -> list[Comparison]:
    """Compare the student with combination, human labels and the best labeler; the combination with that."""
    labelers = [name for name in estimates if name != COMBINED and name not in arms]
    best = max(labelers, key=lambda name: np.nan_to_num(estimates[name].estimate().value))
    pairs = [("student", COMBINED), ("student", "human"), ("student", best), (COMBINED, best)]
    return [
        Comparison(first, second, f1_minus(estimates[first], estimates[second]))
        for first, second in pairs
        if first in estimates and second in estimates
    ]


def curve_of(estimates: Mapping[str, Estimates], arms: Mapping[str, Arm], num_annotated: int) -> list[Point]:
    """Return the points of the learning curve; none where no size was asked for."""
    if not arms.keys() - set(FULL):
        return []
    points = []
    for name, arm in arms.items():
        num = num_annotated if arm.gold.num_notes is None else min(arm.gold.num_notes, num_annotated)
        title = "distilled" if arm.combined else "human labels alone"
        points.append(Point(num, title, estimates[name].estimate()))
    return sorted(set(points), key=lambda point: (point.arm, point.gold_notes))


def choices_of(combination: Mapping[str, Any]) -> list[Choice]:
    """Return what the search took for each type; nothing where a label model combined."""
    return [
        Choice(kind, tuple(choice["members"]), choice["rule"], choice["f1"], combination["num_tried"])
        for kind, choice in combination.get("choices", {}).items()
    ]


def splits_of(counts: Mapping[str, Mapping[str, int]], types: Sequence[str]) -> list[Split]:
    """Return the parts of the corpus, as stage read counted them."""
    return [
        Split(
            split,
            counts[split]["notes"],
            counts[split]["words"],
            {kind: counts[split][kind] for kind in types},
            counts[split]["overlapping"],
            counts[split]["wordless"],
        )
        for split in SPLITS
    ]
