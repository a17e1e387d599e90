"""Where records come from, written `kind:place`.

A table of kinds says of each how it is read and what reports call it.  A kind that is in no table is refused where the
table stands, never read as another one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYNTHETIC = "synthetic"  # the kind that is made on the spot, in every table that has such


@dataclass(frozen=True)
class Source:
    """A kind of source."""

    read: Callable[..., Any]
    title: str  # what reports and cards call it; {:,} stands for the number of a synthetic one
    place: str = "DIR"  # what is written after its kind
    make: Callable[[Path, int, int], Any] | None = None  # writes N synthetic subjects into a folder, by a seed


def find_source(source: str, kinds: Mapping[str, Source]) -> tuple[Source, str]:
    """Return the kind of `source` in a table of kinds, and its place.  Raise ValueError where it is none of them."""
    kind, colon, place = source.partition(":")
    if kind not in kinds or not colon:
        is_path = Path(source).expanduser().exists()  # a path may hold a colon itself
        hint = f"; it is a path, so write its kind before it: {next(iter(kinds))}:{source}" if is_path else ""
        raise ValueError(f"source {source!r} is none of {', '.join(written(kinds))}{hint}")
    if not place:
        raise ValueError(f"source {source!r} names no place: give {kind}:{kinds[kind].place}")
    if kinds[kind].make:
        num_subjects(source)
    return kinds[kind], place


def split_source(value: str) -> tuple[str, str, str]:
    """Return the name that a source is given, its kind and its place; a place may hold = and : itself.

    >>> split_source("A=mimic3:/data/x=1"), split_source("hf:owner/name:part")
    (('A=', 'mimic3:', '/data/x=1'), ('', 'hf:', 'owner/name:part'))
    """
    head, colon, place = value.partition(":")
    name, equals, kind = head.rpartition("=")
    return name + equals, kind + colon, place


def split_sources(value: str) -> tuple[str, ...]:
    """Return several sources between commas; a comma within a place is none between two.

    >>> split_sources("A=mimic3:/data/a,b,B=eicu:/data/c"), split_sources("synthetic:9")
    (('A=mimic3:/data/a,b', 'B=eicu:/data/c'), ('synthetic:9',))
    """
    return tuple(re.split(r",(?=[^,:/\\]*:)", value))


def written(kinds: Mapping[str, Source]) -> list[str]:
    """Return how a source of each kind is written: mimic3:DIR, synthetic:N."""
    return [f"{kind}:{each.place}" for kind, each in kinds.items()]


def title_of(source: str, kinds: Mapping[str, Source]) -> str:
    """Return what reports and cards call the data; never a path.  Raise ValueError where its kind is unknown."""
    found, place = find_source(source, kinds)
    return found.title.format(int(place)) if found.make else found.title


def is_synthetic(source: str) -> bool:
    """Say whether a source was made, so that it holds no patient."""
    return source.startswith(f"{SYNTHETIC}:")


def num_subjects(source: str) -> int:
    """Return the size of a synthetic source.  Raise ValueError where `source` is not synthetic:N."""
    number = source.removeprefix(f"{SYNTHETIC}:")
    if not number.isdecimal():
        raise ValueError(f"source {source!r} names no number of subjects: give synthetic:N, e.g. synthetic:1000")
    return int(number)
