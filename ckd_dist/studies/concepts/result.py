"""What one experiment found: a file each, written whole, which says by itself whether it is of these very inputs.

N held-out cases of the target, K outcomes
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ckd_dist.files import write
from ckd_dist.studies.concepts.grid import Experiment

WEIGHTS = "weights."  # before the name of a source model's tensor in its file


@dataclass(frozen=True, eq=False)
class Result:
    """What one experiment found.  Probabilities are of the target's held-out cases."""

    experiment: Experiment
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
        """How long it took."""
        return self.ended - self.begun

    def write(self, folder: Path) -> Path:
        """Publish it as `folder`/<experiment's name>.safetensors, at once and for the owner alone."""
        metadata = {"experiment": vars(self.experiment), "digest": self.digest, "curve": self.curve}
        metadata |= {"numbers": dict(self.numbers), "begun": self.begun, "ended": self.ended, "worker": self.worker}
        tensors = {
            "case_id_N": torch.as_tensor(np.asarray(self.case_id_N, np.int64)),
            "probabilities_NK": torch.as_tensor(np.asarray(self.probabilities_NK, np.float32)),
        }
        tensors |= {WEIGHTS + name: tensor.contiguous() for name, tensor in self.weights.items()}
        path = path_of(folder, self.experiment)
        text = json.dumps(metadata, sort_keys=True)
        write_unless_tidied(path, safetensors.torch.save(tensors, metadata={"result": text}))
        return path

    @classmethod
    def read(cls, path: Path, *, weights: bool = False) -> "Result":
        """Read what `write` wrote; the weights only where they are asked for.

        Raises ValueError where it is something else, or cut short.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = json.loads(file.metadata()["result"])
                names = [name for name in file.keys() if weights and name.startswith(WEIGHTS)]  # noqa: SIM118
                return cls(
                    Experiment(**metadata["experiment"]),
                    metadata["digest"],
                    file.get_tensor("case_id_N").numpy(),
                    file.get_tensor("probabilities_NK").numpy(),
                    tuple((int(step), float(score)) for step, score in metadata["curve"]),
                    *(metadata[key] for key in ("begun", "ended", "worker", "numbers")),
                    {name.removeprefix(WEIGHTS): file.get_tensor(name) for name in names},
                )
        except (safetensors.SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no experiment's result, or is cut short: delete it and run again") from error


def path_of(folder: Path, experiment: Experiment) -> Path:
    """Return the file of an experiment's result."""
    return folder / f"{experiment.name}.safetensors"


def is_done(folder: Path, experiment: Experiment, digest: str) -> bool:
    """Say whether the experiment's whole result, from the same inputs, is there."""
    try:
        result = Result.read(path_of(folder, experiment))
    except (OSError, ValueError):
        return False
    return result.experiment == experiment and result.digest == digest


def write_unless_tidied(path: Path, content: bytes) -> None:
    """Write a file whole; where it was tidied away meanwhile, another worker has written it first."""
    try:
        write(path, content)
    except FileNotFoundError:
        if not path.exists():
            raise


def idle_share(results: Sequence[Result]) -> float:
    """Return the share of the workers' time that no experiment filled, until the last one was handed out.

    After that a free worker has nothing left to take, which is no fault of the order.
    """
    if not results:
        return 0.0
    first, last = min(r.begun for r in results), max(r.begun for r in results)
    total = (last - first) * len({r.worker for r in results})
    busy = sum(min(r.ended, last) - r.begun for r in results)
    return 1 - busy / total if total > 0 else 0.0
