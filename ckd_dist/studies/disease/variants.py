"""What experiments compare: from which labels a student learns, and what it is compared with.

Every student of a seed starts from the same weights and makes as many updates; what differs is what it is taught.  A
control is a variant that must not help, by which a gain is known to come from the teacher.  `distilled` has all that
the recipe has; a teacher with a prompt of its own (prompt.teacher_only) is another teacher, and so another run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ckd_dist.models.losses import Mixing

Name = Literal[
    "distilled",
    "hard",
    "published",
    "labelled_only",
    "calibrated",
    "uncalibrated",
    "exact",
    "exact_labelled",
    "permuted",
    "own",
    "own_labelled",
    "own_crossfit",
    "logistic",
    "trees",
    "copy_last",
    "elsewhere",
    "teacher",
    "oracle",
]
Soft = Literal["teacher", "exact", "permuted", "own", "own_crossfit"]
Need = Literal["teacher", "law", "other run"]


@dataclass(frozen=True)
class Variant:
    """One way to predict.  soft: whose soft labels a student learns from; None: it learns from hard labels alone."""

    title: str
    role: Literal["student", "control", "baseline", "teacher", "oracle"] = "student"
    soft: Soft | None = None
    labelled_rows_only: bool = False  # soft labels of the visits whose labels are seen, and of no other
    mixing: Mixing | None = None  # None: the recipe's own (student.loss)
    temperature: Literal["recipe", "none", "fitted"] = "recipe"  # of the teacher: label.temperature, or in its place
    needs: Need | None = None
    effort: float = 1.0  # trainings that it takes, roughly
    expected: str = ""  # of a control


VARIANTS: dict[Name, Variant] = {
    "distilled": Variant("Distilled student", soft="teacher", needs="teacher"),
    "hard": Variant("Hard labels alone"),
    "published": Variant("As published (0.1 soft, T 1)", soft="teacher", mixing=Mixing(0.1, 1.0), needs="teacher"),
    "labelled_only": Variant(
        "Soft labels of labelled visits alone", soft="teacher", labelled_rows_only=True, needs="teacher"
    ),
    "calibrated": Variant("Distilled, teacher calibrated", soft="teacher", temperature="fitted", needs="teacher"),
    "uncalibrated": Variant("Distilled, teacher not calibrated", soft="teacher", temperature="none", needs="teacher"),
    "exact": Variant("Exact probabilities as soft labels", soft="exact", needs="law"),
    "exact_labelled": Variant(
        "Exact probabilities, labelled visits", soft="exact", labelled_rows_only=True, needs="law"
    ),
    "permuted": Variant(
        "Soft labels of another patient",
        role="control",
        soft="permuted",
        needs="teacher",
        expected="far below the distilled student: others' soft labels say how common a disease is, no more",
    ),
    "own": Variant(
        "Teacher of the same labels",
        role="control",
        soft="own",
        effort=1.1,
        expected="as good as hard labels alone: a teacher that knows no more has nothing to teach",
    ),
    "own_labelled": Variant(
        "Same labels' teacher, labelled visits",
        role="control",
        soft="own",
        labelled_rows_only=True,
        expected="as good as hard labels alone: a teacher that knows no more has nothing to teach",
    ),
    "own_crossfit": Variant(
        "Teacher of the same labels, cross-fitted",
        role="control",
        soft="own_crossfit",
        effort=6.0,
        expected="as good as hard labels alone: a teacher that knows no more has nothing to teach",
    ),
    "logistic": Variant("Logistic regression, same labels", role="baseline", effort=0.1),
    "trees": Variant("Gradient-boosted trees, same labels", role="baseline", effort=0.4),
    "copy_last": Variant("Copy the last visit, same labels", role="baseline", effort=0.0),
    "elsewhere": Variant("Other hospital's logistic regression", role="baseline", needs="other run", effort=0.05),
    "teacher": Variant("Teacher", role="teacher", needs="teacher", effort=0.0),
    "oracle": Variant("Best possible (oracle)", role="oracle", needs="law", effort=0.0),
}

REMEDIES = {
    "teacher": "which has soft labels for the tuning visits too: leave out label.import_from, or this variant",
    "law": "which only a synthetic hospital with its own labels has: take --source synthetic:N, or leave it out",
    "other run": "whose run label.from_run names: give one that learned from other patients, or leave it out",
}


def check_variants(names: Sequence[Name], there: Sequence[Need]) -> None:
    """Raise ValueError where a variant needs what this run has not.  there: what it has."""
    for name in names:
        need = VARIANTS[name].needs
        if need is not None and need not in there:
            whose = {"teacher": "a teacher", "law": "the exact law", "other run": "another hospital"}[need]
            raise ValueError(f"experiments.variants: {name!r} needs {whose}, {REMEDIES[need]}")
