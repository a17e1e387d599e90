"""python -m launch.run <stage|pipeline> --recipe NAME --source SOURCE --run DIR [field=value ...]"""

import errno
import importlib
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ckd_dist import recipes, stages
from ckd_dist.config import Recipe
from ckd_dist.schema import Run
from ckd_dist.stages import STUDIES, AnyRecipe
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.ner.config import NerRecipe
from launch import lock as guard
from launch import show

CONTENTS = {
    "disease": "studies.disease.stages",
    "ner": "studies.ner.stages",
    "concepts": "studies.concepts.stages",
}  # study -> its table of contents

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
    str | None,
    typer.Option(
        help="mimic3:DIR, mimic4:DIR, eicu:DIR, meds:DIR or synthetic:N (notes: brat:DIR, iob:DIR, ... too; concepts: "
        "findings:DIR too, or several with a name each: A=mimic3:DIR,B=eicu:DIR)"
    ),
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


DEFAULTS: dict[str, AnyRecipe] = {"disease": Recipe(), "ner": NerRecipe(), "concepts": ConceptRecipe()}


def fields_of(parts: Mapping[str, str]) -> type[TyperCommand]:
    """A command whose --help goes on with every recipe field of a study's part ("": of all)."""

    class CommandWithFields(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            for study, part in parts.items():
                show.say(f"\nFields of study {study}:")
                show.fields(DEFAULTS[study], part)

    return CommandWithFields


# --- work ------------------------------------------------------------------------------------------------------------


@app.command(cls=fields_of(dict.fromkeys(STUDIES, "")))
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
    go(None, run, recipe, source, local, overrides)


@app.command(cls=fields_of({"disease": "extract"}))
def extract(
    run: Annotated[Path | None, typer.Option("--run", help="run folder: everything is written below it")] = None,
    recipe: RecipeName = None,
    source: Source = None,
    local: Local = False,
    model: Annotated[Path | None, typer.Option(help="a tagger's folder, e.g. RUN/student: extract entities")] = None,
    notes: Annotated[
        str | None, typer.Option(help="a folder of .txt, or text:, jsonl:, brat:, mimic3:DIR, ...")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for entities.jsonl, brat/ and entities.html")] = None,
    overrides: Overrides = None,
) -> None:
    """Entities of notes (--model, --notes, --out); or, with --run, tables to events (MEDS), subjects split."""
    if model is None:
        if run is None or notes or out:
            raise ValueError(
                "extract wants --model, --notes and --out for entities of notes, or --run for tables to events"
            )
        return go("extract", run, recipe, source, local, overrides)
    if notes is None or out is None or run or recipe or source or overrides:
        raise ValueError("extract --model wants --notes and --out, and nothing else")
    from ckd_dist.progress import Tracker
    from ckd_dist.studies.ner import stages as pipeline_ner

    os.umask(0o077)
    progress = out / "progress.jsonl"
    progress.unlink(missing_ok=True)
    start = time.monotonic()
    with show.watching("extract", progress):
        counts = pipeline_ner.extract(model.absolute(), absolute(notes), out.absolute(), Tracker(progress))
    seconds = time.monotonic() - start
    told = ", ".join(f"{number:,} {what}" for what, number in counts.items())
    show.say(f"{'extract':<14} {told}; {counts['words'] / seconds:,.0f} words a second; {out / 'entities.html'}")


def add_stage(name: str) -> None:
    """A command of its own for one stage, of every study that has it; with `train-teacher` for `train_teacher`."""
    having = [study for study, table in STUDIES.items() if name in table]
    words = " / ".join(STUDIES[study][name].words for study in having)
    kind = fields_of({study: STUDIES[study][name].part for study in having})

    def command(
        run: RunOption,
        recipe: RecipeName = None,
        source: Source = None,
        local: Local = False,
        overrides: Overrides = None,
    ) -> None:
        go(name, run, recipe, source, local, overrides)

    app.command(name, cls=kind, help=words)(command)
    if "_" in name:
        app.command(name.replace("_", "-"), cls=kind, help=words, hidden=True)(command)


for _name in dict.fromkeys(name for table in STUDIES.values() for name in table):
    if _name != "extract":  # which has a command of its own
        add_stage(_name)


def go(
    name: str | None, run: Path, recipe: str | None, source: str | None, local: bool, overrides: list[str] | None
) -> None:
    """Run a stage, or all; keep the whole of a failure in the run folder, because only its sentence is shown."""
    from launch import driver as road

    folder = run_folder(run)
    chosen = choose(folder, recipe, source, overrides)
    if name not in (None, *stages.of(chosen)):
        raise ValueError(f"study {chosen.study} has no stage {name}; it has {', '.join(stages.of(chosen))}")
    names = [name] if name else list(stages.of(chosen))
    contents = importlib.import_module(f"ckd_dist.{CONTENTS[chosen.study]}")
    try:
        road.travel(contents, chosen, folder, names, local)
    except Exception as error:
        keep(error, folder)
        raise
    if name is None:
        show.say(f"{'report':<14} {folder.report / 'report.html'}")


@app.command()
def predict(
    model: Annotated[Path, typer.Option(help="a student's folder, e.g. RUN/student")],
    source: Annotated[str, typer.Option(help="mimic3:DIR, mimic4:DIR or meds:DIR: the new patients")],
    out: Annotated[Path, typer.Option(help="folder for predictions, in the project's table and in MEDS form")],
) -> None:
    """Calibrated probabilities for new patients."""
    from ckd_dist.progress import Tracker
    from ckd_dist.studies.disease import stages as contents

    os.umask(0o077)
    progress = out / "progress.jsonl"
    progress.unlink(missing_ok=True)
    with show.watching("predict", progress):
        contents.predict(model.absolute(), absolute(source), out.absolute(), Tracker(progress))
    show.say(f"{'predict':<14} {out}")


@app.command()
def export(run: RunArgument, out: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the files go")]) -> None:
    """Prompts and soft labels in CKD-EHR's own form (JSONL and JSON); label.import_from reads such soft labels."""
    from ckd_dist.studies.disease import stages as contents

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
    show.at_work(guard.at_work(folder), {name: folder.progress(name) for name in stages.of(chosen)})


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
    num_files = sum(len(record.files) for record in stages.records(folder).values())
    show.say(f"{num_files} files hold what their stages wrote")


@app.command()
def fields(
    part: Annotated[str, typer.Argument(help="e.g. teacher, or student.optim; left out: all")] = "",
    study: Annotated[str, typer.Option(help="disease, ner or concepts")] = "disease",
) -> None:
    """Every field of a recipe: default, meaning and unit, and whether it changes the result."""
    if study not in DEFAULTS:
        raise ValueError(f"there is no study {study!r}: give one of {', '.join(DEFAULTS)}")
    show.fields(DEFAULTS[study], part)


# --- what the command line means -------------------------------------------------------------------------------------


def run_folder(path: Path) -> Run:
    """The run folder, absolute: workers stand elsewhere."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not path.is_absolute():
        raise ValueError(f"--run {path}: give an absolute path; a submitted job's own folder is temporary")
    return Run(path.absolute())


def choose(run: Run, name: str | None, source: str | None, overrides: Sequence[str] | None) -> AnyRecipe:
    """The recipe that is meant, its paths absolute; without a name the one that the run folder keeps."""
    if name is None and not run.recipe.is_file():
        raise ValueError(f"give --recipe: a file, or one of {', '.join(recipes.RECIPES)}")
    recipe = recipes.load(name or str(run.recipe), overrides or ())
    if source:
        recipe = recipes.with_source(recipe, source)
    values = recipes.RECIPE.dump_python(recipe, mode="json")
    return recipes.RECIPE.validate_python(_whole_paths(values))


def _whole_paths(value: Any) -> Any:
    """The same value, every text in it that names something on this disk with its whole path."""
    if isinstance(value, dict):
        return {key: _whole_paths(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole_paths(each) for each in value]
    return absolute(value) if isinstance(value, str) else value


def absolute(value: str) -> str:
    """A value that names something on this disk, with its whole path; any other as it is.

    >>> absolute("synthetic:100"), absolute("cosine")
    ('synthetic:100', 'cosine')
    """
    start, equals, place = value.rpartition("=")  # disease=do:DIR
    kind, colon, path = place.rpartition(":")
    if "/" not in path and not colon and not path.endswith((".yaml", ".yml", ".json")):
        return value
    is_here = kind != "synthetic" and Path(path).exists()
    return f"{start}{equals}{kind}{colon}{Path(path).absolute()}" if is_here else value


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
