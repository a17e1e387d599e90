"""Which study, recipe and run folder a command line means, its paths made absolute: workers stand elsewhere."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckd_dist.config import dump
from ckd_dist.recipefile import load, read_file
from ckd_dist.runfolder import RunFolder
from ckd_dist.source import is_synthetic, split_source, split_sources
from ckd_dist.study import Context, Study


def choose(
    studies: Mapping[str, Study],
    run: Path | None,
    name: str | None = None,
    source: str | None = None,
    overrides: Sequence[str] | None = None,
) -> tuple[Study, Context]:
    """Return the study and the context of what is meant; without a name the recipe that the run folder keeps.

    run: none: the recipe alone is wanted.  Raises ValueError, one sentence, where a name or a value is refused.
    """
    folder = RunFolder(run_folder(run)) if run else None
    if folder:
        folder.check_layout()
    if name is None and (folder is None or not folder.recipe.is_file()):
        raise ValueError(f"give --recipe: a file, or one of {', '.join(recipes_of(studies))}")
    name = str(folder.recipe) if name is None else name
    study, values = find_recipe(studies, name)
    _check_same_study(study, folder)
    recipe = load(study.recipe, values, overrides or (), where=f"recipe {name}")
    if source is not None:
        recipe = with_source(study, recipe, source)
    recipe = load(study.recipe, _whole_paths(dump(recipe)))
    return study, Context(recipe, study.run_folder(folder.root if folder else Path()))


def _check_same_study(study: Study, folder: RunFolder | None) -> None:
    """Raise ValueError where the run folder holds a run of another study, which this one would overwrite."""
    if folder and folder.recipe.is_file() and (held := read_file(folder.recipe).get("study")) != study.name:
        raise ValueError(
            f"{folder.root} is a run of study {held}, the recipe is of study {study.name}: give another --run"
        )


def check_studies(studies: Mapping[str, Study]) -> None:
    """Raise ValueError where a study is not under its name, or two share a recipe's or a command's."""
    for key, study in studies.items():
        if key != study.name:
            raise ValueError(f"study {study.name} is registered as {key!r}: give it its own name")
    recipes = [name for study in studies.values() for name in study.recipes]
    commands = [command.name for study in studies.values() for command in study.commands]
    commands += {stage for study in studies.values() for stage in study.stages}
    for names in (recipes, commands):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two studies have a recipe or a command called {twice[0]!r}: rename one of them")


def recipes_of(studies: Mapping[str, Study]) -> dict[str, Study]:
    """Return the study of every recipe, by the recipe's name."""
    return {name: study for study in studies.values() for name in study.recipes}


def find_recipe(studies: Mapping[str, Study], name_or_file: str) -> tuple[Study, dict[str, Any]]:
    """Return the study and the values of a recipe by name, or from a YAML or JSON file that says its study."""
    known = recipes_of(studies)
    if name_or_file in known:
        study = known[name_or_file]
        return study, dump(study.recipes[name_or_file]())
    if not Path(name_or_file).is_file():
        raise ValueError(f"no recipe {name_or_file!r}: give a file, or one of {', '.join(known)}")
    values = read_file(Path(name_or_file))
    named = values.get("study")
    if not isinstance(named, str) or named not in studies:
        found = f"there is no study {named!r}" if named else "it names no study"
        raise ValueError(f"recipe {name_or_file}: {found}; give study: {' or '.join(studies)}")
    return studies[named], values


def with_source(study: Study, recipe: Any, source: str) -> Any:
    """Return the same recipe on another source; where several are allowed, commas tell them apart."""
    sources = study.all_stages[0].sources
    if not sources:
        raise ValueError(f"study {study.name} takes no --source")
    part, field = sources[0].split(".")
    settings = getattr(recipe, part)
    several = isinstance(getattr(settings, field), tuple)
    changed = replace(settings, **{field: split_sources(source) if several else source})
    return replace(recipe, **{part: changed})


def run_folder(path: Path) -> Path:
    """Return a run folder's whole path.  Raise ValueError for a relative one in a submitted job."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not path.is_absolute():
        raise ValueError(f"--run {path}: give an absolute path; a submitted job's own folder is temporary")
    return path.absolute()


def _whole_paths(value: Any) -> Any:
    """The same value, every text in it that names something on this disk with its whole path."""
    if isinstance(value, dict):
        return {key: _whole_paths(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole_paths(each) for each in value]
    return absolute(value) if isinstance(value, str) else value


def absolute(value: str) -> str:
    """Return a value that names something on this disk with its whole path; any other as it is.

    >>> absolute("synthetic:100"), absolute("cosine"), absolute("hf:owner/name:part"), absolute("hf:")
    ('synthetic:100', 'cosine', 'hf:owner/name:part', 'hf:')
    """
    name, kind, path = split_source(value)  # disease=do:DIR
    if not kind.endswith(":"):
        kind, path = "", kind
        is_here = ("/" in path or path.endswith((".yaml", ".yml", ".json"))) and os.path.exists(path)
    else:
        is_here = bool(path) and not is_synthetic(kind) and (os.path.exists(path) or _begins_here(path))
    return f"{name}{kind}{Path(path).absolute()}" if is_here else value


def _begins_here(path: str) -> bool:
    """Say whether a path of several parts begins in the current folder: its end may be misspelt, but it is no name."""
    first, slash, _ = path.partition("/")
    return bool(first and slash) and os.path.isdir(first)
