"""What a study is, and how a stage of it is run exactly once.

A study is data: its recipe, its stages in order, its commands.  Nothing here, in launch/ or in the engine has a list of
studies.  What a stage does is named as "module:name" and imported where it runs, so that `--help` stays quick and a
worker gets its function by name and looks nothing up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from ckd_dist import record
from ckd_dist.config import walk
from ckd_dist.files import digest_of
from ckd_dist.progress import Track
from ckd_dist.recipefile import load, read_file
from ckd_dist.record import Ledger, Record, hashes_of
from ckd_dist.runfolder import RunFolder
from ckd_dist.schema import SPLITS
from ckd_dist.world import World

Reference = str  # "package.module:name"


def no_op(*_: Any, **__: Any) -> None:
    """Do nothing: the callback of a stage that nobody watches."""


def always(_recipe: Any) -> bool:
    """Say that every recipe needs the stage."""
    return True


@dataclass(frozen=True)
class Callbacks:
    """Whom a running stage answers to.  All defaults do nothing."""

    committed: Callable[[Path, int, dict[str, float]], None] = no_op  # a checkpoint, its step and scores; on all ranks
    should_stop: Callable[[], bool] = no_op
    track: Track = no_op  # track(done, total, **numbers)


@dataclass(frozen=True)
class Context:
    """What a stage works with.  fields, inputs: what its record will say; `run_stage` fills them in."""

    recipe: Any
    run: RunFolder
    world: World = World()
    callbacks: Callbacks = Callbacks()
    fields: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    def digest(self, *more: Any, without: Sequence[str] = ()) -> str:
        """Hash all that shapes what the stage trains: a checkpoint of another digest is not gone on from.

        more: what else shapes it.  without: fields, or parts of the recipe, that do not.
        """
        shaping = {
            name: value
            for name, value in self.fields.items()
            if not any(name == part or name.startswith(f"{part}.") for part in without)
        }
        return digest_of([*more, shaping, self.inputs])


@dataclass(frozen=True)
class Outcome:
    """What a finished stage leaves: its files, numbers for the stages that read its record, what it cost and says."""

    files: Sequence[Path]
    numbers: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, Any] = field(default_factory=dict)  # seconds and the like: nothing depends on them
    said: str = ""  # what was kept and what was lost, in one line (account.py): for the screen and the report


class Worker(Protocol):
    """What one process holds between jobs: a teacher, an embedder, the cases."""

    def do(self, number: int) -> None:
        """Do job `number` and publish it.  Twice is harmless."""
        ...


@dataclass(frozen=True)
class Jobs:
    """A stage of independent jobs, each a number: no worker waits for another, and a lost one costs one job.

    missing: numbers of the jobs that are not done *for these fields and inputs*, in the order in which they are handed
    out; `context.digest()` in the name of a job's file says for which it was done.  worker: of a context and a device.
    finish: called once none is missing.
    """

    missing: Callable[[Context], list[int]]
    worker: Callable[[Context, str], Worker]
    finish: Callable[[Context], Outcome]


@dataclass(frozen=True)
class Stage:
    """One stage: what does it, who runs it, and on what its output depends.

    work: a function (context) -> Outcome, or None where it was asked to stop; of jobs, a `Jobs`.
    part: of the recipe, shown by --help; its `workers` run the stage.  fields: what shapes the output; none: `part`.
    reads: earlier stage -> patterns of those of its files that are read (record.Spec).  sources: fields that name files
    outside the run folder; the first stage's first is what --source sets.  size: a function (recipe, run) -> cost.Size.
    shaped_by: a function (recipe) -> what else shapes the output, by name (record.Spec.shaping).
    """

    name: str
    work: Reference
    help: str
    part: str
    runs: Literal["alone", "ranks", "jobs"] = "alone"
    fields: tuple[str, ...] = ()
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    needed: Callable[[Any], bool] = always
    size: Reference | None = None
    shaped_by: Reference | None = None

    def __post_init__(self) -> None:
        if not self.fields:
            object.__setattr__(self, "fields", (self.part,))

    def shaping(self, recipe: Any) -> Mapping[str, Any]:
        """Return what shapes the output beside fields and sources, by name; nothing for most (record.Spec.shaping)."""
        return resolve(self.shaped_by)(recipe) if self.shaped_by else {}


@dataclass(frozen=True)
class Command:
    """A command of one study beside its stages.

    work: a function of the options' values and `track` (of a run too: recipe, run), which returns the line that is said
    at its end.  options: name -> meaning; all must be given.  on_run: whether it looks at a run folder.
    """

    name: str
    work: Reference
    help: str
    options: Mapping[str, str]
    on_run: bool = False


@dataclass(frozen=True)
class RunDataset:
    """How a run opens as a `datasets.Dataset`.

    rows: a function (recipe, run, split) -> softlabels.dataset.Rows.  reads: the stages whose files it reads.
    """

    rows: Reference
    reads: tuple[str, ...]
    splits: tuple[str, ...] = SPLITS


@dataclass(frozen=True)
class Study:
    """A study.  recipe: the class of its configuration, whose field `study` is its name.  recipes: by name.

    check: a function (recipe, run) that raises ValueError where the recipe cannot be run, before any stage begins.
    """

    name: str
    help: str
    recipe: type
    recipes: Mapping[str, Callable[[], Any]]
    all_stages: tuple[Stage, ...]
    run_folder: type[RunFolder] = RunFolder
    commands: tuple[Command, ...] = ()
    dataset: RunDataset | None = None
    check: Reference | None = None

    def __post_init__(self) -> None:
        known = [name for name, _, _ in walk(self.recipe())]
        before: list[str] = []
        for stage in self.all_stages:
            for name in (*stage.fields, *stage.sources):
                if not any(each == name or each.startswith(f"{name}.") for each in known):
                    raise ValueError(f"study {self.name}, stage {stage.name}: its recipe has no field {name!r}")
            for name in stage.reads:
                if name not in before:
                    raise ValueError(f"study {self.name}, stage {stage.name} reads {name!r}, which is no earlier stage")
            before.append(stage.name)
        for name in self.dataset.reads if self.dataset else ():
            if name not in before:
                raise ValueError(f"study {self.name}, data set reads {name!r}, which is no stage")

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stages in order, by name."""
        return {stage.name: stage for stage in self.all_stages}

    def ledger(self, recipe: Any, run: RunFolder) -> Ledger:
        """Hold the records of a run folder against a recipe."""
        return Ledger(self.stages, recipe, run)


def resolve(reference: Reference) -> Any:
    """Import what a reference names.

    >>> resolve("ckd_dist.study:always")(None)
    True
    """
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def kept_run(studies: Mapping[str, Study], root: Path) -> tuple[Study, Any, RunFolder]:
    """Return the study, the recipe and the paths of a run folder, as its recipe.json says."""
    kept = RunFolder(root).recipe
    if not kept.is_file():
        raise FileNotFoundError(f"{root}: no run folder (it has no recipe.json)")
    RunFolder(root).check_layout()
    values = read_file(kept)
    if (name := values.get("study")) not in studies:
        raise ValueError(f"{kept} is of study {name!r}, there is {' and '.join(studies)}")
    study = studies[name]
    return study, load(study.recipe, values, where=f"recipe {kept}"), study.run_folder(root)


def open_rows(study: Study, recipe: Any, run: RunFolder, split: str) -> Any:
    """Return the rows (softlabels.dataset.Rows) of one split of a run.

    Raises ValueError where the study has no data set or no such split, or a stage that is read is not done.
    """
    if study.dataset is None:
        raise ValueError(f"study {study.name} does not say how its runs open as a data set")
    if split not in study.dataset.splits:
        raise ValueError(f"study {study.name} has no split {split!r}: give {' or '.join(study.dataset.splits)}")
    ledger = study.ledger(recipe, run)
    for name in study.dataset.reads:
        if (state := ledger.state(name)).state != "done":
            raise ValueError(f"{run.root}: stage {name} is {state.state} ({state.why}): run it first")
    return resolve(study.dataset.rows)(recipe, run, split)


def run_stage(study: Study, stage: Stage, context: Context) -> None:
    """Skip what is done; otherwise forget the old record, work, and record what came out.  Called on every rank.

    The leader alone looks whether it is done, and at what it depends on: another node may still see an older disk.
    """
    world, ledger = context.world, study.ledger(context.recipe, context.run)
    if world.from_leader(world.is_leader and ledger.is_done(stage.name)):
        return
    context = begin(study, stage, context)
    outcome = resolve(stage.work)(context)
    if outcome is not None:
        finish(stage, context, outcome)
    context.world.barrier()


def with_inputs(study: Study, stage: Stage, context: Context) -> Context:
    """Return the context with all that the stage's output depends on."""
    ledger = study.ledger(context.recipe, context.run)
    return replace(context, fields=ledger.fields(stage.name), inputs=ledger.inputs(stage.name))


def begin(study: Study, stage: Stage, context: Context) -> Context:
    """Forget the stage's old record; return the context with what the leader saw that it depends on.

    No rank goes on before that.
    """
    if context.world.is_leader:
        context = with_inputs(study, stage, context)
        context.run.stage(stage.name).unlink(missing_ok=True)
    fields, inputs = context.world.from_leader((context.fields, context.inputs))
    return replace(context, fields=fields, inputs=inputs)


def finish(stage: Stage, context: Context, outcome: Outcome) -> None:
    """Write the stage's record.  Only the leader does."""
    if context.world.is_leader:
        hashes = hashes_of(context.run, outcome.files)
        depends = dict(context.fields), dict(context.inputs)  # as they were when the stage began
        written = Record(stage.name, *depends, hashes, dict(outcome.numbers), dict(outcome.costs), outcome.said)
        record.finish(context.run, written)


def begin_jobs(study: Study, stage: Stage, context: Context) -> tuple[Context, list[int]]:
    """Begin a stage of jobs that is not done; return its context and the numbers of the jobs that are not done."""
    context = begin(study, stage, context)
    return context, resolve(stage.work).missing(context)


def finish_jobs(stage: Stage, context: Context) -> None:
    """Record a stage none of whose jobs is missing.  context: as `begin_jobs` gave it."""
    finish(stage, context, resolve(stage.work).finish(context))
