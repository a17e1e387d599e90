"""Logits to probabilities that mean what they say, and thresholds: fitted on tuning subjects, used ever after.

    N rows, K labels          probability = sigmoid(logit / temperature + bias)

One temperature for all labels is fitted first (Guo et al. 2017).  A label with at least MIN_CASES of both classes
gets its own temperature and bias on top: the penalised maximum likelihood of two numbers, pulled to the common
temperature and no bias with the weight of about one case.  A rarer label keeps the common temperature and no bias.  A
temperature is never negative and at most 20: calibration may flatten a ranking, not turn it round.  So AUROC and AUPRC
within a label do not change; across labels (micro) they change only where labels have numbers of their own.

A threshold maximises a label's F1 on tuning.  A label that never occurs there gets 0.5.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from ckd_dist.files import write

MOST_TEMPERATURE = 20.0
LEAST_TEMPERATURE = 0.05
MIN_CASES = 30  # positives, and negatives, that a label needs for numbers of its own
PULL = 1.0  # weight of the penalty on a label's own temperature and bias


@dataclass(frozen=True)
class Calibration:
    """What turns a model's logits into probabilities and bits; it lives beside the model."""

    names: tuple[str, ...]
    temperature_K: np.ndarray
    bias_K: np.ndarray
    threshold_K: np.ndarray

    def probabilities(self, logits_NK: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float64 [N, K]."""
        if logits_NK.shape[1:] != (len(self.names),):
            raise ValueError(f"the calibration has {len(self.names)} labels, the logits have shape {logits_NK.shape}")
        return sigmoid(logits_NK.astype(np.float64) / self.temperature_K + self.bias_K)

    def bits(self, probabilities_NK: np.ndarray) -> np.ndarray:
        """Return 1 where the probability reaches the label's threshold, int8 [N, K]."""
        return (probabilities_NK >= self.threshold_K).astype(np.int8)

    def save(self, path: Path) -> None:
        """Write JSON that a person can read, under its final name only when whole."""
        columns = {name: getattr(self, name).tolist() for name in ("temperature_K", "bias_K", "threshold_K")}
        labels = [
            {"name": name, "temperature": t, "bias": b, "threshold": h}
            for name, t, b, h in zip(self.names, *columns.values(), strict=True)
        ]
        write(path, json.dumps({"formula": "sigmoid(logit / temperature + bias)", "labels": labels}, indent=1))

    @classmethod
    def load(cls, path: Path, names: Sequence[str] | None = None) -> "Calibration":
        """Read what `save` wrote; raise ValueError where it is damaged, or not for the labels `names` in this order."""
        try:
            labels = json.loads(path.read_text())["labels"]
            columns = {key: [label[key] for label in labels] for key in ("name", "temperature", "bias", "threshold")}
            numbers = [np.array(columns[key], dtype=np.float64) for key in ("temperature", "bias", "threshold")]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a calibration file ({error!r}); calibrate the model again") from None
        if names is not None and tuple(columns["name"]) != tuple(names):
            raise ValueError(f"{path} is for other labels than the model's; calibrate the model again")
        return cls(tuple(columns["name"]), *numbers)


def fit_calibration(logits_NK: np.ndarray, labels_NK: np.ndarray, names: Sequence[str]) -> Calibration:
    """Fit temperatures, biases and thresholds on tuning subjects.

    logits: any real numbers [N, K].  labels: 0 or 1.  Without a row, temperature 1 and threshold 0.5.  Raises
    ValueError where shapes differ or a logit is not finite.
    """
    if logits_NK.shape != labels_NK.shape or logits_NK.shape[1] != len(names):
        raise ValueError(
            f"logits {logits_NK.shape}, labels {labels_NK.shape} and {len(names)} names do not fit together"
        )
    if not np.isfinite(logits_NK).all():
        raise ValueError("some tuning logits are not finite: the model has diverged")
    logits_NK = logits_NK.astype(np.float64)
    common = fit_temperature(logits_NK, labels_NK)
    temperature_K, bias_K = np.full(len(names), common), np.zeros(len(names))
    for k in range(len(names)):
        positives = labels_NK[:, k].sum()
        if min(positives, len(labels_NK) - positives) >= MIN_CASES:
            temperature_K[k], bias_K[k] = fit_label(logits_NK[:, k], labels_NK[:, k], common)
    threshold_K = fit_thresholds(sigmoid(logits_NK / temperature_K + bias_K), labels_NK)
    return Calibration(tuple(names), temperature_K, bias_K, threshold_K)


def fit_temperature(logits_NK: np.ndarray, labels_NK: np.ndarray) -> float:
    """Find the one temperature that minimises the cross-entropy over all cells; 1 where there is nothing to fit on."""
    if labels_NK.size == 0 or labels_NK.min() == labels_NK.max():
        return 1.0
    best = minimize_scalar(
        lambda log_t: cross_entropy(logits_NK * np.exp(-log_t), labels_NK),
        bounds=(np.log(LEAST_TEMPERATURE), np.log(MOST_TEMPERATURE)),
        method="bounded",
    )
    return float(np.exp(best.x))


def fit_label(logits_N: np.ndarray, labels_N: np.ndarray, common: float, *, pull: float = PULL) -> tuple[float, float]:
    """Fit temperature and bias of one label: minimise the summed cross-entropy + pull/2 * ((common/T - 1)^2 + bias^2).

    It is convex in 1 / T and bias; L-BFGS keeps T within its bounds.
    """

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        slope, shift = x[0] / common, x[1]
        excess_N = sigmoid(slope * logits_N + shift) - labels_N
        value = len(labels_N) * cross_entropy(slope * logits_N + shift, labels_N)
        value += pull / 2 * ((x[0] - 1) ** 2 + shift**2)
        return value, np.array([excess_N @ logits_N / common + pull * (x[0] - 1), excess_N.sum() + pull * shift])

    slopes = (common / MOST_TEMPERATURE, common / LEAST_TEMPERATURE)
    best = minimize(loss, x0=(1.0, 0.0), jac=True, method="L-BFGS-B", bounds=(slopes, (None, None)))
    return float(common / best.x[0]), float(best.x[1])


def fit_thresholds(probabilities_NK: np.ndarray, labels_NK: np.ndarray) -> np.ndarray:
    """Find the threshold of every label that maximises F1, [K]; 0.5 where a label never occurs."""
    pairs = zip(probabilities_NK.T, labels_NK.T, strict=True)
    return np.array([best_threshold(p_N, y_N) if y_N.any() else 0.5 for p_N, y_N in pairs])


def best_threshold(probabilities_N: np.ndarray, labels_N: np.ndarray) -> float:
    """Find where F1 = 2 TP / (called + positives) is largest: the highest place, halfway down to the next score."""
    order_N = np.argsort(-probabilities_N, kind="stable")
    p_N, hits_N = probabilities_N[order_N], np.cumsum(labels_N[order_N])
    f1_N = 2 * hits_N / (np.arange(1, len(p_N) + 1) + hits_N[-1])
    last_of_tie_N = np.append(p_N[1:] != p_N[:-1], True)
    best = int(np.argmax(np.where(last_of_tie_N, f1_N, -1)))
    below = p_N[best + 1] if best + 1 < len(p_N) else 0.0
    return float((p_N[best] + below) / 2)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of log(1 + e^z) - y z."""
    return float(np.mean(np.logaddexp(0, logits) - labels * logits))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^-z) without overflow."""
    return np.exp(-np.logaddexp(0, -logits))
