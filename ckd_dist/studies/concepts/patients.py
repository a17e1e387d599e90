"""Patient models: from the concepts of a case to its outcomes.  Small, and never the owner of the vectors they read.

    V concepts (row i of the vocabulary is id i + 1, 0 is padding), B cases, L concepts in a case, U different concepts
    of a batch, D width of a vector, F filters, K outcomes

The first layer depends on a concept alone, so it is computed once for each of the U different concepts of a batch, and
a set is pooled over [B, U] or by row numbers: what a case costs is its share of the vocabulary, not its length times D.
The published model (Gao et al. 2024: a convolution of kernel 1 and 100 filters, ReLU, the maximum over findings,
dropout, a linear layer) is `max`.  A case with no concept is all zeros before the last layer.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from ckd_dist.models.seeded import seeded
from ckd_dist.studies.concepts.pools import POOLS, PatientOptions
from ckd_dist.studies.concepts.regimes import Regime
from ckd_dist.studies.concepts.tables import draw

CODES, CODE_KEYS = "reads.first.weight", "reads.first.keys"
THAWED, THAWED_HASH = "reads.rows", "reads.frozen_hash"
FIRST_CODE = 0.02  # standard deviation of a code's first vector: PyTorch's for a linear layer over a thousand codes


@dataclass(frozen=True, eq=False)
class Vectors:
    """Frozen vectors of the vocabulary, float32 [V, D], scaled (whiten.py)."""

    vectors_VD: np.ndarray


@dataclass(frozen=True, eq=False)
class Codes:
    """No vectors: each key learns one of its own.

    A code that no training case has is not there for the model: a case is read as if it were not in it.
    """

    keys_V: np.ndarray  # int64
    seen_V: np.ndarray  # bool: in a training case of the model
    seed: int = 0


def build_patient(
    options: PatientOptions,
    num_outcomes: int,
    reads: Vectors | Codes,
    seed: int,
    adversary_weight: float | None = None,
) -> "Patient":
    """Build a fresh model, its weights a function of `seed` (and of a code's key); the global random state is kept.

    adversary_weight: a last column is the logit of being a case of the target, and what it learns reaches the layers
    below reversed, times this (Ganin and Lempitsky 2015); None: no such column.
    """
    if options.kind == "transformer" and options.filters % options.heads:
        raise ValueError(f"filters={options.filters} of a transformer cannot be shared by heads={options.heads}")
    with seeded(seed):
        first = CodeVectors(reads, options.filters, seed) if isinstance(reads, Codes) else Projection(reads, options)
        return Patient(options, num_outcomes, first, adversary_weight)


class Patient(nn.Module):
    """A patient model of any kind."""

    def __init__(
        self,
        options: PatientOptions,
        num_outcomes: int,
        reads: "Projection | CodeVectors",
        adversary_weight: float | None,
    ) -> None:
        super().__init__()
        self.reads = reads
        self.pool = POOLS[options.kind](options)
        self.dropout = nn.Dropout(options.dropout)
        self.classifier = nn.Linear(options.filters, num_outcomes)
        self.adversary_weight = adversary_weight
        if adversary_weight is not None:
            self.site = nn.Sequential(
                nn.Linear(options.filters, options.filters), nn.ReLU(), nn.Linear(options.filters, 1)
            )

    def forward(self, input_ids_BL: Tensor, attention_BL: Tensor, units_U2: Tensor | None = None) -> Tensor:
        """Return logits [B, K], or [B, K + 1] with an adversary.  units_U2: not used, a unit is a case."""
        ids_BL = input_ids_BL * self.reads.present(input_ids_BL, attention_BL)
        padding = ids_BL.new_zeros(1)  # so that row 0 of the batch's concepts is always padding
        ids_U, row_N = torch.unique(torch.cat([padding, ids_BL.flatten()]), return_inverse=True)
        case_BF = self.pool(self.reads(ids_U), row_N[1:].view_as(ids_BL))
        logits_BK = self.classifier(self.dropout(case_BF))
        if self.adversary_weight is None:
            return logits_BK
        return torch.cat([logits_BK, self.site(reverse(case_BF, self.adversary_weight))], 1)


class Projection(nn.Module):
    """Frozen vectors and a linear layer.  The vectors are in no state dict; thawed, they are a parameter."""

    def __init__(self, reads: Vectors, options: PatientOptions) -> None:
        super().__init__()
        vectors_VD = torch.as_tensor(np.asarray(reads.vectors_VD, np.float32))
        rows = torch.cat([torch.zeros(1, vectors_VD.shape[1]), vectors_VD])
        self.register_buffer("rows", rows, persistent=False)  # row 0: padding
        self._hash: Tensor | None = None  # of the vectors before they were thawed
        self.first = nn.Linear(vectors_VD.shape[1], options.filters)

    @property
    def is_thawed(self) -> bool:
        """Say whether the vectors are learned too."""
        return isinstance(self.rows, nn.Parameter)

    def present(self, ids_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """Return 1 where a concept counts: everywhere but on padding."""
        return attention_BL

    def forward(self, ids_U: Tensor) -> Tensor:
        """Return the first layer of every concept, float32 [U, F]."""
        return self.first(embedding(ids_U, self.rows))

    def thaw(self) -> None:
        """Make the vectors a parameter: a copy, this model's own.  Doing it again changes nothing."""
        if not self.is_thawed:
            rows, self._hash = self.rows, self.frozen_hash()
            del self.rows
            self.rows = nn.Parameter(rows.clone())

    def frozen_hash(self) -> Tensor:
        """Return the sha256 of the vectors as they were given, uint8 [32]."""
        if self._hash is not None:
            return self._hash
        digest = hashlib.sha256(self.rows.detach().cpu().numpy().tobytes()).digest()
        return torch.tensor(list(digest), dtype=torch.uint8)


class CodeVectors(nn.Module):
    """A learned vector for every code; row 0 is padding, and a code that was not seen counts as padding."""

    def __init__(self, codes: Codes, num_filters: int, seed: int) -> None:
        super().__init__()
        first_VF = FIRST_CODE * draw(codes.keys_V, num_filters, seed) * np.asarray(codes.seen_V, bool)[:, None]
        self.first = nn.Embedding.from_pretrained(
            torch.cat([torch.zeros(1, num_filters), torch.as_tensor(first_VF)]), freeze=False
        )
        seen = torch.cat([torch.zeros(1, dtype=torch.bool), torch.as_tensor(np.asarray(codes.seen_V, bool))])
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("keys", torch.as_tensor(np.asarray(codes.keys_V, np.int64)), persistent=False)

    def present(self, ids_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """Return 1 where a code counts: one that was seen."""
        return attention_BL * self.seen[ids_BL]

    def forward(self, ids_U: Tensor) -> Tensor:
        """Return the vector of every code, float32 [U, F]."""
        return self.first(ids_U)


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, weight: float) -> Tensor:
        """Return the value; keep the weight for the way back."""
        ctx.weight = weight
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient, reversed and weighted."""
        return -ctx.weight * gradient, None


def reverse(value: Tensor, weight: float) -> Tensor:
    """Return the same value; its gradient is reversed and multiplied by `weight`."""
    return _Reverse.apply(value, weight)


def choose_trainable(model: Patient, regime: Regime) -> list[str]:
    """Let exactly the parameters that `regime` names be trained, and return their names, in order."""
    if regime == "thawed":
        thaw(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(regime != "shared" and (regime != "frozen" or name.startswith("classifier.")))
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def thaw(model: Patient) -> None:
    """Make a copy of the model's vectors a parameter of it; nothing to do where it reads codes."""
    if isinstance(model.reads, Projection):
        model.reads.thaw()


def weights_of(model: Patient) -> dict[str, Tensor]:
    """Copy all that was learned to the CPU: what is saved, and what another model starts from.

    Never the table.  Vectors of codes go by key, those that were seen; thawed vectors with a hash of what they were.
    """
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    if isinstance(model.reads, CodeVectors):
        seen_V = model.reads.seen[1:].cpu()
        weights[CODE_KEYS] = model.reads.keys.cpu()[seen_V]
        weights[CODES] = weights[CODES][1:][seen_V]
    elif model.reads.is_thawed:
        weights[THAWED_HASH] = model.reads.frozen_hash()
    return weights


def load_weights(model: Patient, weights: Mapping[str, Tensor]) -> None:
    """Load into `model` what `weights_of` took from another.

    Codes meet by key: a code that only this vocabulary has stays as it is, and one that the weights bring counts as
    seen from here on.  Raises ValueError where the two are not of one kind and shape, or vectors were thawed that are
    not this model's.
    """
    given, own = dict(weights), model.state_dict()
    frozen_hash, keys_S, row_S = given.pop(THAWED_HASH, None), given.pop(CODE_KEYS, None), None
    if keys_S is not None and isinstance(model.reads, CodeVectors) and given[CODES].shape[1:] == own[CODES].shape[1:]:
        place = {key: row for row, key in enumerate(model.reads.keys.tolist(), 1)}
        known_S = torch.tensor([key in place for key in keys_S.tolist()], dtype=torch.bool)
        row_S = torch.tensor([place[key] for key in keys_S.tolist() if key in place], dtype=torch.int64)
        given[CODES] = own[CODES].cpu().index_copy(0, row_S, given[CODES][known_S])
    if frozen_hash is not None and isinstance(model.reads, Projection):
        if not torch.equal(frozen_hash, model.reads.frozen_hash()):
            raise ValueError("the vectors of the weights were thawed from another table: load them where that table is")
        own = own | {THAWED: model.reads.rows}
    if {n: t.shape for n, t in given.items()} != {n: t.shape for n, t in own.items()}:
        differ = sorted(set(given) ^ set(own)) or sorted(n for n in own if given[n].shape != own[n].shape)
        raise ValueError(f"the weights are of another patient model: {', '.join(differ)} do not fit")
    if frozen_hash is not None:
        model.reads.thaw()
    if row_S is not None:
        model.reads.seen[row_S] = True
    model.load_state_dict(given)
