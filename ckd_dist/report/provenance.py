"""Say where the numbers of a report come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ckd_dist.record import read
from ckd_dist.report.wording import masked
from ckd_dist.runfolder import RunFolder


@dataclass(frozen=True)
class Provenance:
    """Where the numbers of a report come from; names neither a path nor a person."""

    title: str  # of the page: the recipe's name
    source: str  # "a synthetic hospital of 1,000 patients", "MIMIC-III 1.4"
    date: str  # ISO; when the report was made
    recipe: Mapping[str, Any]  # dotted field -> value
    versions: Mapping[str, str] = field(default_factory=dict)  # library -> version
    notes: Sequence[str] = ()  # whatever else a reader must know, a sentence each
    was_read: Mapping[str, Sequence[str]] = field(default_factory=dict)  # stage -> what it kept, lost and says else


def what_was_read(run: RunFolder, *stages: str) -> dict[str, list[str]]:
    """Return what finished stages said of their reading, as `Provenance.was_read`; small counts are not shown."""
    said = {stage: record.said for stage in stages if (record := read(run, stage))}
    return {stage: masked(line).split("; ") for stage, line in said.items() if line}
