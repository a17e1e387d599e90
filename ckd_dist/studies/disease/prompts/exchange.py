"""Read and write CKD-EHR's own files: prompts (`instruction`, `input`, `output`) and the teacher's soft labels.

Published form (github.com/209506702/CKD_EHR): prompts are one JSON object a line, whatever the suffix; soft labels
are one JSON list with a {disease name: probability} per prompt, in the order of the prompts.  Their code splits an
answer at commas, which loses the answer "None", and reads soft labels by position; here both go by name.  An
unlabelled row has no `output`.  Messages name rows, never their contents.  No stage reads prompts (`import_jsonl`) yet.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ckd_dist.files import replacing, write
from ckd_dist.studies.disease.prompts.render import ANSWER, NONE, answer

# Their name -> the benchmark's, where they differ.
SHORT_NAMES = {
    "Chronic obstructive pulmonary disease": "Chronic obstructive pulmonary disease and bronchiectasis",
    "Complications of surgical/medical care": "Complications of surgical procedures or medical care",
    "Coronary atherosclerosis and related": "Coronary atherosclerosis and other heart disease",
    "Hypertension with complications": "Hypertension with complications and secondary hypertension",
    "Pneumonia": "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
    "Respiratory failure; insufficiency; arrest": "Respiratory failure; insufficiency; arrest (adult)",
}


class Row(NamedTuple):
    """One prompt in CKD-EHR's form."""

    instruction: str
    input: str
    labels: tuple[int, ...] | None  # K bits; None: unlabelled


def published_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that CKD-EHR's code knows: give these to an export that its code shall read."""
    short = {long: short for short, long in SHORT_NAMES.items()}
    return tuple(short.get(name, name) for name in names)


def export_jsonl(path: Path, rows: Iterable[Row], names: Sequence[str]) -> int:
    """Write one JSON object a line; return how many.  Raise ValueError where an answer could be read in two ways."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for count, row in enumerate(rows, start=1):
            line = {"instruction": row.instruction, "input": row.input}
            if row.labels is not None:
                line["output"] = answer(row.labels, names)
                if labels_of(line["output"], names) != tuple(row.labels):
                    raise ValueError(f"row {count} cannot be exported: a label's name reads like others joined")
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return count


def import_jsonl(path: Path, names: Sequence[str]) -> list[Row]:
    """Read prompts from JSON lines or a JSON list.  Raise ValueError for a malformed row, or an unknown label."""
    rows = []
    for number, line in enumerate(_objects(path), start=1):
        fields = [line.get(name) for name in ("instruction", "input", "output")] if isinstance(line, dict) else [None]
        if not all(isinstance(value, str) for value in fields[:2]) or not isinstance(fields[-1], str | None):
            raise ValueError(f"{path}, row {number}: expected an object with the texts instruction, input and output")
        instruction, text, output = fields
        try:
            rows.append(Row(instruction, text, None if output is None else labels_of(output, names)))
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from None
    return rows


def labels_of(output: str, names: Sequence[str]) -> tuple[int, ...]:
    """Return the bits that an answer names, by our names or CKD-EHR's.  Raise ValueError where one is unknown.

    >>> labels_of("Disease that the patient may acquire: Shock, Gout, acute", ["Gout", "Gout, acute", "Shock"])
    (0, 1, 1)
    """
    columns = _columns(tuple(names))
    listed = output.removeprefix(ANSWER.rstrip()).strip()
    if listed == NONE:
        return (0,) * len(names)
    named = _split(listed, columns)
    if named is None:
        raise ValueError(f"the output names a disease that is not among the {len(names)} labels")
    return tuple(int(column in named) for column in range(len(names)))


def export_soft_labels(path: Path, probabilities: np.ndarray, names: Sequence[str]) -> None:
    """Write probabilities [N, K] as one JSON list with a {name: probability} a row."""
    rows = [dict(zip(names, row, strict=True)) for row in probabilities.tolist()]
    write(path, json.dumps(rows, ensure_ascii=False))


def import_soft_labels(path: Path, names: Sequence[str]) -> np.ndarray:
    """Read probabilities, float64 [N, K], K in the order of `names` whatever the file's.

    Raises ValueError with the row where a label is missing, unknown or twice, or a value is no probability.
    """
    columns = _columns(tuple(names))
    rows = [_soft_row(row, columns, f"{path}, row {number}") for number, row in enumerate(_objects(path), start=1)]
    return np.array(rows, np.float64).reshape(len(rows), len(names))


def _soft_row(row: object, columns: Mapping[str, int], where: str) -> list[float]:
    """Check one row of soft labels, and return it in the order of the columns."""
    num_labels = len(set(columns.values()))
    if not isinstance(row, dict) or not row.keys() <= columns.keys():
        raise ValueError(f"{where}: expected an object with a probability for each of the {num_labels} label names")
    by_column = {columns[name]: value for name, value in row.items()}
    if not len(row) == len(by_column) == num_labels:
        raise ValueError(
            f"{where}: it has {len(row)} labels, of which {len(by_column)} are different; expected {num_labels}"
        )
    for value in by_column.values():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"{where}: a value is not a probability from 0 to 1")
    return [by_column[column] for column in range(num_labels)]


@lru_cache(maxsize=8)
def _columns(names: tuple[str, ...]) -> dict[str, int]:
    """Return the label column by name, ours and CKD-EHR's, longest name first.  Ours wins where both know a name."""
    column_of = {name: column for column, name in enumerate(names)}
    short = {short: column_of[long] for short, long in SHORT_NAMES.items() if long in column_of}
    known = short | column_of
    return {name: known[name] for name in sorted(known, key=lambda name: (-len(name), name))}


def _split(listed: str, columns: Mapping[str, int]) -> set[int] | None:
    """Return the columns of names joined by ", " (names may hold it too): longest first, and back where that fails."""
    for name, column in columns.items():
        if listed == name:
            return {column}
        if listed.startswith(name + ", ") and (rest := _split(listed[len(name) + 2 :], columns)) is not None:
            return {column} | rest
    return None


def _objects(path: Path) -> list[object]:
    """Read the objects of a JSON list or of JSON lines."""
    text = path.read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {error.lineno}: not JSON") from None
    objects = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                objects.append(json.loads(line))
            except json.JSONDecodeError:
                raise ValueError(f"{path}, line {number}: not JSON") from None
    return objects
