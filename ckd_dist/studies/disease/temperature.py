"""Temperature of a teacher: its raw logits divided by it are what a student is taught.

    N rows, K labels          taught logit = raw logit / temperature

It minimises the log-loss of the tuning rows whose labels the student's hospital sees (Guo et al. 2017, On Calibration
of Modern Neural Networks, sec. 4.2).  `scalar` is one number for all labels and changes no ranking.  `per_label` is one
number a label, which changes no ranking within a label; a label with fewer than LEAST_CASES positives or negatives
keeps the scalar.  Shards keep raw logits, and the loss's own T comes on top.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ckd_dist.files import write
from ckd_dist.report.calibrate import fit_temperature

LEAST_CASES = 5  # positives, and negatives, that a label needs for a temperature of its own

Kind = Literal["none", "scalar", "per_label"]


@dataclass(frozen=True)
class Temperature:
    """What a teacher's raw logits are divided by."""

    temperature_K: np.ndarray

    def soften(self, logits_NK: np.ndarray) -> np.ndarray:
        """Return what is taught, float32 [N, K].  Raise ValueError where the logits have other labels."""
        if logits_NK.shape[1:] != self.temperature_K.shape:
            raise ValueError(f"there are {len(self.temperature_K)} temperatures, the logits are {logits_NK.shape}")
        return (logits_NK / self.temperature_K).astype(np.float32)

    def save(self, path: Path, names: Sequence[str]) -> None:
        """Write JSON that a person can read."""
        pairs = zip(names, self.temperature_K.tolist(), strict=True)
        labels = [{"name": name, "temperature": temperature} for name, temperature in pairs]
        write(path, json.dumps({"formula": "logit / temperature", "labels": labels}, indent=1))

    def sentence(self) -> str:
        """Say what the logits are divided by.

        >>> Temperature(np.array([0.8, 2.0])).sentence()
        'its logits are divided by 0.80 to 2.00 before they are taught'
        """
        least, most = (f"{t:.2f}" for t in (self.temperature_K.min(), self.temperature_K.max()))
        return f"its logits are divided by {least if least == most else f'{least} to {most}'} before they are taught"

    @classmethod
    def load(cls, path: Path, names: Sequence[str]) -> "Temperature":
        """Read what `save` wrote.  Raise ValueError where it is damaged, or for other labels than `names` in order."""
        try:
            labels = json.loads(path.read_text())["labels"]
            found = [label["name"] for label in labels]
            temperature_K = np.array([label["temperature"] for label in labels], dtype=np.float64)
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} holds no temperatures ({type(error).__name__}): run validate_teacher") from None
        if found != list(names):
            raise ValueError(f"{path} is for other labels than the run's: run validate_teacher again")
        return cls(temperature_K)


def fit(logits_NK: np.ndarray, labels_NK: np.ndarray, kind: Kind) -> Temperature:
    """Fit what the kind asks for; 1 for `none`, and where there is nothing to fit on.

    logits: the teacher's raw ones.  labels: 0 or 1.  Raises ValueError where the two differ in shape or a logit is not
    finite.
    """
    if logits_NK.shape != labels_NK.shape:
        raise ValueError(f"logits {logits_NK.shape} and labels {labels_NK.shape} do not fit together")
    if not np.isfinite(logits_NK).all():
        raise ValueError("some of the teacher's logits are not finite: it has diverged; train it again")
    logits_NK = logits_NK.astype(np.float64)
    common = 1.0 if kind == "none" else fit_temperature(logits_NK, labels_NK)
    temperature_K = np.full(logits_NK.shape[1], common)
    if kind == "per_label":
        positives_K = labels_NK.sum(axis=0)
        enough_K = np.minimum(positives_K, len(labels_NK) - positives_K) >= LEAST_CASES
        for k in np.flatnonzero(enough_K):
            temperature_K[k] = fit_temperature(logits_NK[:, k], labels_NK[:, k])
    return Temperature(temperature_K)


def soften_across(logits_NK: np.ndarray, labels_NK: np.ndarray, subject_N: np.ndarray, kind: Kind) -> np.ndarray:
    """Return the logits, each divided by the temperature that the other half of the subjects gives, float32 [N, K].

    So a teacher can be judged, as it will be taught, on rows that its temperature was not fitted on.
    """
    _, number_N = np.unique(subject_N, return_inverse=True)
    softened_NK = np.empty(logits_NK.shape, np.float32)
    for half in (0, 1):
        here_N = number_N % 2 == half
        fitted = fit(logits_NK[~here_N], labels_NK[~here_N], kind)
        softened_NK[here_N] = fitted.soften(logits_NK[here_N])
    return softened_NK


def check_temperature(kind: Kind, import_from: str | None) -> None:
    """Raise ValueError where a temperature is asked for of imported soft labels, which are of train alone."""
    if kind != "none" and import_from:
        raise ValueError(
            f"label.temperature={kind} is fitted on tuning, and the soft labels of label.import_from are of train "
            "alone: set label.temperature=none, or import soft labels that are calibrated already"
        )
