"""The grid: which experiments there are, in which order they run, and what shapes each of them.

    embedding x patient model x source -> target x regime x size x seed

An experiment is one training run with one seed, and one file.  The source model of A -> B is itself of an experiment,
A's own `local` one; where the source is all other sites, of the local one of their union, a site called "all but B".
Source models come first, long ones before short ones, so that free workers seldom wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from ckd_dist.config import Optim, result_fields
from ckd_dist.engine.experiments import readable_name, running_order
from ckd_dist.files import digest_of, hash_file
from ckd_dist.studies.concepts.cases.cases import read_cases
from ckd_dist.studies.concepts.pools import PatientOptions
from ckd_dist.studies.concepts.regimes import FROM_SOURCE, TUNED, Regime
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.tables import ONE_HOT

REST = "all but "
# They read no label of the target; or ask how long to tune, not with how many.
NO_SIZES: tuple[Regime, ...] = ("shared", "adversarial", "thawed")


@dataclass(frozen=True)
class GridOptions:
    """The sides of the grid, and how its models are trained."""

    models: tuple[PatientOptions, ...]
    regimes: tuple[Regime, ...]
    pairs: tuple[str, ...]  # SOURCE->TARGET or rest->TARGET; none: all
    seeds: int
    sizes: tuple[int, ...]  # labelled training cases of the target
    steps_curve: int  # length of the curve over tuning steps, times the tuning schedule
    train: Optim
    tune: Optim
    rates: tuple[float, ...]  # learning rates to choose from; none: the schedule's own
    adversary_weight: float


@dataclass(frozen=True)
class Experiment:
    """One training run.  size: labelled training cases of the target; None: all.  local: source is the target."""

    embedding: str
    model: str  # one of model_names
    source: str
    target: str
    regime: Regime
    size: int | None
    seed: int

    @property
    def name(self) -> str:
        """Readable, safe as a file's name, and different for different experiments."""
        parts = [self.regime, self.source, "to", self.target, self.embedding, self.model]
        parts += [str(self.size or "whole"), str(self.seed)]
        return readable_name(parts, self._key())

    def __lt__(self, other: "Experiment") -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple:
        whole = (1, 0) if self.size is None else (0, self.size)
        return (self.embedding, self.model, self.source, self.target, self.regime, whole, self.seed)


def source_experiment(experiment: Experiment) -> Experiment | None:
    """Return the experiment whose model this one starts from; None where it starts fresh."""
    if experiment.regime not in FROM_SOURCE:
        return None
    return replace(experiment, target=experiment.source, regime="local", size=None)


def model_names(models: Sequence[PatientOptions]) -> list[str]:
    """Name each patient model: its kind, with a number from the second of a kind on.

    >>> model_names([PatientOptions(kind, 100, dropout=0.5, layers=2, heads=4) for kind in ("max", "mean", "max")])
    ['max', 'mean', 'max 2']
    """
    kinds = [model.kind for model in models]
    numbers = [kinds[: place + 1].count(kind) for place, kind in enumerate(kinds)]
    return [kind if number == 1 else f"{kind} {number}" for kind, number in zip(kinds, numbers, strict=True)]


def members(site: str, sites: Sequence[str]) -> list[str]:
    """Return the sites that a source or target means.  Raise ValueError where it means none.

    >>> members("all but B", ["A", "B", "C"]), members("B", ["A", "B", "C"])
    (['A', 'C'], ['B'])
    """
    if site in sites:
        return [site]
    if site.removeprefix(REST) not in sites:
        raise ValueError(f"{site!r} is none of the sites {', '.join(sites)}")
    return [other for other in sites if other != site.removeprefix(REST)]


def pairs(asked: Sequence[str], sites: Sequence[str]) -> list[tuple[str, str]]:
    """Return (source, target) of every pair asked for; all ordered pairs of sites where none is.

    Raises ValueError where one is not SOURCE->TARGET of sites that there are.
    """
    if not asked:
        return [(source, target) for source in sites for target in sites if source != target]
    chosen = []
    for pair in asked:
        source, arrow, target = (part.strip() for part in pair.partition("->"))
        is_rest = source == "rest" and source not in sites
        if not arrow or target not in sites or source == target or (source not in sites and not is_rest):
            raise ValueError(f"pair {pair!r} is not SOURCE->TARGET or rest->TARGET of the sites {', '.join(sites)}")
        if is_rest and len(sites) < 2:
            raise ValueError(f"pair {pair!r} needs another site than {target}")
        chosen.append((REST + target if is_rest else source, target))
    return list(dict.fromkeys(chosen))


def check_pairs(asked: Sequence[str], sites: Sequence[str]) -> None:
    """Raise ValueError where no pair of these sites is left, or one is asked for that there is not."""
    if not pairs(asked, sites):
        raise ValueError(
            f"{', '.join(sites)} is the only site, and a model is carried from one to another: bring a second source, "
            "or tell its sites apart by sites.by, or lower sites.min_cases"
        )


def list_experiments(
    grid: GridOptions, embeddings: Sequence[str], num_train: Mapping[str, int]
) -> tuple[list[Experiment], list[str]]:
    """Return all experiments in running order, each once, and a sentence for everything asked for that is left out.

    num_train: training cases of every site.  Source models come before all others; within both, the longest first.
    """
    wanted: dict[Experiment, None] = {}
    left_out: dict[str, None] = {}
    models = dict(zip(model_names(grid.models), grid.models, strict=True))
    for source, target in pairs(grid.pairs, list(num_train)):
        for size in grid.sizes:
            if size >= num_train[target]:
                left_out[f"size {size}: {target} has {num_train[target]} training cases"] = None
        for regime in grid.regimes:
            sizes = [] if regime in NO_SIZES else sorted(size for size in set(grid.sizes) if size < num_train[target])
            begin = target if regime == "local" else source
            for embedding in embeddings:
                for model in models:
                    for size in (None, *sizes):
                        for seed in range(grid.seeds):
                            wanted[Experiment(embedding, model, begin, target, regime, size, seed)] = None
    sources = {first for experiment in wanted if (first := source_experiment(experiment))}
    chosen = [*wanted, *(sources - wanted.keys())]

    def cost(experiment: Experiment) -> float:
        return effort(experiment, grid, models[experiment.model], num_train)

    return running_order(chosen, cost, first=sources), list(left_out)


def effort(experiment: Experiment, grid: GridOptions, model: PatientOptions, num_train: Mapping[str, int]) -> float:
    """Estimate how long an experiment takes, in cases read; a Transformer reads one in about twenty times the time."""
    if experiment.regime == "shared":
        return 0.0
    num = experiment.size or sum(num_train[site] for site in members(experiment.target, list(num_train)))
    epochs = grid.tune.epochs * max(1, grid.steps_curve) if experiment.regime in TUNED else grid.train.epochs
    if experiment.regime in ("pooled", "adversarial"):
        num += sum(num_train[site] for site in members(experiment.source, list(num_train)))
    return epochs * num * (20 if model.kind == "transformer" else 1) * (2 if experiment.regime == "thawed" else 1)


@dataclass(frozen=True)
class ExperimentPlan:
    """An experiment, and all that shapes its result."""

    experiment: Experiment
    model: PatientOptions
    optim: Optim  # training, or tuning where it starts from a source model
    rates: tuple[float, ...]  # learning rates that are tried, of which the tuning cases choose one
    directions: int | None  # that whitening keeps of the embedding; None: no whitening
    adversary_weight: float | None  # of the reversed gradient; None: no adversary
    steps_curve: int  # length of the curve over tuning steps, times the schedule; 0: no curve
    source: "ExperimentPlan | None"  # whose model it starts from; None: it starts fresh
    digest: str  # of all that shapes it: the same digest, the same result


class GridPlan:
    """The grid of a run: its experiments in running order, each with all that shapes it.

    embeddings: what a patient model may read -> directions that its whitening keeps.
    """

    def __init__(self, grid: GridOptions, embeddings: Mapping[str, int | None], run: ConceptsRun) -> None:
        experiments, self.left_out = list_experiments(grid, list(embeddings), read_cases(run).num_train)
        self._grid, self._directions, self._inputs = grid, embeddings, input_digests(run, list(embeddings))
        self._models = dict(zip(model_names(grid.models), grid.models, strict=True))
        self.plans = [self._plan(experiment) for experiment in experiments]

    def _plan(self, experiment: Experiment) -> ExperimentPlan:
        grid, model = self._grid, self._models[experiment.model]
        source, is_tuned = source_experiment(experiment), experiment.regime in TUNED
        optim = grid.tune if is_tuned else grid.train
        directions = self._directions[experiment.embedding]
        adversary_weight = grid.adversary_weight if experiment.regime == "adversarial" else None
        steps_curve = grid.steps_curve if is_tuned and experiment.size is None else 0
        shaping = [self._inputs[experiment.embedding], directions, grid.rates, adversary_weight, steps_curve]
        shaping += [asdict(model), result_fields(grid.train), result_fields(optim)]  # train: of the source model too
        return ExperimentPlan(
            experiment=experiment,
            model=model,
            optim=optim,
            rates=grid.rates or (optim.learning_rate,),
            directions=directions,
            adversary_weight=adversary_weight,
            steps_curve=steps_curve,
            source=self._plan(source) if source else None,
            digest=digest_of(shaping),
        )


def input_digests(run: ConceptsRun, embeddings: Sequence[str]) -> dict[str, str]:
    """Hash what a model of each embedding reads: cases, concepts, and the embedding's table."""
    common = [hash_file(run.cases), hash_file(run.concepts)]
    tables = {name: [hash_file(run.vectors(name))] for name in embeddings if name != ONE_HOT}
    return {name: digest_of([*common, *tables.get(name, ())]) for name in embeddings}
