"""The grid: which models are trained, in which order, and what each of them leaves behind.

    embedding x patient model x source -> target x regime x size x seed

A cell is one training run with one seed, and one file.  The source model of A -> B is itself a cell, A's own `local`
one; where the source is all other sites, it is the local cell of their union, a site called "all but B".  Source models
come first, long ones before short ones, so that free workers seldom wait.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ckd_dist.studies.concepts.config import Grid, PatientModel, Regime
from ckd_dist.studies.concepts.regimes import FROM_SOURCE, TUNED
from ckd_dist.studies.concepts.tables import write_whole

# N held-out cases of the target, K outcomes

REST = "all but "
WEIGHTS = "weights."  # what stands before the name of a source model's tensor in its file
# They read no label of the target; or ask how long to tune, not with how many.
NO_SIZES: tuple[Regime, ...] = ("shared", "adversarial", "thawed")


@dataclass(frozen=True)
class Cell:
    """One training run.  size: labelled training cases of the target; None: all.  local: source is the target."""

    embedding: str
    model: str  # one of model_names
    source: str
    target: str
    regime: Regime
    size: int | None
    seed: int

    @property
    def name(self) -> str:
        """Readable, safe as a file's name, and different for different cells."""
        words = [self.regime, self.source, "to", self.target, self.embedding, self.model]
        words += [str(self.size or "whole"), str(self.seed)]
        readable = re.sub(r"[^A-Za-z0-9]+", "_", "-".join(w.replace("-", "_") for w in words)).strip("_")[:80]
        return f"{readable}-{hashlib.sha256(json.dumps(self._key()).encode()).hexdigest()[:12]}"

    def __lt__(self, other: "Cell") -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple:
        whole = (1, 0) if self.size is None else (0, self.size)
        return (self.embedding, self.model, self.source, self.target, self.regime, whole, self.seed)


def model_names(models: Sequence[PatientModel]) -> list[str]:
    """A name for each: its kind, with a number from the second of a kind on.

    >>> model_names([PatientModel("max"), PatientModel("mean"), PatientModel("max", filters=300)])
    ['max', 'mean', 'max 2']
    """
    kinds = [model.kind for model in models]
    numbers = [kinds[: place + 1].count(kind) for place, kind in enumerate(kinds)]
    return [kind if number == 1 else f"{kind} {number}" for kind, number in zip(kinds, numbers, strict=True)]


def members(site: str, sites: Sequence[str]) -> list[str]:
    """The sites that a source or target stands for.

    >>> members("all but B", ["A", "B", "C"]), members("B", ["A", "B", "C"])
    (['A', 'C'], ['B'])
    """
    if site in sites:
        return [site]
    if site.removeprefix(REST) not in sites:
        raise ValueError(f"{site!r} is none of the sites {', '.join(sites)}")
    return [other for other in sites if other != site.removeprefix(REST)]


def pairs(asked: Sequence[str], sites: Sequence[str]) -> list[tuple[str, str]]:
    """(source, target) of every pair asked for; all ordered pairs of sites where none is.

    Raises ValueError where one is not SOURCE->TARGET of sites that there are.
    """
    if not asked:
        return [(source, target) for source in sites for target in sites if source != target]
    found = []
    for pair in asked:
        source, arrow, target = (part.strip() for part in pair.partition("->"))
        is_rest = source == "rest" and source not in sites
        if not arrow or target not in sites or source == target or (source not in sites and not is_rest):
            raise ValueError(f"pair {pair!r} is not SOURCE->TARGET or rest->TARGET of the sites {', '.join(sites)}")
        if is_rest and len(sites) < 2:
            raise ValueError(f"pair {pair!r} needs another site than {target}")
        found.append((REST + target if is_rest else source, target))
    return list(dict.fromkeys(found))


def source_cell(cell: Cell) -> Cell | None:
    """The cell whose model `cell` starts from; None where it starts fresh."""
    if cell.regime not in FROM_SOURCE:
        return None
    return replace(cell, target=cell.source, regime="local", size=None)


def cells(grid: Grid, embeddings: Sequence[str], num_train: Mapping[str, int]) -> tuple[list[Cell], list[str]]:
    """All cells in running order, each once, and a sentence for everything asked for that is left out.

    num_train: training cases of every site.  Source models stand before all others; within both, the longest first.
    """
    wanted: dict[Cell, None] = {}
    left_out: dict[str, None] = {}
    models = dict(zip(model_names(grid.models), grid.models, strict=True))
    for source, target in pairs(grid.pairs, list(num_train)):
        for size in grid.sizes:
            if size >= num_train[target]:
                left_out[f"size {size}: {target} has {num_train[target]} training cases"] = None
        for regime in grid.regimes:
            sizes = [] if regime in NO_SIZES else sorted(size for size in set(grid.sizes) if size < num_train[target])
            begin = target if regime == "local" else source
            for embedding in embeddings:
                for model in models:
                    for size in (None, *sizes):
                        for seed in range(grid.seeds):
                            wanted[Cell(embedding, model, begin, target, regime, size, seed)] = None
    sources = {first for cell in wanted if (first := source_cell(cell))}
    chosen = [*wanted, *(sources - wanted.keys())]

    def place(cell: Cell) -> tuple:
        return cell not in sources, -effort(cell, grid, models[cell.model], num_train), cell

    return sorted(chosen, key=place), list(left_out)


def effort(cell: Cell, grid: Grid, model: PatientModel, num_train: Mapping[str, int]) -> float:
    """About how long a cell takes, in cases read; a Transformer reads one in about twenty times the time."""
    if cell.regime == "shared":
        return 0.0
    num = cell.size or sum(num_train[site] for site in members(cell.target, list(num_train)))
    epochs = grid.tune.epochs * max(1, grid.steps_curve) if cell.regime in TUNED else grid.train.epochs
    if cell.regime in ("pooled", "adversarial"):
        num += sum(num_train[site] for site in members(cell.source, list(num_train)))
    return epochs * num * (20 if model.kind == "transformer" else 1) * (2 if cell.regime == "thawed" else 1)


@dataclass(frozen=True, eq=False)
class Result:
    """What one cell found: a file each, written whole.  Probabilities are of the target's held-out cases."""

    cell: Cell
    digest: str  # of all that shaped it
    case_id_N: np.ndarray  # int64
    probabilities_NK: np.ndarray  # float32
    curve: tuple[tuple[int, float], ...] = ()  # (step, score of the target) on the way
    begun: float = 0.0  # unix seconds
    ended: float = 0.0
    worker: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)  # of a source model: patients.weights_of

    @property
    def seconds(self) -> float:
        return self.ended - self.begun

    def write(self, folder: Path) -> Path:
        """Publish it as `folder`/<cell's name>.safetensors, at once and for the owner alone."""
        told = {"cell": vars(self.cell), "digest": self.digest, "curve": self.curve, "numbers": dict(self.numbers)}
        told |= {"begun": self.begun, "ended": self.ended, "worker": self.worker}
        tensors = {
            "case_id_N": torch.as_tensor(np.asarray(self.case_id_N, np.int64)),
            "probabilities_NK": torch.as_tensor(np.asarray(self.probabilities_NK, np.float32)),
        }
        tensors |= {WEIGHTS + name: tensor.contiguous() for name, tensor in self.weights.items()}
        path = path_of(folder, self.cell)
        write_whole(path, safetensors.torch.save(tensors, metadata={"result": json.dumps(told, sort_keys=True)}))
        return path

    @classmethod
    def read(cls, path: Path, *, weights: bool = False) -> "Result":
        """What `write` wrote; the weights only where they are asked for.

        Raises ValueError where it is something else, or cut short.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                told = json.loads(file.metadata()["result"])
                names = [name for name in file.keys() if weights and name.startswith(WEIGHTS)]  # noqa: SIM118
                return cls(
                    Cell(**told["cell"]),
                    told["digest"],
                    file.get_tensor("case_id_N").numpy(),
                    file.get_tensor("probabilities_NK").numpy(),
                    tuple((int(step), float(score)) for step, score in told["curve"]),
                    *(told[key] for key in ("begun", "ended", "worker", "numbers")),
                    {name.removeprefix(WEIGHTS): file.get_tensor(name) for name in names},
                )
        except (safetensors.SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no result of a cell, or is cut short: delete it and run again") from error


def path_of(folder: Path, cell: Cell) -> Path:
    return folder / f"{cell.name}.safetensors"


def tidy(folder: Path) -> None:
    """Delete what killed workers left half written; all cells are there, so whoever still writes does so in vain."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def is_done(folder: Path, cell: Cell, digest: str) -> bool:
    """Whether the cell's whole result, from the same inputs, is there."""
    try:
        result = Result.read(path_of(folder, cell))
    except (OSError, ValueError):
        return False
    return result.cell == cell and result.digest == digest


def idle_share(results: Sequence[Result]) -> float:
    """Share of the workers' time that no cell filled, from the first cell's begin until the last one was handed out.

    After that a free worker has nothing left to take, which is no fault of the order.
    """
    if not results:
        return 0.0
    first, last = min(r.begun for r in results), max(r.begun for r in results)
    total = (last - first) * len({r.worker for r in results})
    busy = sum(min(r.ended, last) - r.begun for r in results)
    return 1 - busy / total if total > 0 else 0.0
