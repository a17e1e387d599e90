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
from typing import Any, Literal

from ckd_dist.config import Recipe, result_fields
from ckd_dist.schema import Run
from ckd_dist.studies.concepts.config import ConceptRecipe
from ckd_dist.studies.ner.config import NerRecipe
from ckd_dist.world import World

AnyRecipe = Recipe | NerRecipe | ConceptRecipe


@dataclass(frozen=True)
class Stage:
    """What a stage is for whoever runs it, and what shapes its output."""

    words: str  # what it does, a sentence
    part: str  # of the recipe: what --help explains, and whose workers run it
    runs: Literal["alone", "ranks", "jobs"]  # one process; ranks in lock-step; independent jobs that never wait
    fields: tuple[str, ...]  # parts of the recipe that shape the output
    after: tuple[str, ...] = ()  # stages whose output it reads
    reads: str | None = None  # the field that names files: new contents under an old name are noticed


BASES = tuple(f"{reader}.{name}" for reader in ("teacher", "student") for name in ("base", "revision", "tiny"))

DISEASE: dict[str, Stage] = {
    "extract": Stage(
        "Tables to events (MEDS), subjects split.", "extract", "alone", ("extract",), reads="extract.source"
    ),
    "select": Stage(
        "Events to samples: a visit, and the next one's labels.",
        "select",
        "alone",
        ("select",),
        ("extract",),
        reads="select.labels",
    ),
    "prompt": Stage(
        "Samples to prompts: text, tokens and spans for teacher and student.",
        "prompt",
        "alone",
        ("prompt", *BASES),
        ("extract", "select"),
    ),
    "train_teacher": Stage(
        "Prompts to teacher, under DeepSpeed ZeRO on Ray workers.",
        "teacher",
        "ranks",
        ("teacher",),
        ("select", "prompt"),
    ),
    "label": Stage(
        "Teacher to soft labels, by independent Ray workers.",
        "label",
        "jobs",
        ("label",),
        ("select", "prompt", "train_teacher"),
        reads="label.import_from",
    ),
    "distill": Stage(
        "Soft labels to student, data-parallel on Ray workers.",
        "student",
        "ranks",
        ("student",),
        ("select", "prompt", "label"),
    ),
    "evaluate": Stage(
        "Predictions to report: metrics.json, report.md, report.html.",
        "evaluate",
        "alone",
        ("evaluate",),
        ("extract", "select", "prompt", "train_teacher", "label", "distill"),
    ),
}

WINDOWS = tuple(f"{reader}.{name}" for reader in ("teacher", "student") for name in ("max_tokens", "context_tokens"))

NER: dict[str, Stage] = {
    "read": Stage("Corpus to notes: words, gold, splits.", "notes", "alone", ("notes",), reads="notes.source"),
    "window": Stage(
        "Notes to windows of tokens for teacher and student.",
        "student",
        "alone",
        (*BASES, *WINDOWS, "teacher.twice", "label.teacher"),
        ("read",),
    ),
    "train_teacher": Stage(
        "Annotated notes to teacher, under DeepSpeed ZeRO on Ray workers.",
        "teacher",
        "ranks",
        ("teacher",),
        ("read", "window"),
    ),
    "label": Stage(
        "Notes to soft tags of every labeler, by independent Ray workers.",
        "label",
        "jobs",
        ("label",),
        ("read", "window", "train_teacher"),
        reads="label.ontologies",
    ),
    "combine": Stage(
        "Every labeler's tags to one set of soft tags.", "combine", "alone", ("combine",), ("read", "label")
    ),
    "distill": Stage(
        "Soft tags to student, data-parallel on Ray workers.",
        "student",
        "ranks",
        ("student",),
        ("read", "window", "combine"),
    ),
    "evaluate": Stage(
        "Students and labelers to report: metrics.json, report.md, report.html.",
        "evaluate",
        "alone",
        ("evaluate",),
        ("read", "window", "train_teacher", "label", "combine", "distill"),
        reads="evaluate.other_corpora",
    ),
}

# Which embeddings there are and how far each is whitened: a cell's doing, of which no table knows.
READ_AS = ("embed.models", "embed.endpoints", "embed.one_hot", "embed.random", "student.of", "student.name")

CONCEPTS: dict[str, Stage] = {
    "read": Stage(
        "Sources to cases of every site: concepts and outcomes.", "sites", "alone", ("sites",), reads="sites.sources"
    ),
    "embed": Stage(
        "Concepts to vectors of every embedding, by independent Ray workers.",
        "embed",
        "jobs",
        ("embed",),
        ("read",),
        reads="embed.phrases",
    ),
    "distill": Stage(
        "Vectors of a large model to a small encoder with the same space, data-parallel on Ray workers.",
        "student",
        "ranks",
        ("student", "grid.pairs"),
        ("read", "embed"),
    ),
    "tabulate": Stage(
        "Vectors to tables by concept, outside of every model; the small encoder's too.",
        "embed",
        "alone",
        ("embed.random", "student.of", "student.name"),
        ("read", "embed", "distill"),
    ),
    "transfer": Stage(
        "Cases and tables to every cell of the grid, by independent Ray workers.",
        "grid",
        "jobs",
        ("grid", *READ_AS),
        ("read", "tabulate"),
    ),
    "evaluate": Stage(
        "Cells to report: metrics.json, report.md, report.html.",
        "evaluate",
        "alone",
        ("evaluate",),
        ("read", "tabulate", "transfer"),
    ),
}

STUDIES = {"disease": DISEASE, "ner": NER, "concepts": CONCEPTS}


def of(recipe: AnyRecipe) -> dict[str, Stage]:
    """The stages of a recipe's study, in order."""
    return STUDIES[recipe.study]


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


def fields_of(recipe: AnyRecipe, name: str) -> dict[str, Any]:
    """The recipe's fields that shape the output of stage `name`, as JSON would keep them."""
    stage = of(recipe)[name]
    chosen = {
        key: value
        for key, value in result_fields(recipe).items()
        if any(key == prefix or key.startswith(prefix + ".") for prefix in stage.fields)
    }
    if stage.reads:
        chosen[f"{stage.reads}_files"] = _files_of(chosen[stage.reads])
    return json.loads(json.dumps(chosen))


def _files_of(value: Any) -> Any:
    """Digest of a file's bytes, or of the names and sizes in a source folder.  None: it names nothing that is here.

    Of a list, or of an ontology's vocabularies, those of each; None where none of them is here.
    """
    if isinstance(value, list | tuple | dict):
        found = [_files_of(each) for each in (value["vocabularies"] if isinstance(value, dict) else value)]
        return found if any(each is not None for each in found) else None
    kind, colon, where = value.rpartition("=")[2].partition(":") if isinstance(value, str) else ("", "", "")
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


def records(run: Run) -> dict[str, Record]:
    """Of every finished stage, by name."""
    found = {file.stem: read(run, file.stem) for file in sorted(run.stage("any").parent.glob("*.json"))}
    return {name: record for name, record in found.items() if record}


def is_needed(recipe: AnyRecipe, name: str) -> bool:
    """A teacher is not, where soft labels are imported or none labels; nor a student encoder that learns from none."""
    match recipe, name:
        case NerRecipe(), "train_teacher":
            return recipe.label.teacher
        case Recipe(), "train_teacher":
            return recipe.label.import_from is None
        case ConceptRecipe(), "distill":
            return bool(recipe.student.of)
    return True


def inputs_of(recipe: AnyRecipe, run: Run, name: str) -> dict[str, str]:
    """Digest of every stage that `name` reads.  Raises where one of them is not finished."""
    digests = {}
    for before in (stage for stage in of(recipe)[name].after if is_needed(recipe, stage)):
        record = read(run, before)
        if record is None:
            raise ValueError(f"stage {name} reads the output of {before}, which is not finished: run {before} first")
        digests[before] = record.digest
    return digests


def begin(recipe: AnyRecipe, run: Run, name: str) -> dict[str, str]:
    """Forget the record of a stage that is about to run again, and return the digests of what it reads."""
    inputs = inputs_of(recipe, run, name)
    run.stage(name).unlink(missing_ok=True)
    return inputs


def begin_on_leader(recipe: AnyRecipe, run: Run, name: str, world: World) -> dict[str, str]:
    """`begin` for a stage of several ranks: the leader forgets the old record, nobody goes on before that."""
    inputs = begin(recipe, run, name) if world.is_leader else inputs_of(recipe, run, name)
    world.barrier()
    return inputs


def finish(
    recipe: AnyRecipe, run: Run, name: str, files: Iterable[Path], numbers: Mapping[str, Any] | None = None
) -> None:
    """Write the record of a stage: the last thing a stage does."""
    hashes = {str(path.relative_to(run.root)): hash_file(path) for path in sorted(files)}
    record = Record(name, fields_of(recipe, name), inputs_of(recipe, run, name), hashes, dict(numbers or {}))
    target = run.stage(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(json.dumps(asdict(record), indent=1) + "\n")
    os.replace(partial, target)


def state(recipe: AnyRecipe, run: Run, name: str) -> State:
    """Whether stage `name` would run again, and why."""
    if not is_needed(recipe, name):
        return State(name, "done", "not needed by this recipe")
    record = read(run, name)
    if record is None:
        return State(name, "missing", "not finished yet")
    wanted = fields_of(recipe, name)
    files = f"{of(recipe)[name].reads}_files"
    if wanted.get(files, "") is None:  # the source is not mounted now; what was read of it still stands
        wanted[files] = record.fields.get(files)
    changed = changes(record.fields, wanted)
    if changed:
        return State(name, "stale", "; ".join(changed))
    for before in (stage for stage in of(recipe)[name].after if is_needed(recipe, stage)):
        upstream = state(recipe, run, before)
        if upstream.state != "done":
            return State(name, "stale", f"{before} will be done again")
        if record.inputs.get(before) != read(run, before).digest:
            return State(name, "stale", f"the output of {before} changed")
    gone = [path for path in record.files if not (run.root / path).is_file()]
    if gone:
        return State(name, "stale", f"{gone[0]} is gone" + (f" and {len(gone) - 1} more" if gone[1:] else ""))
    return State(name, "done", f"{len(record.files)} files")


def is_done(recipe: AnyRecipe, run: Run, name: str) -> bool:
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


def status(recipe: AnyRecipe, run: Run) -> list[State]:
    """Every stage in order."""
    return [state(recipe, run, name) for name in of(recipe)]


def verify(run: Run) -> list[str]:
    """Every file of every finished stage against its hash: one sentence a problem, nothing where all holds."""
    problems = []
    for name, record in records(run).items():
        for path, expected in record.files.items():
            file = run.root / path
            if not file.is_file():
                problems.append(f"{path}: gone; stage {name} will write it again")
            elif hash_file(file) != expected:
                problems.append(
                    f"{path}: its bytes changed since stage {name} wrote it; delete it and run {name} again"
                )
    return problems


def files_below(folder: Path) -> list[Path]:
    """Every finished file below `folder`."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def exported_files(folder: Path) -> list[Path]:
    """What a trained model's folder offers to others: everything but its checkpoints."""
    return [
        path for path in files_below(folder) if not any(p.startswith("step_") for p in path.relative_to(folder).parts)
    ]
