"""Which experiments there are: variant x budget x seed, in the order in which they are handed out.

A budget is a number of labelled training subjects.  What reads no label of this hospital is the same for all budgets
and is done once a seed, under budget 0; what draws nothing either, once, under seed 0.  The seed is that of initial
weights, of the order of rows, and of which subjects' labels are seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from ckd_dist.config import Optim, result_fields
from ckd_dist.engine.experiments import readable_name, running_order
from ckd_dist.files import digest_of
from ckd_dist.models.losses import Mixing
from ckd_dist.studies.disease.seen import Seen
from ckd_dist.studies.disease.temperature import Kind
from ckd_dist.studies.disease.variants import VARIANTS, Name, Variant

UNSHAPING = ("title", "expected", "effort")  # of a variant: what is said of it, and its price, change no result
LEARNED = ("train", "tuning")  # splits that a student learns from or is chosen by
FOLDS = 5  # of a teacher of the same labels, cross-fitted
RULES = 2  # of what experiments do: raised where results change although no field does
NO_LABELS = 0  # the budget of what reads no label of this hospital
LEAST_TUNING, TUNING_SHARE = 20, 4  # subjects of tuning beside a budget: a fourth as many, and not fewer than 20


@dataclass(frozen=True)
class ExperimentOptions:
    """The sides of the table."""

    variants: tuple[Name, ...]
    budgets: tuple[int, ...]  # labelled training subjects; none: as the recipe says
    seeds: int
    controls: Literal["first", "all"] = "first"  # budgets at which controls are trained


@dataclass(frozen=True)
class StudentOptions:
    """How every student of the experiments is made and trained, beside what the recipe calls `student.labelled`."""

    base: str
    revision: str | None
    max_tokens: int
    dtype: str
    optim: Optim
    mixing: Mixing
    unlabelled_weight: float
    temperature: Kind  # label.temperature


@dataclass(frozen=True)
class Experiment:
    """One model of one seed.  budget: labelled training subjects; None: as the recipe says; 0: it reads no label."""

    variant: Name
    budget: int | None
    seed: int

    @property
    def name(self) -> str:
        """Name its file."""
        budget = "recipe" if self.budget is None else str(self.budget)
        return readable_name([self.variant, budget, str(self.seed)], [self.variant, self.budget, self.seed])

    def __lt__(self, other: "Experiment") -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple:
        return self.seed, -1 if self.budget is None else self.budget, list(VARIANTS).index(self.variant)


@dataclass(frozen=True)
class ExperimentPlan:
    """An experiment, and all that shapes its result."""

    experiment: Experiment
    seen: Seen  # whose labels it may read
    student: StudentOptions  # its seed included
    digest: str

    @property
    def variant(self) -> Variant:
        """Return what it does."""
        return VARIANTS[self.experiment.variant]

    @property
    def mixing(self) -> Mixing:
        """Return how much its soft labels weigh."""
        return self.variant.mixing or self.student.mixing


def is_the_same(variant: Variant) -> bool:
    """Say whether a variant depends on no seed and no label of this hospital: it is done once."""
    return variant.needs == "other run" or variant.role in ("teacher", "oracle")


def reads_labels(variant: Variant, student: StudentOptions) -> bool:
    """Say whether a variant reads any label of this hospital, in training or in choosing a checkpoint."""
    if is_the_same(variant):
        return False
    if variant.soft not in ("teacher", "exact", "permuted") or variant.labelled_rows_only:
        return True
    is_fitted = variant.soft != "exact" and temperature_of(variant, student) != "none"
    tells_labelled_apart = student.unlabelled_weight != 1
    return (variant.mixing or student.mixing).soft_weight < 1 or is_fitted or tells_labelled_apart


def temperature_of(variant: Variant, student: StudentOptions) -> Kind:
    """Return which temperature of the teacher a variant fits."""
    if variant.temperature == "fitted" and student.temperature == "none":
        return "scalar"
    return "none" if variant.temperature == "none" else student.temperature


def list_experiments(options: ExperimentOptions, student: StudentOptions) -> list[Experiment]:
    """Return all experiments in running order, each once; `hard` comes before `own`, which learns from it."""
    wanted: dict[Experiment, None] = {}
    for seed in range(options.seeds):
        for number, budget in enumerate(options.budgets or (None,)):
            for name in options.variants:
                if VARIANTS[name].role == "control" and number > 0 and options.controls == "first":
                    continue
                reads, once = reads_labels(VARIANTS[name], student), is_the_same(VARIANTS[name])
                wanted[Experiment(name, budget if reads else NO_LABELS, 0 if once else seed)] = None
                if VARIANTS[name].soft == "own":
                    wanted[Experiment("hard", budget, seed)] = None
    sources = {replace(each, variant="hard") for each in wanted if VARIANTS[each.variant].soft == "own"}
    return running_order(wanted, lambda each: VARIANTS[each.variant].effort, first=sources)


def seen_with(own: Seen, budget: int | None, seed: int, num_tuning: int) -> Seen:
    """Return whose labels are seen: `budget` subjects of train and, unless the recipe says, a fourth of it of tuning.

    own: what the recipe says.  num_tuning: subjects of tuning with a label.
    """
    own = replace(own, seed=own.seed + seed)
    if not budget:
        return own
    few = max(LEAST_TUNING, budget // TUNING_SHARE)
    tuning = own.tuning if own.tuning is not None else few if few < num_tuning else None
    return replace(own, train=budget, tuning=tuning)


def plan_experiments(
    options: ExperimentOptions,
    student: StudentOptions,
    own: Seen,
    num_subjects: Mapping[str, int],
    inputs: Mapping[str, str],
) -> list[ExperimentPlan]:
    """Plan all experiments.

    num_subjects: with a label, of train and tuning.  inputs: digests of what is read: "student" (samples, texts
    and the base, by their bytes: a run that was moved is the same) and "teacher".  Raises ValueError where a budget is
    more than there are.
    """
    check_budgets(options.budgets, num_subjects["train"])

    def plan(experiment: Experiment) -> ExperimentPlan:
        variant = VARIANTS[experiment.variant]
        seen = seen_with(own, experiment.budget, experiment.seed, num_subjects["tuning"])
        mine = replace(student, optim=replace(student.optim, seed=student.optim.seed + experiment.seed))
        read = [inputs["student"], *([inputs[variant.needs]] if variant.needs in inputs else [])]
        teaching = {name: value for name, value in asdict(variant).items() if name not in UNSHAPING}
        shaping = [RULES, read, teaching, asdict(seen), result_fields(mine.optim)]
        shaping += [value for name, value in sorted(vars(mine).items()) if name not in ("base", "optim", "mixing")]
        return ExperimentPlan(experiment, seen, mine, digest_of([*shaping, asdict(variant.mixing or mine.mixing)]))

    return [plan(experiment) for experiment in list_experiments(options, student)]


def budgets_of(options: ExperimentOptions) -> Sequence[int | None]:
    """Return the budgets, a table of the report each."""
    return options.budgets or (None,)


def check_budgets(budgets: Sequence[int], num_train: int) -> None:
    """Raise ValueError where a budget is more than the labelled training subjects that there are."""
    for budget in budgets:
        if budget > num_train:
            raise ValueError(
                f"experiments.budgets: {budget} labelled subjects are asked for, train has {num_train}: "
                "lower it, or bring more subjects"
            )
