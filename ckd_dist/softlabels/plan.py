"""Which rows make which shard, and everything else that decides what the soft labels are.  Immutable.

    softlabels/<plan hash>/plan.json            what was planned; its sha256 is the folder's name
    softlabels/<plan hash>/rows.safetensors     sample ids in plan order, units of each row

Plan order is a permutation of the rows by `order_seed`, and shards are consecutive cuts of it.  The disease study's
student reads its first epoch in that order; the others read in an order of their own.  Two plans that differ in a
prompt, a tokenizer, a teacher, a label column, the dtype, or the order live in two folders and cannot be mixed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.numpy

from ckd_dist.files import create, write
from ckd_dist.schema import hash_of_columns
from ckd_dist.softlabels.errors import ShardError, writing

# N rows, U units, K columns

FORMAT = 1  # of plan and shards
PLAN, ROWS = "plan.json", "rows.safetensors"
SETTINGS = ("split", "shard_rows", "order_seed", "dtype")
OF_SOURCE = ("names", "prompts", "tokenizer", "teacher", "fold")


def num_shards(num_rows: int, shard_rows: int) -> int:
    """Count the shards of a plan; the last one may be smaller.

    >>> num_shards(1025, 1024), num_shards(0, 1024)
    (2, 0)
    """
    return -(-num_rows // shard_rows)


@dataclass(frozen=True)
class LabelSource:
    """What decides a row's soft labels, beside the row."""

    names: Sequence[str]  # label columns in order
    prompts: str  # hash of what is read: the prompts' tokens, the notes, the phrases
    tokenizer: str  # fingerprint
    teacher: str  # fingerprint of weights, tokenizer and template bytes, or of another labeler
    fold: int = 0  # a shard belongs to one fold, hence to one teacher


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be labelled, in plan order.  Make one with `make_plan`, or `Plan.open` one that is on disk."""

    split: str
    source: LabelSource
    sample_id_N: np.ndarray  # int64, in plan order
    units_N: np.ndarray  # int64, units of every row: admission 1, words of a window, ...
    shard_rows: int  # the last shard may be smaller
    order_seed: int
    dtype: str  # of the stored logits

    @cached_property
    def plan_hash(self) -> str:
        """Return the sha256 of plan.json: 16 hex digits, the folder's name."""
        return hashlib.sha256(self.text).hexdigest()[:16]

    def check_teacher(self, fingerprint: str, what: str) -> None:
        """Raise ShardError unless the labeler is the one that was planned.  what: it is called."""
        if fingerprint != self.source.teacher:
            raise ShardError(f"{what} has changed since its labels were planned: run the same command again")

    @property
    def names(self) -> Sequence[str]:
        """Return the label columns, in order."""
        return self.source.names

    @cached_property
    def columns(self) -> str:
        """Return the hash of the label columns."""
        return hash_of_columns(self.names)

    @cached_property
    def text(self) -> bytes:
        """Return plan.json, to the byte."""
        rows = hashlib.sha256(self.sample_id_N.astype("<i8").tobytes() + self.units_N.astype("<i8").tobytes())
        values = {"format": FORMAT, "columns": self.columns, "rows": rows.hexdigest()}
        values |= {"num_rows": self.num_rows, "num_units": int(self.units_N.sum())}
        values |= {name: getattr(self, name) for name in SETTINGS}
        values |= {name: getattr(self.source, name) for name in OF_SOURCE}
        return json.dumps(values, indent=1).encode()

    @property
    def num_rows(self) -> int:
        """Count the rows of all shards."""
        return len(self.sample_id_N)

    @property
    def num_shards(self) -> int:
        """Count the shards, the last of which may be smaller."""
        return num_shards(self.num_rows, self.shard_rows)

    @cached_property
    def offsets_N1(self) -> np.ndarray:  # noqa: N802, a shape suffix
        """Return where each row's units begin: row i has units offsets[i] to offsets[i + 1] of the whole plan."""
        return np.concatenate([[0], self.units_N.cumsum()])

    def rows_of(self, shard: int) -> slice:
        """Return the places in plan order of the rows of `shard`.  Raise ShardError where there is no such shard."""
        if not 0 <= shard < self.num_shards:
            raise ShardError(f"plan {self.plan_hash} has shards 0 to {self.num_shards - 1}, not {shard}")
        return slice(shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.num_rows))

    def sample_ids_of(self, shard: int) -> np.ndarray:
        """Return the sample ids of `shard`, in order."""
        return self.sample_id_N[self.rows_of(shard)]

    def folder(self, root: Path) -> Path:
        """Return the plan's own folder below `root`."""
        return Path(root) / self.plan_hash

    def save(self, root: Path) -> Path:
        """Write the plan below `root` (a run's softlabels folder) and return its own folder.  Twice is harmless."""
        folder = self.folder(root)
        rows = safetensors.numpy.save({"sample_id_N": self.sample_id_N, "units_N": self.units_N})
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _holds(folder / ROWS, rows):
                write(folder / ROWS, rows)
            written = _holds(folder / PLAN, self.text) or create(folder / PLAN, self.text)
            if not written and not _holds(folder / PLAN, self.text):  # another process may have been first
                raise ShardError(f"{folder / PLAN} has been changed since it was made: delete it and label again")
        return folder

    @classmethod
    def open(cls, root: Path, plan_hash: str) -> "Plan":
        """Read the plan of that hash.

        Raises ShardError where it is absent, or is not what its name says, OSError where the system cannot read it.
        """
        folder = Path(root) / plan_hash
        try:
            text = (folder / PLAN).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ShardError(f"there is no soft-label plan {folder / PLAN}: run the label stage") from error
        if hashlib.sha256(text).hexdigest()[:16] != plan_hash:
            raise ShardError(f"{folder / PLAN} has been changed since it was made: delete it and label again")
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ShardError(f"{folder} has format {values['format']}, this version reads {FORMAT}: label again")
        try:
            rows = safetensors.numpy.load((folder / ROWS).read_bytes())
            ids_N, units_N = _frozen(rows["sample_id_N"]), _frozen(rows["units_N"])
        except (FileNotFoundError, KeyError, safetensors.SafetensorError) as error:
            raise ShardError(f"{folder / ROWS} is missing or damaged: run the label stage again") from error
        source = LabelSource(**{name: values[name] for name in OF_SOURCE} | {"names": tuple(values["names"])})
        settings = {name: values[name] for name in SETTINGS}
        plan = cls(source=source, sample_id_N=ids_N, units_N=units_N, **settings)
        if plan.text != text:
            raise ShardError(f"{folder / ROWS} holds other rows than its plan: run the label stage again")
        return plan


def make_plan(
    sample_ids: np.ndarray,
    source: LabelSource,
    *,
    split: str,
    units: int | np.ndarray = 1,
    shard_rows: int = 1024,
    order_seed: int = 0,
    dtype: str = "float32",
) -> Plan:
    """Plan the labelling of `sample_ids` (int64 [N], each once) in a new order by `order_seed`.

    units: of every row, in the order of `sample_ids`.  Raises ShardError where rows or settings make no plan.
    """
    ids = np.asarray(sample_ids, dtype=np.int64)
    units_N = np.broadcast_to(np.asarray(units, dtype=np.int64), ids.shape)
    if ids.ndim != 1 or len(ids) == 0:
        raise ShardError(f"split {split!r} has no samples to label")
    if len(np.unique(ids)) != len(ids):
        raise ShardError(f"split {split!r}: {len(ids) - len(np.unique(ids))} sample ids occur twice")
    if shard_rows < 1 or (units_N < 0).any() or dtype not in ("float32", "float16"):
        raise ShardError(
            f"no plan has {shard_rows} rows a shard, dtype {dtype!r}, and at least {units_N.min()} units a row"
        )
    order = np.random.default_rng(order_seed).random(len(ids)).argsort(kind="stable")
    return Plan(
        split=split,
        source=replace(source, names=tuple(source.names)),
        sample_id_N=_frozen(ids[order]),
        units_N=_frozen(units_N[order]),
        shard_rows=int(shard_rows),
        order_seed=int(order_seed),
        dtype=dtype,
    )


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array, dtype=np.int64)
    array.flags.writeable = False
    return array
