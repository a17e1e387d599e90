"""What a person sees: a live line on a terminal, a plain one now and then elsewhere, and tables.  It knows no stage."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ckd_dist.config import walk
from ckd_dist.progress import Rate, describe, describe_saves, read, seconds_in_words

from .background import in_background

PLAIN_SECONDS = 10.0  # between plain lines
BAR_WIDTH = 24  # columns
NAME_WIDTH = 16  # columns: of the longest stage, validate_teacher
FEW = 3  # faults that are shown
WIDTH = shutil.get_terminal_size((140, 24)).columns

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(words: str) -> None:
    """Print one line, now."""
    out.print(words, markup=False)
    sys.stdout.flush()


def named(name: str, words: str) -> str:
    """Return a line whose first column names the stage or command that it is about."""
    return f"{name:<{NAME_WIDTH}} {words}"


# --- progress --------------------------------------------------------------------------------------------------------


def watching(name: str, file: Path) -> AbstractContextManager[None]:
    """Show what appears in a progress file until the block ends."""
    return in_background(_live if out.is_terminal else _plain, name, file)


def _live(name: str, file: Path, ended: threading.Event) -> None:
    rate, offset, start = Rate(), 0, time.monotonic()
    with Live(Text(name), console=out, transient=True, refresh_per_second=8) as live:
        while not ended.wait(0.2):
            points, offset = read(file, offset)
            for point in points:
                rate.add(point)
            live.update(Text(named(name, f"{_bar(rate)}{seconds_in_words(time.monotonic() - start)}"), no_wrap=True))


def _bar(rate: Rate) -> str:
    if rate.point is None:
        return ""
    full = BAR_WIDTH * rate.point.done // max(1, rate.point.total)
    return f"{'━' * full}{'·' * (BAR_WIDTH - full)}  {describe(rate)}  "


def _plain(name: str, file: Path, ended: threading.Event) -> None:
    """A line every ten seconds at most; where there was one, the last point of all too."""
    rate, offset, said, heard, lines = Rate(), 0, time.monotonic(), False, 0
    while True:
        last_look = ended.wait(0.5)
        points, offset = read(file, offset)
        for point in points:
            rate.add(point)
        heard |= bool(points)
        if heard and ((last_look and lines) or time.monotonic() - said >= PLAIN_SECONDS):
            said, heard, lines = time.monotonic(), False, lines + 1
            say(named(name, describe(rate)))
        if last_look:
            return


def at_work(
    driver: Mapping[str, Any] | None, files: Mapping[str, Path], minutes: Mapping[str, float], faults: Path
) -> None:
    """Show who is at work in a run folder, how far, what is saved, and which faults were met.

    files: of the stages' progress.  minutes: at most between saves, of the stages that train.  faults: a line for each.
    """
    if driver is None:
        return _left(files)
    say(f"process {driver['pid']} on {driver['host']} is at work")
    _how_far({name: file for name, file in files.items() if file.is_file()}, minutes)
    if faults.is_file():
        _met(faults)


def _left(files: Mapping[str, Path]) -> None:
    """How far the stages came that nobody is at work on."""
    for name, file in files.items():
        points = read(file)[0] if file.is_file() else []
        saved = [f", step {point.numbers['saved']:g} is saved" for point in points if "saved" in point.numbers]
        if points and points[-1].done < points[-1].total:
            say(named(name, f"was left at {points[-1].done} of {points[-1].total}{''.join(saved[-1:])}"))


def _how_far(written: Mapping[str, Path], minutes: Mapping[str, float]) -> None:
    """The stage that was heard of last."""
    name = max(written, key=lambda key: written[key].stat().st_mtime, default="")
    rate = Rate()
    for point in read(written[name])[0] if name else []:
        rate.add(point)
    if rate.point is not None:
        say(named(name, describe(rate)))
        say(named("", describe_saves(rate, time.time(), minutes.get(name))))


def _met(faults: Path) -> None:
    """The last few faults."""
    lines = faults.read_text().splitlines()
    ago = seconds_in_words(time.time() - faults.stat().st_mtime)
    say(named("faults", f"{len(lines)} so far, the last one {ago} ago"))
    for line in lines[-FEW:]:
        say(named("", line))


# --- tables ----------------------------------------------------------------------------------------------------------


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table; the first column is never cut."""
    shown = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    shown.columns[0].no_wrap = True
    shown.columns[-1].ratio = 1
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    Console(highlight=False, width=WIDTH).print(shown)


def fields(recipe: Any, part: str = "") -> None:
    """Show every field of a recipe below `part`: its value, meaning and unit, and whether it changes no result."""
    rows = []
    for name, value, info in _with_members(recipe):
        if part and name != part and not name.startswith((f"{part}.", f"{part}[")):
            continue
        only_how = "; changes no result" if (info.json_schema_extra or {}).get("how") else ""
        rows.append((name, _written(value), f"{info.description}{_bounds(info)}{only_how}"))
    if not rows:
        raise ValueError(
            f"the recipe has no field {part!r}; its parts are {', '.join(type(recipe).__pydantic_fields__)}"
        )
    table(("field", "value", "meaning, unit"), rows)


def parts(recipe: Any, part: str, command: str) -> None:
    """Show what a part of a recipe is made of, a line each; `command` shows the rest."""
    settings = getattr(recipe, part) if part else recipe
    rows = []
    for name, info in type(settings).__pydantic_fields__.items():
        value, full = getattr(settings, name), f"{part}.{name}" if part else name
        if is_dataclass(value):
            rows.append((f"{full}.*", f"{len(list(walk(value)))} fields", info.description))
        else:
            rows.append((full, _written(value), f"{info.description}{_bounds(info)}"))
    brief = Table("field", "value", "meaning, unit", box=None, pad_edge=False)
    widths = [min(most, max(len(row[place]) for row in rows)) for place, most in enumerate((30, 24))]
    for column, width in zip(brief.columns, (*widths, WIDTH - sum(widths) - 4), strict=True):
        column.no_wrap, column.overflow, column.width = True, "ellipsis", width
    for row in rows:
        brief.add_row(*(Text(cell) for cell in row))
    Console(highlight=False, width=WIDTH).print(brief)
    say(f"`{command}` shows every field.")


def first_line(function: Any) -> str:
    """Return the first line of a docstring."""
    return (function.__doc__ or "").strip().splitlines()[0] if function.__doc__ else ""


def _with_members(recipe: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every leaf, and after a list of configurations the leaves of one of them: label.endpoints[].url."""
    for name, value, info in walk(recipe):
        yield name, value, info
        for kind in getattr(info.annotation, "__args__", ()):
            if is_dataclass(kind):
                yield from ((f"{name}[].{leaf}", default, of) for leaf, default, of in walk(kind()))


def _written(value: Any) -> str:
    """A value as the command line would have it."""
    if isinstance(value, tuple):
        return f"[{','.join('{...}' if is_dataclass(each) else str(each) for each in value)}]"
    if isinstance(value, dict):
        return "{...}" if value else "{}"
    return (
        {None: "none", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )


def _bounds(info: Any) -> str:
    """The limits and choices of a field, in words."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limits = [
        f"{sign} {limit:g}"
        for m in info.metadata
        for key, sign in signs.items()
        if (limit := getattr(m, key, None)) is not None
    ]
    choices = _choices(info.annotation)
    words = [" or ".join(map(str, choices))] if choices else []
    return f" ({', '.join(words + limits)})" if words + limits else ""


def _choices(annotation: Any) -> tuple[Any, ...]:
    """What a Literal allows, or a tuple of them.

    >>> _choices(Literal["max", "mean"]), _choices(tuple[Literal["local", "shared"], ...]), _choices(tuple[int, ...])
    (('max', 'mean'), ('local', 'shared'), ())
    """
    if get_origin(annotation) is tuple:
        return _choices(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) is Literal else ()
