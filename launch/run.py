"""python -m launch.run <stage|pipeline> --recipe NAME --source SOURCE --run DIR [field=value ...]"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ckd_dist import recipes, stages
from ckd_dist.config import Recipe, walk
from ckd_dist.schema import Run
from launch import guard, show

STAGES = {  # stage -> the part of the recipe that its --help explains, and its help
    "extract": ("extract", "Tables to events (MEDS), subjects split."),
    "select": ("select", "Events to samples: a visit, and the next one's labels."),
    "prompt": ("prompt", "Samples to prompts: text, tokens and spans for teacher and student."),
    "train_teacher": ("teacher", "Prompts to teacher, under DeepSpeed ZeRO on Ray workers."),
    "label": ("label", "Teacher to soft labels, by independent Ray workers."),
    "distill": ("student", "Soft labels to student, data-parallel on Ray workers."),
    "evaluate": ("evaluate", "Predictions to report: metrics.json, report.md, report.html."),
}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Distil a large language model's clinical knowledge into a small, fast model.",
)

RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe", help="a recipe's name, or a YAML or JSON file; left out: the one that the run folder keeps"
    ),
]
Source = Annotated[
    str | None, typer.Option(help="mimic3:DIR, mimic4:DIR, meds:DIR or synthetic:N; sets extract.source")
]
RunOption = Annotated[Path, typer.Option("--run", help="run folder: everything is written below it")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="run folder")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="e.g. teacher.lora.rank=8", show_default=False)
]
Local = Annotated[
    bool,
    typer.Option("--local", help="no Ray: this process, or those of torchrun --nproc-per-node N -m -- launch.run ..."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done and how large it will be, and end")]


def fields_of(part: str) -> type[TyperCommand]:
    """A command whose --help goes on with every recipe field of `part` ("": of all)."""

    class CommandWithFields(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            show.fields(Recipe(), part)

    return CommandWithFields


# --- work ------------------------------------------------------------------------------------------------------------


@app.command(cls=fields_of(""))
def pipeline(
    run: RunOption,
    recipe: RecipeName = None,
    source: Source = None,
    local: Local = False,
    dry_run: DryRun = False,
    overrides: Overrides = None,
) -> None:
    """All stages in order; those that are done are passed."""
    if dry_run:
        return plan(run, recipe, source, overrides)
    go(list(STAGES), run, recipe, source, local, overrides)


def add_stage(name: str, part: str, words: str) -> None:
    """A command of its own for one stage, with `train-teacher` for `train_teacher`."""

    def command(
        run: RunOption,
        recipe: RecipeName = None,
        source: Source = None,
        local: Local = False,
        overrides: Overrides = None,
    ) -> None:
        go([name], run, recipe, source, local, overrides)

    app.command(name, cls=fields_of(part), help=words)(command)
    if "_" in name:
        app.command(name.replace("_", "-"), cls=fields_of(part), help=words, hidden=True)(command)


for _name, (_part, _words) in STAGES.items():
    add_stage(_name, _part, _words)


def go(
    names: list[str], run: Path, recipe: str | None, source: str | None, local: bool, overrides: list[str] | None
) -> None:
    """Run stages; keep the whole of a failure in the run folder, because only its sentence is shown."""
    from ckd_dist import pipeline as contents
    from launch import road

    folder = run_folder(run)
    chosen = choose(folder, recipe, source, overrides)
    try:
        road.travel(contents, chosen, folder, names, local)
    except Exception as error:
        keep(error, folder)
        raise
    if names == list(STAGES):
        show.say(f"{'report':<14} {folder.report / 'report.html'}")


@app.command()
def predict(
    model: Annotated[Path, typer.Option(help="a student's folder, e.g. RUN/student")],
    source: Annotated[str, typer.Option(help="mimic3:DIR, mimic4:DIR or meds:DIR: the new patients")],
    out: Annotated[Path, typer.Option(help="folder for predictions, in the project's table and in MEDS form")],
) -> None:
    """Calibrated probabilities for new patients."""
    from ckd_dist import pipeline as contents
    from ckd_dist.progress import Tracker

    os.umask(0o077)
    progress = out / "progress.jsonl"
    progress.unlink(missing_ok=True)
    with show.watching("predict", progress):
        contents.predict(model.absolute(), absolute(source), out.absolute(), Tracker(progress))
    show.say(f"{'predict':<14} {out}")


@app.command()
def export(run: RunArgument, out: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the files go")]) -> None:
    """Prompts and soft labels in CKD-EHR's own form (JSONL and JSON); label.import_from reads such soft labels."""
    from ckd_dist import pipeline as contents

    os.umask(0o077)
    folder = run_folder(run)
    for file, count in contents.export(choose(folder, None, None, None), folder, out.absolute()).items():
        show.say(f"{file:<30} {count:>9,} rows")


# --- looking ---------------------------------------------------------------------------------------------------------


@app.command()
def plan(run: RunOption, recipe: RecipeName = None, source: Source = None, overrides: Overrides = None) -> None:
    """What would be done, why, and how large it will be; nothing is written."""
    from launch.plan import plan as planned
    from launch.plan import words

    folder = run_folder(run)
    lines = planned(choose(folder, recipe, source, overrides), folder)
    show.table(("stage", "state", "why", "size"), [(line.name, line.state, line.why, words(line)) for line in lines])


@app.command()
def status(run: RunArgument, recipe: RecipeName = None, source: Source = None, overrides: Overrides = None) -> None:
    """What is done, what a re-run would redo and why; how far a job at work is."""
    folder = run_folder(run)
    if not folder.recipe.is_file():
        raise FileNotFoundError(f"{run}: no run folder (it has no recipe.json)")
    chosen = choose(folder, recipe, source, overrides)
    show.table(("stage", "state", "why"), [(s.name, s.state, s.why) for s in stages.status(chosen, folder)])
    show.at_work(guard.at_work(folder), {name: folder.progress(name) for name in STAGES})


@app.command()
def verify(run: RunArgument) -> None:
    """Whether every file still has the bytes that its stage wrote."""
    folder = run_folder(run)
    if not folder.recipe.is_file():
        raise FileNotFoundError(f"{run}: no run folder (it has no recipe.json)")
    problems = stages.verify(folder)
    for problem in problems:
        show.err.print(problem, markup=False)
    if problems:
        raise typer.Exit(1)
    num_files = sum(len(record.files) for name in STAGES if (record := stages.read(folder, name)))
    show.say(f"{num_files} files hold what their stages wrote")


@app.command()
def fields(part: Annotated[str, typer.Argument(help="e.g. teacher, or student.optim; left out: all")] = "") -> None:
    """Every field of a recipe: default, meaning and unit, and whether it changes the result."""
    show.fields(Recipe(), part)


# --- what the command line means -------------------------------------------------------------------------------------


def run_folder(path: Path) -> Run:
    """The run folder, absolute: workers stand elsewhere."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not path.is_absolute():
        raise ValueError(f"--run {path}: give an absolute path; a submitted job's own folder is temporary")
    return Run(path.absolute())


def choose(run: Run, name: str | None, source: str | None, overrides: Sequence[str] | None) -> Recipe:
    """The recipe that is meant, its paths absolute; without a name the one that the run folder keeps."""
    if name is None and not run.recipe.is_file():
        raise ValueError(f"give --recipe: a file, or one of {', '.join(recipes.RECIPES)}")
    asked = [*(overrides or ()), *([f"extract.source={source}"] if source else [])]
    recipe = recipes.load(name or str(run.recipe), asked)
    values = recipes.RECIPE.dump_python(recipe, mode="json")
    for field, value, _ in walk(recipe):
        if isinstance(value, str):
            *parents, leaf = field.split(".")
            place = values
            for parent in parents:
                place = place[parent]
            place[leaf] = absolute(value)
    return recipes.RECIPE.validate_python(values)


def absolute(value: str) -> str:
    """A value that names something on this disk, with its whole path; any other as it is.

    >>> absolute("synthetic:100"), absolute("cosine")
    ('synthetic:100', 'cosine')
    """
    kind, colon, path = value.rpartition(":")
    if "/" not in path and not colon and not path.endswith((".yaml", ".yml", ".json")):
        return value
    return f"{kind}{colon}{Path(path).absolute()}" if kind != "synthetic" and Path(path).exists() else value


# --- how it ends -----------------------------------------------------------------------------------------------------


def keep(error: Exception, run: Run) -> None:
    """Write a failure down, traceback and all, for whoever looks deeper."""
    if run.root.is_dir() and not isinstance(error, guard.Stopped):
        guard.error_file(run).write_text("".join(traceback.format_exception(error)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    0 done, 1 failed, 2 a mistake in what was asked, 85 saved and to be run again, 130 Ctrl-C.
    """
    try:
        app(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    except guard.Stopped as stop:
        show.say(str(stop))
        return stop.code
    except Exception as error:
        sentence, code = verdict(error)
        show.err.print(sentence, markup=False)
        return code
    return 0


def verdict(error: Exception) -> tuple[str, int]:
    """One sentence and the exit code.

    >>> verdict(ValueError("recipe field teacher.lora.rank: too small"))
    ('recipe field teacher.lora.rank: too small', 2)
    """
    words = " ".join(str(error).split()) or type(error).__name__
    if is_full_disk(error):
        return f"{words}: make room and run the same command; what was finished stands", 1
    if isinstance(error, OSError):
        return words, 2
    if isinstance(error, ValueError):
        return words, 2
    if isinstance(error, guard.Failure):
        return words, 1
    return f"{type(error).__name__}: {words} (a fault of the program: RUN/error.log has the whole of it)", 1


def is_full_disk(error: Exception) -> bool:
    """Safetensors tells of it in words of its own.

    >>> is_full_disk(OSError(errno.ENOSPC, "No space left")), is_full_disk(Exception("I/O error (os error 28)"))
    (True, True)
    """
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or f"os error {errno.ENOSPC})" in str(error)


if __name__ == "__main__":
    sys.exit(main())
