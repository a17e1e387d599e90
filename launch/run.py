"""python -m launch.run <stage|pipeline> --recipe NAME --source SOURCE --run DIR [field=value ...]"""

import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ckd_dist import recipes
from ckd_dist.config import Recipe
from ckd_dist.schema import Run
from ckd_dist.stages import STAGES
from launch import guard, show

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

RecipeName = Annotated[str | None, typer.Option("--recipe", help="a recipe's name, or a YAML or JSON file")]
Source = Annotated[str | None, typer.Option(help="mimic3:DIR, mimic4:DIR, meds:DIR or synthetic:N")]
RunFolder = Annotated[Path, typer.Option("--run", help="run folder: everything is written below it")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="field=value, e.g. teacher.lora.rank=8", show_default=False)
]
Local = Annotated[bool, typer.Option("--local", help="no Ray: this process, or the ones that torchrun started")]


def choose(name: str | None, source: str | None, run: Run, overrides: Sequence[str]) -> Recipe:
    """The recipe that the command line means; without --recipe the one that the run folder keeps."""
    if name is None and not run.recipe.is_file():
        raise ValueError(f"give --recipe: {', '.join(recipes.RECIPES)}, or a file")
    asked = list(overrides or ()) + ([f"extract.source={source}"] if source else [])
    return recipes.load(name or str(run.recipe), asked)


@app.command()
def pipeline(
    run: RunFolder, recipe: RecipeName = None, source: Source = None, local: Local = False, overrides: Overrides = None
) -> None:
    """All stages, in order; those that are done are passed."""
    _go(list(STAGES), run, recipe, source, local, overrides)


def _go(
    names: list[str], run: Path, recipe: str | None, source: str | None, local: bool, overrides: list[str] | None
) -> None:
    from launch import road

    folder = Run(run.absolute())
    road.travel(choose(recipe, source, folder, overrides or ()), folder, names, local)


def _stage(name: str) -> None:
    def command(
        run: RunFolder,
        recipe: RecipeName = None,
        source: Source = None,
        local: Local = False,
        overrides: Overrides = None,
    ) -> None:
        _go([name], run, recipe, source, local, overrides)

    command.__doc__ = f"Stage {name}."
    app.command(name)(command)
    if "_" in name:
        app.command(name.replace("_", "-"), hidden=True)(command)


for _name in STAGES:
    _stage(_name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    0 done, 1 failed, 2 a mistake in what was asked, 85 saved and to be run again, 130 Ctrl-C.
    """
    try:
        app(arguments, standalone_mode=True)
    except SystemExit as end:
        return int(end.code or 0)
    except guard.Stopped as stop:
        show.say(str(stop))
        return stop.code
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        show.err.print(" ".join(str(error).split()), markup=False)
        return 1 if full else 2
    except ValueError as error:
        show.err.print(" ".join(str(error).split()), markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
