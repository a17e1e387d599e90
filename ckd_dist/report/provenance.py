"""Say where the numbers of a report come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """Where the numbers of a report come from; names neither a path nor a person."""

    title: str  # of the page: the recipe's name
    source: str  # "a synthetic hospital of 1,000 patients", "MIMIC-III 1.4"
    date: str  # ISO; when the report was made
    recipe: Mapping[str, Any]  # dotted field -> value
    versions: Mapping[str, str] = field(default_factory=dict)  # library -> version
    notes: Sequence[str] = ()  # whatever else a reader must know, a sentence each
