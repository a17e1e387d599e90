"""ckd-dist <stage|pipeline|...> --recipe NAME --source SOURCE --run DIR [field=value ...]

In a checkout it is `python -m launch.run` too.  The command line is made of the studies that it is given: a command a
stage, and each study's own.
"""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import Parameter, Signature
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import ckd_dist
from ckd_dist import record
from ckd_dist.config import walk
from ckd_dist.files import write
from ckd_dist.progress import Tracker, seconds_in_words
from ckd_dist.recipefile import load
from ckd_dist.runfolder import RunFolder
from ckd_dist.studies import STUDIES
from ckd_dist.study import Command, Context, Study, resolve
from ckd_dist.world import World

from . import PROGRAM, lock, show
from .choose import absolute, check_studies, choose, find_recipe, recipes_of, run_folder
from .verdict import verdict

Studies = Mapping[str, Study]

RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", help="name of a recipe, or a YAML or JSON file; left out: the one that RUN keeps"),
]
Source = Annotated[str | None, typer.Option(help="where the data lie, e.g. mimic3:DIR or synthetic:N")]
RunOption = Annotated[Path, typer.Option("--run", help="run folder, below which everything is written")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="run folder")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=VALUE", help="value of a field; `fields` shows all", show_default=False),
]
Local = Annotated[bool, typer.Option("--local", help="this process alone, or those of torchrun; no Ray")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only the plan: what would be done, and how large it is")]
Until = Annotated[
    str | None, typer.Option("--until", metavar="STAGE", help="run this and what it reads; left out: all")
]
WORK, USE, LOOK = "Run a study", "Use what a run made", "Look"


def build(studies: Studies, arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the command line of these studies.  arguments: say whose fields --help shows."""
    app = typer.Typer(
        cls=_listing_stages(studies),
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Distil a large language model's clinical knowledge into a small, fast model.",
    )
    app.callback()(_options)
    _add_pipeline(app, studies, arguments)
    for name in dict.fromkeys(name for study in studies.values() for name in study.stages):
        _add_stage(app, studies, name, arguments)
    for study in studies.values():
        for command in study.commands:
            _add_command(app, studies, study, command)
    _add_dataset(app, studies)
    _add_looks(app, studies)
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        show.say(f"ckd_dist {ckd_dist.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="the version", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """Take the options that stand before a command."""


# --- work ------------------------------------------------------------------------------------------------------------


def _add_pipeline(app: typer.Typer, studies: Studies, arguments: Sequence[str]) -> None:
    @app.command(cls=_with_fields(studies, None, arguments), rich_help_panel=WORK)
    def pipeline(
        run: RunOption,
        recipe: RecipeName = None,
        source: Source = None,
        local: Local = False,
        dry_run: DryRun = False,
        until: Until = None,
        overrides: Overrides = None,
    ) -> None:
        """Run all stages in order; those that are done are passed."""
        study, context = choose(studies, run, recipe, source, overrides)
        names = stages_until(study, until)
        if dry_run:
            return _show_plan(study, context, names)
        run_kept(study, context, names, local)


def _add_stage(app: typer.Typer, studies: Studies, name: str, arguments: Sequence[str]) -> None:
    """Add the command of a stage, of every study that has it; `train-teacher` is `train_teacher` too."""
    having = {key: study for key, study in studies.items() if name in study.stages}
    named = _named_study(studies, arguments)
    shown = {named: having[named]} if named in having else having
    texts = dict.fromkeys(study.stages[name].help.rstrip(".") for study in shown.values())
    help_text = f"{' / '.join(texts)} ({', '.join(shown)})."
    kind = _with_fields(studies, name, arguments)

    def command(
        run: RunOption,
        recipe: RecipeName = None,
        source: Source = None,
        local: Local = False,
        overrides: Overrides = None,
    ) -> None:
        study, context = choose(studies, run, recipe, source, overrides)
        if name not in study.stages:
            raise ValueError(
                f"{name} is a stage of study {' and '.join(having)}; this recipe's study {study.name} has "
                f"{', '.join(study.stages)}"
            )
        run_kept(study, context, [name], local)

    app.command(name, cls=kind, help=help_text, hidden=True)(command)  # listed below, by study
    if "_" in name:
        app.command(name.replace("_", "-"), cls=kind, help=help_text, hidden=True)(command)


def stages_until(study: Study, last: str | None) -> list[str]:
    """Return `last` and the stages that it reads from, directly or through others, in order; None: all.

    Raises ValueError where there is no such stage.
    """
    names = list(study.stages)
    if last is None:
        return names
    named = last.replace("-", "_")
    if named not in names:
        raise ValueError(f"--until {last}: study {study.name} has no such stage, it has {', '.join(names)}")
    needed = {named}
    for name in reversed(names):  # a stage reads earlier ones alone
        if name in needed:
            needed |= study.stages[name].reads.keys()
    return [name for name in names if name in needed]


def run_kept(study: Study, context: Context, names: Sequence[str], local: bool) -> None:
    """Run stages in order; keep the whole of a failure in the run folder, because only its sentence is shown."""
    from .driver import run_stages

    try:
        run_stages(study, context, names, local)
    except Exception as error:
        _keep(context.run, error)
        raise
    if list(names) == list(study.stages) and (page := context.run.report / "report.html").is_file():
        show.say(show.named("report", str(page)))


def _keep(run: RunFolder, error: Exception) -> None:
    """Write the whole of a failure to the run folder, unless another command is at work there: it has its own.

    Under torchrun every rank has a file, and the leader is at work.
    """
    rank = World.from_environment().rank
    with contextlib.suppress(OSError):  # a disk that cannot be written has a sentence of its own
        if run.root.is_dir() and (rank or lock.at_work(run) is None):
            write(lock.error_file(run, rank), "".join(traceback.format_exception(error)))


def _add_command(app: typer.Typer, studies: Studies, study: Study, command: Command) -> None:
    """Add a command that one study has beside its stages; all its options must be given."""

    def work(**values: str | Path) -> None:
        os.umask(0o077)
        run = values.pop("run", None)
        options = {name: absolute(str(value)) for name, value in values.items()}
        if run is not None:
            found, context = choose(studies, run)
            if found is not study:
                raise ValueError(f"{command.name} is a command of study {study.name}; {run} is a run of {found.name}")
            options |= {"recipe": context.recipe, "run": context.run}
        _say_work(command, options, Path(options["out"]) / "progress.jsonl" if "out" in options else None)

    takes = [_parameter("run", RunArgument)] if command.on_run else []
    takes += [
        _parameter(name, Annotated[str, typer.Option(f"--{name}", help=meaning, show_default=False)])
        for name, meaning in command.options.items()
    ]
    work.__signature__ = Signature(takes)
    work.__annotations__ = {each.name: each.annotation for each in takes}
    app.command(command.name, help=f"{command.help.rstrip('.')} ({study.name}).", rich_help_panel=USE)(work)


def _parameter(name: str, annotation: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation)


def _say_work(command: Command, options: Mapping[str, Any], progress: Path | None) -> None:
    """Run a command's work under a progress line, and say what it returns."""
    start = time.monotonic()
    if progress is None:
        done = resolve(command.work)(**options)
    else:
        progress.unlink(missing_ok=True)
        with show.watching(command.name, progress):
            done = resolve(command.work)(**options, track=Tracker(progress))
        progress.unlink(missing_ok=True)
    is_page = "\n" in done  # which is no line of progress
    took = seconds_in_words(time.monotonic() - start)
    show.say(done if is_page else show.named(command.name, f"{done}; {took}"))


def _add_dataset(app: typer.Typer, studies: Studies) -> None:
    @app.command(rich_help_panel=USE)
    def dataset(
        run: Annotated[Path, typer.Option("--run", help="run folder", show_default=False)],
        out: Annotated[Path, typer.Option("--out", help="new or empty folder", show_default=False)],
    ) -> None:
        """Write a run's texts, labels and soft labels as a data set: datasets.load_from_disk(OUT) reads it."""
        from ckd_dist.softlabels.dataset import save_run

        os.umask(0o077)
        study, context = choose(studies, _existing(run).root)
        counts = save_run(study, context.recipe, context.run, out.absolute())
        rows = ", ".join(f"{split} {num:,} rows" for split, num in counts.items())
        show.say(show.named("dataset", f"{rows}; {out}"))
        show.say(f"{out} holds records of patients: the rules of {run} apply to it too")


# --- looking ---------------------------------------------------------------------------------------------------------


def _add_looks(app: typer.Typer, studies: Studies) -> None:
    look: Callable = lambda: app.command(rich_help_panel=LOOK)  # noqa: E731

    @look()
    def plan(run: RunOption, recipe: RecipeName = None, source: Source = None, overrides: Overrides = None) -> None:
        """Show what would be done, why, and how large it will be; nothing is written."""
        _show_plan(*choose(studies, run, recipe, source, overrides))

    @look()
    def status(run: RunArgument, recipe: RecipeName = None, source: Source = None, overrides: Overrides = None) -> None:
        """Show what is done, what a re-run would redo and why; how far a job at work is."""
        folder = _existing(run)
        study, context = choose(studies, run, recipe, source, overrides)
        states = study.ledger(context.recipe, context.run).status()
        show.table(("stage", "state", "why"), [(s.name, s.state, s.why) for s in states])
        progress = {each.name: folder.progress(each.name) for each in states if each.state != "done"}
        minutes = _save_minutes(study, context.recipe)
        show.at_work(lock.at_work(folder), progress, minutes, lock.faults_file(lock.ray_folder(folder)))

    @look()
    def verify(run: RunArgument) -> None:
        """Show whether every file still has the bytes that its stage wrote."""
        folder = _existing(run)
        problems = record.verify(folder)
        for problem in problems:
            show.err.print(problem, markup=False)
        if problems:
            raise typer.Exit(1)
        num_files = sum(len(each.files) for each in record.records(folder).values())
        show.say(f"{num_files} files hold what their stages wrote")

    @look()
    def fields(
        recipe: Annotated[str, typer.Option(help="name of a recipe, or a YAML or JSON file", show_default=False)],
        part: Annotated[str, typer.Argument(help="e.g. teacher, or student.optim; left out: all")] = "",
    ) -> None:
        """Show every field of a recipe: its value, meaning and unit, and whether it changes the result."""
        show.fields(choose(studies, None, recipe)[1].recipe, part)

    @look()
    def recipes() -> None:
        """Show the recipes that there are, and what each is for."""
        known = recipes_of(studies)
        rows = [(name, study.name, show.first_line(study.recipes[name])) for name, study in known.items()]
        show.table(("recipe", "study", "what it is for"), rows)


def _show_plan(study: Study, context: Context, names: Collection[str] | None = None) -> None:
    """Show the plan of these stages; none: of all.  Raise ValueError where they could not be run."""
    from .driver import check_recipe, plan

    check_recipe(study, context, list(names or study.stages))
    planned = [each for each in plan(study, context) if names is None or each.name in names]
    show.table(("stage", "state", "why", "size"), [(e.name, e.state, e.why, e.size) for e in planned])


def _save_minutes(study: Study, recipe: Any) -> dict[str, float]:
    """The most minutes between two saves of each stage that trains."""
    found = {}
    for name, stage in study.stages.items():
        fields = walk(getattr(recipe, stage.part)) if stage.runs == "ranks" else ()
        minutes = [value for field, value, _ in fields if field.rpartition(".")[2] == "save_minutes"]
        found |= {name: max(minutes)} if minutes else {}
    return found


def _existing(path: Path) -> RunFolder:
    """The run folder at `path`.  Raises FileNotFoundError where there is none."""
    folder = RunFolder(run_folder(path))
    if not folder.recipe.is_file():
        raise FileNotFoundError(f"{path}: no run folder (it has no recipe.json)")
    folder.check_layout()
    return folder


# --- help ------------------------------------------------------------------------------------------------------------


def _listing_stages(studies: Studies) -> type[TyperGroup]:
    """A group of commands whose --help ends with the stages of each study."""

    class GroupWithStages(TyperGroup):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            show.say("A study runs stage by stage, and each stage is a command too:")
            for study in studies.values():
                show.say(f"  {study.name:<9} {study.help}\n            {', '.join(study.stages)}")

    return GroupWithStages


def _with_fields(every: Studies, stage: str | None, arguments: Sequence[str]) -> type[TyperCommand]:
    """A command whose --help goes on with the fields of the recipe that the command line names."""

    class CommandWithFields(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            named = _named_recipe(arguments)
            if named is None:
                show.say(f"Add --recipe NAME to see the fields of a recipe here; `{PROGRAM} recipes` lists them.")
                return
            study, values = find_recipe(every, named)
            if stage and stage not in study.stages:
                show.say(f"Recipe {named} is of study {study.name}, whose stages are {', '.join(study.stages)}.")
                return
            part = study.stages[stage].part if stage else ""
            show.parts(load(study.recipe, values), part, f"{PROGRAM} fields --recipe {named} {part}".rstrip())

    return CommandWithFields


def _named_study(studies: Studies, arguments: Sequence[str]) -> str | None:
    """The study of the recipe that a command line names; None where there is none, or a wrong one."""
    named = _named_recipe(arguments)
    try:
        return find_recipe(studies, named)[0].name if named else None
    except ValueError:
        return None  # what is wrong with it is said where it is used


def _named_recipe(arguments: Sequence[str]) -> str | None:
    """The recipe that a command line names, or the run folder that it names keeps; None where neither is there."""
    given = dict(pairwise(arguments))
    given |= dict(each.split("=", 1) for each in arguments if each.startswith("--") and "=" in each)
    if "--recipe" in given:
        return given["--recipe"]
    kept = RunFolder(Path(given.get("--run", "."))).recipe
    return str(kept) if "--run" in given and kept.is_file() else None


def main(arguments: Sequence[str] | None = None, studies: Studies = STUDIES) -> int:
    """Run the command line of `studies`; return the exit code.

    0 done, 1 failed, 2 a mistake in what was asked, 85 to be run again, 130 stopped by a person.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        check_studies(studies)
        build(studies, arguments)(arguments, prog_name=PROGRAM)
    except SystemExit as end:
        return int(end.code or 0)
    except lock.Stopped as stop:
        show.say(str(stop))
        return stop.code
    except Exception as error:
        sentence, code = verdict(error)
        show.err.print(sentence, markup=False)
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
