"""A run's rows as a `datasets.Dataset`: its texts, hard labels and soft labels, in memory or in a folder.

A study says which columns its rows have and yields them in batches, in the order of the sample ids.  Soft labels are
read by memory map and the batches are Arrow from the start, so a folder costs a batch of memory, and a data set in
memory its own bytes.  `Dataset.from_generator` is not used: it copies every row to a cache below the home folder.

    N rows of a batch, U units, K columns
"""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from datasets import Dataset, DatasetDict, DatasetInfo, Features, List, NamedSplit, Value
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from ckd_dist.files import replacing_folder
from ckd_dist.runfolder import RunFolder
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import MappedLabels
from ckd_dist.study import Study, open_rows

BATCH_ROWS = 512


@dataclass(frozen=True)
class Rows:
    """The rows of one split: their features, how to read rows start to stop as a column each, and what they are."""

    features: Features
    num: int
    read: Callable[[int, int], Mapping[str, Any]]  # column -> Arrow array, polars series or list
    metadata: Mapping[str, Any] = field(default_factory=dict)  # in the data set's description, as JSON

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows, in order."""
        schema = self.features.arrow_schema
        for start in range(0, self.num, BATCH_ROWS):
            columns = self.read(start, min(start + BATCH_ROWS, self.num))
            arrays = [_array(columns[name], schema.field(name).type) for name in schema.names]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    @property
    def info(self) -> DatasetInfo:
        """Return what travels with the rows: features, and the metadata as JSON."""
        return DatasetInfo(description=json.dumps(self.metadata, ensure_ascii=False), features=self.features)


def open_run(study: Study, recipe: Any, run: RunFolder, split: str) -> Dataset:
    """Read one split of a finished run into memory.  Raises ValueError where the run does not have it, or is stale."""
    return in_memory(open_rows(study, recipe, run, split), split)


def save_run(study: Study, recipe: Any, run: RunFolder, out: Path) -> dict[str, int]:
    """Write all splits of a finished run below `out`; return how many rows each has.  Raises as `save` and `open_run`.

    The folder is what `DatasetDict.save_to_disk` writes: `datasets.load_from_disk` reads it without this project.
    """
    splits = study.dataset.splits if study.dataset else ("train",)
    return save({split: open_rows(study, recipe, run, split) for split in splits}, out)


def open_shards(folder: Path | str) -> Dataset:
    """Read a folder of shards, `RUN/softlabels/PLAN`, alone: sample_id, and soft_labels [K], or [U, K] of its units.

    The names of the columns are "names" in the JSON of `info.description`.
    Raises ShardError where the set is not finished, or a file is not what its name says.
    """
    folder = Path(folder).absolute()
    plan = Plan.open(folder.parent, folder.name)
    labels = MappedLabels(folder.parent, plan)
    sample_id_N = np.sort(plan.sample_id_N)
    one_unit = bool((plan.units_N == 1).all())

    def read(start: int, stop: int) -> dict[str, Any]:
        found = labels.logits_of(sample_id_N[start:stop])
        soft = vectors(np.concatenate(found)) if one_unit else lists_of_vectors(found, len(plan.names))
        return {"sample_id": sample_id_N[start:stop], "soft_labels": soft}

    features = Features({"sample_id": Value("int64"), "soft_labels": soft_feature(len(plan.names), one_unit)})
    return in_memory(Rows(features, len(sample_id_N), read, provenance(plan)), plan.split)


def in_memory(rows: Rows, split: str) -> Dataset:
    """Return the rows as a data set that lies in memory alone."""
    table = pa.Table.from_batches(rows.batches(), rows.features.arrow_schema)
    # A fingerprint of its own: the library's would pickle the whole table.
    return Dataset(table, rows.info, NamedSplit(split), fingerprint=secrets.token_hex(8))


def save(splits: Mapping[str, Rows], out: Path) -> dict[str, int]:
    """Write a folder that `datasets.load_from_disk` reads, for its owner alone, whole or not at all.

    Returns how many rows each split has.  Raises ValueError where `out` is a file, or a folder that holds something.
    """
    out = Path(out).absolute()
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give --out a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is there already and is not empty: give --out a new folder")
    with replacing_folder(out) as whole:
        with tempfile.TemporaryDirectory(prefix=".rows.", dir=whole) as rows_folder, _quiet():
            mapped = {
                split: _on_disk(rows, split, Path(rows_folder) / f"{split}.arrow") for split, rows in splits.items()
            }
            num_files = {split: None if rows.num else 1 for split, rows in splits.items()}  # of no rows it writes none
            DatasetDict(mapped).save_to_disk(whole, num_shards=num_files)
        for split in splits:
            (whole / split).chmod(0o700)
    return {split: rows.num for split, rows in splits.items()}


def soft_feature(num_columns: int, one_unit: bool = True) -> List:
    """Return the feature of soft labels: float32 [K] a row, or [U, K]."""
    vector = List(Value("float32"), length=num_columns)
    return vector if one_unit else List(vector)


def vectors(values_NK: np.ndarray, known_N: np.ndarray | None = None) -> pa.Array:
    """Return an Arrow list of length K a row; null where not known."""
    flat = pa.array(np.ascontiguousarray(values_NK, np.float32).reshape(-1))
    mask = None if known_N is None else pa.array(~np.asarray(known_N, bool))
    return pa.FixedSizeListArray.from_arrays(flat, values_NK.shape[1], mask=mask)


def lists_of_vectors(rows: Sequence[np.ndarray | None], num_columns: int) -> pa.Array:
    """Return an Arrow list of [U, K] a row; null where a row is None."""
    none_UK = np.zeros((0, num_columns), np.float32)
    whole_UK = np.concatenate([none_UK, *(none_UK if row is None else row for row in rows)])
    offsets_N1 = np.cumsum([0, *(0 if row is None else len(row) for row in rows)]).astype(np.int32)
    mask = pa.array([row is None for row in rows], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets_N1), vectors(whole_UK), mask=mask)


def provenance(plan: Plan | None) -> dict[str, Any]:
    """Return what is said of soft labels beside their numbers: label columns, plan and teacher; nothing of a record."""
    return {} if plan is None else {"names": list(plan.names), "plan": plan.plan_hash, "teacher": plan.source.teacher}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars off the screen."""
    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            enable_progress_bars()


def _on_disk(rows: Rows, split: str, file: Path) -> Dataset:
    """Write the rows into an Arrow file, a batch at a time, and map it."""
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, rows.features.arrow_schema) as writer:
        for batch in rows.batches():
            writer.write_batch(batch)
    return Dataset.from_file(str(file), rows.info, NamedSplit(split))


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    """Return a column's values as an Arrow array of this type."""
    if isinstance(values, pl.Series):
        values = values.to_arrow()
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return array if array.type == kind else array.cast(kind)
