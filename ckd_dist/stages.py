"""Is a stage done, and if not, why?  It is when its record, written last, still fits the recipe and its inputs.

The record names the fields that shaped the output, a digest of every stage it read, and the hash of every file it
wrote.  A re-run after a crash finds no record and does the stage again (training resumes from its checkpoints,
labelling from its shards); a re-run after a change of the recipe finds the field that changed.  Downstream compares
*contents*, so redoing a stage to the same bytes redoes nothing after it.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ckd_dist.config import Recipe, result_fields
from ckd_dist.schema import Run


@dataclass(frozen=True)
class Stage:
    """Which part of the recipe shapes a stage's output, and which stages it reads."""

    fields: tuple[str, ...]
    after: tuple[str, ...]


STAGES: dict[str, Stage] = {
    "extract": Stage(("extract",), ()),
    "select": Stage(("select",), ("extract",)),
    "prompt": Stage(
        (
            "prompt",
            "teacher.base",
            "teacher.revision",
            "teacher.tiny",
            "student.base",
            "student.revision",
            "student.tiny",
        ),
        ("extract", "select"),
    ),
    "train_teacher": Stage(("teacher",), ("select", "prompt")),
    "label": Stage(("label",), ("select", "prompt", "train_teacher")),
    "distill": Stage(("student",), ("select", "prompt", "label")),
    "evaluate": Stage(("evaluate",), ("extract", "select", "prompt", "train_teacher", "label", "distill")),
}


FILES = {  # stage -> the field that names files: new contents under an old name are noticed
    "extract": "extract.source",
    "select": "select.labels",
    "label": "label.import_from",
}


@dataclass(frozen=True)
class Record:
    """What a finished stage left behind, and from what."""

    stage: str
    fields: dict[str, Any]
    inputs: dict[str, str]  # stage -> digest of its files
    files: dict[str, str]  # path below the run folder -> sha256
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the contents: equal digests are equal outputs."""
        return digest_of(self.files)


@dataclass(frozen=True)
class State:
    """`state`: done, stale (the recipe or an input changed), missing (never finished)."""

    name: str
    state: str
    why: str


def digest_of(value: Any) -> str:
    """16 hex digits over a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def hash_file(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fields_of(recipe: Recipe, name: str) -> dict[str, Any]:
    """The recipe's fields that shape the output of stage `name`, as JSON would keep them."""
    prefixes = STAGES[name].fields
    chosen = {
        key: value
        for key, value in result_fields(recipe).items()
        if any(key == prefix or key.startswith(prefix + ".") for prefix in prefixes)
    }
    if name in FILES:
        chosen[f"{FILES[name]}_files"] = _files_of(chosen[FILES[name]])
    return json.loads(json.dumps(chosen))


def _files_of(value: str | None) -> str | None:
    """Digest of a file's bytes, or of the names and sizes in a source folder.  None: it names nothing that is here."""
    kind, colon, where = (value or "").partition(":")
    path = Path(where if colon else kind)
    if kind in ("", "synthetic"):
        return None
    if path.is_file():
        return hash_file(path)
    if not path.is_dir():
        return None
    return digest_of({str(file.relative_to(path)): file.stat().st_size for file in path.rglob("*") if file.is_file()})


def read(run: Run, name: str) -> Record | None:
    """The record of a finished stage; None where there is none or it is torn."""
    try:
        return Record(**json.loads(run.stage(name).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def is_needed(recipe: Recipe, name: str) -> bool:
    """Soft labels that are imported need no teacher."""
    return name != "train_teacher" or recipe.label.import_from is None


def inputs_of(recipe: Recipe, run: Run, name: str) -> dict[str, str]:
    """Digest of every stage that `name` reads.  Raises where one of them is not finished."""
    digests = {}
    for before in (stage for stage in STAGES[name].after if is_needed(recipe, stage)):
        record = read(run, before)
        if record is None:
            raise ValueError(f"stage {name} reads the output of {before}, which is not finished: run {before} first")
        digests[before] = record.digest
    return digests


def begin(recipe: Recipe, run: Run, name: str) -> dict[str, str]:
    """Forget the record of a stage that is about to run again, and return the digests of what it reads."""
    inputs = inputs_of(recipe, run, name)
    run.stage(name).unlink(missing_ok=True)
    return inputs


def finish(
    recipe: Recipe, run: Run, name: str, files: Iterable[Path], numbers: Mapping[str, Any] | None = None
) -> None:
    """Write the record of a stage: the last thing a stage does."""
    hashes = {str(path.relative_to(run.root)): hash_file(path) for path in sorted(files)}
    record = Record(name, fields_of(recipe, name), inputs_of(recipe, run, name), hashes, dict(numbers or {}))
    target = run.stage(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(json.dumps(asdict(record), indent=1) + "\n")
    os.replace(partial, target)


def state(recipe: Recipe, run: Run, name: str) -> State:
    """Whether stage `name` would run again, and why."""
    if not is_needed(recipe, name):
        return State(name, "done", "not needed: soft labels are imported")
    record = read(run, name)
    if record is None:
        return State(name, "missing", "not finished yet")
    wanted = fields_of(recipe, name)
    files = f"{FILES.get(name)}_files"
    if wanted.get(files, "") is None:  # the source is not mounted now; what was read of it still stands
        wanted[files] = record.fields.get(files)
    changed = changes(record.fields, wanted)
    if changed:
        return State(name, "stale", "; ".join(changed))
    for before in (stage for stage in STAGES[name].after if is_needed(recipe, stage)):
        upstream = state(recipe, run, before)
        if upstream.state != "done":
            return State(name, "stale", f"{before} will be done again")
        if record.inputs.get(before) != read(run, before).digest:
            return State(name, "stale", f"the output of {before} changed")
    gone = [path for path in record.files if not (run.root / path).is_file()]
    if gone:
        return State(name, "stale", f"{gone[0]} is gone" + (f" and {len(gone) - 1} more" if gone[1:] else ""))
    return State(name, "done", f"{len(record.files)} files")


def is_done(recipe: Recipe, run: Run, name: str) -> bool:
    """True where a re-run of stage `name` would change nothing."""
    return state(recipe, run, name).state == "done"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The fields that differ, in words.

    >>> changes({"teacher.lora.rank": 8}, {"teacher.lora.rank": 16})
    ['teacher.lora.rank changed from 8 to 16']
    """
    return [
        f"{key} changed from {old.get(key)!r} to {new.get(key)!r}"
        for key in [*new, *(key for key in old if key not in new)]
        if old.get(key) != new.get(key)
    ]


def status(recipe: Recipe, run: Run) -> list[State]:
    """Every stage in order."""
    return [state(recipe, run, name) for name in STAGES]


def verify(run: Run) -> list[str]:
    """Every file of every finished stage against its hash: one sentence a problem, nothing where all holds."""
    problems = []
    for name in STAGES:
        record = read(run, name)
        for path, expected in (record.files if record else {}).items():
            file = run.root / path
            if not file.is_file():
                problems.append(f"{path}: gone; stage {name} will write it again")
            elif hash_file(file) != expected:
                problems.append(
                    f"{path}: its bytes changed since stage {name} wrote it; delete it and run {name} again"
                )
    return problems
