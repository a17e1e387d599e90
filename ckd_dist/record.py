"""Is a stage done, and if not, why?  It is when its record, written last, still fits the recipe and what it read.

A record names the fields that shaped the output, a digest of the files that the stage read of every earlier stage, and
the hash of every file that it wrote.  A re-run after a crash finds no record and does the stage again (training resumes
from its checkpoints, labelling from its shards); a re-run after a change of the recipe finds the field that changed.
What is compared are *contents*: a stage that is done again to the same bytes redoes nothing after it, and neither do
new bytes in a file that nobody after it reads.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

from ckd_dist.config import result_fields
from ckd_dist.files import digest_of, hash_file, sample_hash, write
from ckd_dist.runfolder import RunFolder
from ckd_dist.source import is_synthetic, split_source

NUMBERS = "numbers"  # among patterns of files: the record's own numbers
PLACES = ("vocabularies", "base", "synonyms")  # what of a configuration in a list names files
MODEL = (".json", ".safetensors")  # endings of files whose bytes are sampled, because sizes say nothing of weights


class Spec(Protocol):
    """What a record must know of a stage."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Parts of the recipe that shape its output."""
        ...

    @property
    def reads(self) -> Mapping[str, tuple[str, ...]]:
        """Earlier stage -> patterns of those of its files that are read; no pattern: all of them, and its numbers.

        NUMBERS among the patterns: its numbers too.  A pattern behind a "!": files that are read and decide nothing.
        """
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Fields that name files outside the run folder: new contents under an old name are noticed."""
        ...

    def shaping(self, recipe: Any) -> Mapping[str, Any]:
        """Return what shapes its output beside these, by name, such as another run's model; None: it is not here."""
        ...

    @property
    def needed(self) -> Any:
        """needed(recipe): whether the recipe wants the stage at all."""
        ...


@dataclass(frozen=True)
class Record:
    """What a finished stage left behind, and from what."""

    stage: str
    fields: dict[str, Any]
    inputs: dict[str, str]  # earlier stage -> digest of the files that were read of it
    files: dict[str, str]  # path below the run folder -> sha256
    numbers: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)  # seconds and the like, on which nothing depends
    said: str = ""  # what it kept and lost, in one line

    def digest(self, patterns: tuple[str, ...] = ()) -> str:
        """Hash what is read by these patterns (see `Spec.reads`).  Equal digests are equal contents."""
        chosen = {path: sha for path, sha in self.files.items() if not patterns or _fits(path, patterns)}
        return digest_of([chosen, self.numbers if not patterns or NUMBERS in patterns else None])


@dataclass(frozen=True)
class State:
    """`state`: done, stale (the recipe or what it reads changed), missing (never finished)."""

    name: str
    state: str
    why: str


@dataclass(frozen=True)
class Ledger:
    """The records of a run folder, held against what a recipe asks for.  stages: in order, by name."""

    stages: Mapping[str, Spec]
    recipe: Any
    run: RunFolder

    def fields(self, name: str) -> dict[str, Any]:
        """Return the recipe's fields that shape the output of stage `name`, as JSON would keep them."""
        stage = self.stages[name]
        everything = result_fields(self.recipe)
        chosen = {key: value for key, value in everything.items() if _below(key, stage.fields)}
        for source in stage.sources:
            chosen[f"{source}_files"] = contents_of(everything[source])
        chosen |= stage.shaping(self.recipe)
        return json.loads(json.dumps(chosen))

    def inputs(self, name: str) -> dict[str, str]:
        """Return the digest of what `name` reads of each earlier stage.  Raise ValueError where one is not finished."""
        digests = {}
        for before, patterns in self._reads(name).items():
            record = read(self.run, before)
            if record is None:
                raise ValueError(
                    f"stage {name} reads the output of {before}, which is not finished: run {before} first"
                )
            digests[before] = record.digest(patterns)
        return digests

    def check_inputs(self, name: str) -> None:
        """Raise ValueError where a stage that `name` reads would itself be done again, or never was."""
        known: dict[str, State] = {}
        for before in self._reads(name):
            state = self.state(before, known)
            if state.state != "done":
                reason = f"which is {state.state} ({state.why})"
                raise ValueError(f"stage {name} reads the output of {before}, {reason}: run {before} first")

    def state(self, name: str, known: dict[str, State] | None = None) -> State:
        """Say whether stage `name` would run again, and why.  known: states found so far, which grows."""
        known = {} if known is None else known
        if name not in known:
            known[name] = self._state(name, known)
        return known[name]

    def _state(self, name: str, known: dict[str, State]) -> State:
        if not self.stages[name].needed(self.recipe):
            return State(name, "done", "not needed by this recipe")
        record = read(self.run, name)
        if record is None:
            return State(name, "missing", "not finished yet")
        why = self._change_since(record) or self._change_before(record, known)
        return State(name, "stale", why) if why else State(name, "done", f"{len(record.files)} files")

    def is_done(self, name: str) -> bool:
        """Say whether a re-run of stage `name` would change nothing."""
        return self.state(name).state == "done"

    def status(self) -> list[State]:
        """Return the state of every stage, in order."""
        known: dict[str, State] = {}
        return [self.state(name, known) for name in self.stages]

    def _reads(self, name: str) -> dict[str, tuple[str, ...]]:
        """What it reads of the stages that this recipe needs."""
        reads = self.stages[name].reads
        return {before: patterns for before, patterns in reads.items() if self.stages[before].needed(self.recipe)}

    def _change_since(self, record: Record) -> str:
        """Which fields or files differ from what the record says; empty where none does."""
        wanted, stage = self.fields(record.stage), self.stages[record.stage]
        for name in (*(f"{source}_files" for source in stage.sources), *stage.shaping(self.recipe)):
            wanted[name] = _where_mounted(wanted[name], record.fields.get(name))
        if changed := changes(record.fields, wanted):
            return "; ".join(changed)
        gone = [path for path in record.files if not (self.run.root / path).is_file()]
        return f"{gone[0]} is gone" + (f" and {len(gone) - 1} more" if gone[1:] else "") if gone else ""

    def _change_before(self, record: Record, known: dict[str, State]) -> str:
        """Which earlier stage will give other input, or has given it; empty where none does."""
        if unread := record.inputs.keys() - self._reads(record.stage).keys():
            return f"it read the output of {', '.join(sorted(unread))}, which this recipe does without"
        for before, patterns in self._reads(record.stage).items():
            if self.state(before, known).state != "done":
                return f"{before} will be done again"
            if record.inputs.get(before) != read(self.run, before).digest(patterns):
                return f"the output of {before} changed"
        return ""


def finish(run: RunFolder, record: Record) -> None:
    """Write the record of a stage: the last thing that happens to it."""
    write(run.stage(record.stage), json.dumps(asdict(record), indent=1) + "\n")


def hashes_of(run: RunFolder, files: Iterable[Path]) -> dict[str, str]:
    """Hash files below the run folder, by path."""
    return {str(path.relative_to(run.root)): hash_file(path) for path in sorted(files)}


def read(run: RunFolder, name: str) -> Record | None:
    """Read the record of a finished stage; None where there is none or it is torn."""
    try:
        return Record(**json.loads(run.stage(name).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def records(run: RunFolder) -> dict[str, Record]:
    """Read the record of every finished stage, by name."""
    found = {file.stem: read(run, file.stem) for file in sorted(run.stage("any").parent.glob("*.json"))}
    return {name: record for name, record in found.items() if record}


def verify(run: RunFolder, reads: Mapping[str, tuple[str, ...]] | None = None) -> list[str]:
    """Hold every file of every finished stage against its hash: one sentence a problem, nothing where all holds.

    reads: stage -> patterns of those of its files that are looked at (see `Spec.reads`); none: all files of all stages.
    """
    problems = []
    for name, record in records(run).items():
        patterns = () if reads is None else reads.get(name)
        for path, expected in record.files.items():
            if patterns is None or (patterns and not _fits(path, patterns)):
                continue
            file = run.root / path
            if not file.is_file():
                problems.append(f"{path}: gone; stage {name} will write it again")
            elif hash_file(file) != expected:
                problems.append(
                    f"{path}: its bytes changed since stage {name} wrote it; delete it and run {name} again"
                )
    return problems


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name the fields that differ, a sentence each.

    >>> changes({"teacher.lora.rank": 8}, {"teacher.lora.rank": 16})
    ['teacher.lora.rank changed from 8 to 16']
    """
    return [
        f"{key} changed from {old.get(key)!r} to {new.get(key)!r}"
        for key in [*new, *(key for key in old if key not in new)]
        if old.get(key) != new.get(key)
    ]


def contents_of(value: Any) -> Any:
    """Hash the bytes of the file that a field names, or what lies below the folder; None: neither is here.

    Below a folder names and sizes count; of JSON and safetensors samples of the bytes too, not all: a base of 15 GB is
    looked at in no time, and other weights under its name are noticed.

    Of a list, or of a configuration's places, those of each; None where none of them is here.
    """
    if isinstance(value, dict):
        value = [each for name, each in value.items() if name in PLACES]
    if isinstance(value, list | tuple):
        found = [contents_of(each) for each in value]
        return found if any(each is not None for each in found) else None
    _, kind, where = split_source(value) if isinstance(value, str) else ("", "", "")
    path = Path(where if kind.endswith(":") else kind)
    if kind == ":" or is_synthetic(kind) or not path.is_absolute():  # a recipe's paths are whole where they are here
        return None
    if path.is_file():
        return hash_file(path)
    if not path.is_dir():
        return None
    return digest_of({str(file.relative_to(path)): _glance(file) for file in path.rglob("*") if file.is_file()})


def _glance(file: Path) -> int | str:
    """What a file is without reading much: its size; of a model's, a hash of samples from all of it too."""
    size = file.stat().st_size
    return f"{size} {sample_hash(file)}" if file.suffix in MODEL else size


def _where_mounted(now: Any, then: Any) -> Any:
    """Contents now; of what is not mounted now, as they were then: what was read of it is still right."""
    if now is None:
        return then
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [_where_mounted(*each) for each in zip(now, then, strict=True)]
    return now


def _below(key: str, parts: tuple[str, ...]) -> bool:
    return any(key == part or key.startswith(f"{part}.") for part in parts)


def _fits(path: str, patterns: tuple[str, ...]) -> bool:
    if any(fnmatch(path, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(fnmatch(path, pattern) for pattern in patterns)
