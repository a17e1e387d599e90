"""What one experiment found: a file each, written whole.

N labelled rows of held_out, M rows of a split, K labels
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ckd_dist.engine.experiments import open_result, write_result
from ckd_dist.studies.disease.experiments import Experiment

LOGITS = "logits."  # before the name of a split


@dataclass(frozen=True, eq=False)
class Result:
    """Probabilities of the labelled visits of held_out, not calibrated.  No weights are kept."""

    experiment: Experiment
    digest: str  # of all that shaped it
    sample_id_N: np.ndarray  # int64
    probabilities_NK: np.ndarray  # float32
    begun: float  # unix seconds
    ended: float
    worker: int  # process id
    numbers: Mapping[str, float] = field(default_factory=dict)
    logits: Mapping[str, np.ndarray] = field(default_factory=dict)  # by split, [M, K]: of what a student learns from

    def write(self, folder: Path) -> Path:
        """Publish it, at once and for the owner alone."""
        metadata = {"digest": self.digest, "numbers": dict(self.numbers)}
        metadata |= {"begun": self.begun, "ended": self.ended, "worker": self.worker}
        tensors = {
            "sample_id_N": torch.as_tensor(np.asarray(self.sample_id_N, np.int64)),
            "probabilities_NK": torch.as_tensor(np.ascontiguousarray(self.probabilities_NK, np.float32)),
        }
        tensors |= {LOGITS + split: torch.as_tensor(logits_MK) for split, logits_MK in self.logits.items()}
        return write_result(folder, self.experiment, metadata, tensors)

    @classmethod
    def read(cls, path: Path, *, logits: bool = False) -> "Result":
        """Read what `write` wrote; logits of other splits only where they are asked for.

        Raises ValueError where it is something else, or cut short.
        """
        with open_result(path) as (metadata, file):
            splits = [name for name in file.keys() if logits and name.startswith(LOGITS)]  # noqa: SIM118
            return cls(
                Experiment(**metadata["experiment"]),
                metadata["digest"],
                file.get_tensor("sample_id_N").numpy(),
                file.get_tensor("probabilities_NK").numpy(),
                *(metadata[key] for key in ("begun", "ended", "worker", "numbers")),
                {name.removeprefix(LOGITS): file.get_tensor(name).numpy() for name in splits},
            )
