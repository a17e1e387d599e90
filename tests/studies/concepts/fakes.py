"""Small synthetic cases and patient models for the tests of this study."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ckd_dist.studies.concepts.config import PatientModel
from ckd_dist.studies.concepts.patients import Codes, Patient, Vectors, build_patient, choose_trainable

# V concepts, B cases, L concepts in a case, K outcomes, D width of a vector
V, D, K = 13, 5, 2
KINDS = ("max", "mean", "attention", "transformer")
KEYS_V = np.random.default_rng(9).integers(-(2**62), 2**62, size=V)


def settings(kind: str, dropout: float = 0.5) -> PatientModel:
    return PatientModel(kind=kind, filters=6, dropout=dropout, layers=2, heads=2)


def vectors(seed: int = 0) -> Vectors:
    return Vectors(np.random.default_rng(seed).normal(size=(V, D)).astype(np.float32))


def codes(seen: list[int] | None = None) -> Codes:
    seen_V = np.ones(V, bool) if seen is None else np.isin(np.arange(V), seen)
    return Codes(KEYS_V, seen_V)


def padded(cases: list[list[int]], length: int | None = None) -> tuple[Tensor, Tensor]:
    """ids_BL and attention_BL of cases of rows of the vocabulary."""
    length = length or max(1, *map(len, cases))
    ids_BL = torch.tensor([[row + 1 for row in case] + [0] * (length - len(case)) for case in cases])
    return ids_BL, (ids_BL > 0).long()


def random_cases(num: int, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.choice(V, size=random.integers(1, 7), replace=False).tolist() for _ in range(num)]


def logits(model: Patient, cases: list[list[int]]) -> Tensor:
    with torch.no_grad():
        return model.eval()(*padded(cases))


def train(model: Patient, seed: int, num_steps: int = 4) -> None:
    """A few steps of Adam on whatever is trainable, all randomness from `seed`."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for step in range(num_steps):
        torch.manual_seed(seed + step)
        out_BK = model.train()(*padded(random_cases(20, seed + step)))
        loss = binary_cross_entropy_with_logits(out_BK, torch.randint(0, 2, out_BK.shape).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def trained(kind: str, reads: Vectors | Codes, seed: int = 0) -> Patient:
    model = build_patient(settings(kind), K, reads, seed)
    choose_trainable(model, "local")
    train(model, seed)
    return model
