"""What one experiment found: a file each, written whole, which says by itself whether it is of these very inputs.

N held-out cases of the target, K outcomes
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ckd_dist.engine.experiments import open_result, write_result
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
        metadata = {"digest": self.digest, "curve": self.curve, "numbers": dict(self.numbers)}
        metadata |= {"begun": self.begun, "ended": self.ended, "worker": self.worker}
        tensors = {
            "case_id_N": torch.as_tensor(np.asarray(self.case_id_N, np.int64)),
            "probabilities_NK": torch.as_tensor(np.asarray(self.probabilities_NK, np.float32)),
        }
        tensors |= {WEIGHTS + name: tensor.contiguous() for name, tensor in self.weights.items()}
        return write_result(folder, self.experiment, metadata, tensors)

    @classmethod
    def read(cls, path: Path, *, weights: bool = False) -> "Result":
        """Read what `write` wrote; the weights only where they are asked for.

        Raises ValueError where it is something else, or cut short.
        """
        with open_result(path) as (metadata, file):
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
