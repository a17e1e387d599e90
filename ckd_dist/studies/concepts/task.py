"""The two tasks of the third study: a case's outcomes from its concepts, and a large model's vector of a phrase.

a case:    unit = case, column = outcome (and, for the adversarial regime, which site it is of)
a phrase:  unit = phrase, column = a number of its vector
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ckd_dist.engine.task import Batch
from ckd_dist.models.losses import hard_loss, space_loss
from ckd_dist.models.rows import Tokens, pad
from ckd_dist.studies.concepts.cases.cases import Cases
from ckd_dist.studies.concepts.tables import unit


class CaseTask:
    """Outcomes of cases.

    target_site: for the adversary, whose last column is whether a case is of that site; outcomes of its cases do not
    count.
    """

    def __init__(self, cases: Cases, target_site: str | None = None) -> None:
        self.cases = cases
        self.foreign_N = None if target_site is None else (cases.site_N == target_site).astype(np.float32)

    @property
    def num_columns(self) -> int:
        """Count the outcomes, and the adversary's column."""
        return len(self.cases.names) + (self.foreign_N is not None)

    def collate(self, rows: Sequence[int]) -> Batch:
        """Return cases padded on the right to the longest of them."""
        rows = np.asarray(rows)
        ids_BL = self.cases.ids_NL[rows, : max(1, int(self.cases.length_N[rows].max()))]
        ids_BL = torch.from_numpy(ids_BL.astype(np.int64))
        hard_UK, ones_U = torch.from_numpy(self.cases.outcomes_NK[rows]), torch.ones(len(rows))
        labelled_U = ones_U
        if self.foreign_N is not None:
            foreign_U = torch.from_numpy(self.foreign_N[rows])
            hard_UK, labelled_U = torch.cat([hard_UK, foreign_U[:, None]], 1), 1 - foreign_U
        return Batch(ids_BL, (ids_BL > 0).long(), hard_UK, None, labelled_U, ones_U)

    def loss(self, logits_UK: Tensor, batch: Batch) -> Tensor:
        """Return the sum over cases of the mean over outcomes of BCE, plus the adversary's."""
        if self.foreign_N is None:
            return hard_loss(logits_UK, batch.hard_UK, batch.labelled_U * batch.mask_U)
        outcomes = hard_loss(logits_UK[:, :-1], batch.hard_UK[:, :-1], batch.labelled_U * batch.mask_U)
        return outcomes + hard_loss(logits_UK[:, -1:], batch.hard_UK[:, -1:], batch.mask_U)


@dataclass(frozen=True)
class SpaceWeights:
    """What the terms of the loss weigh: the vectors themselves, and their relations to the anchors."""

    cosine_weight: float
    relation_weight: float


class SpaceTask:
    """A large model's vectors of phrases, for a small encoder to learn."""

    def __init__(
        self, tokens: Tokens, pad_id: int, vectors_NK: np.ndarray, anchors_AK: np.ndarray, weights: SpaceWeights
    ) -> None:
        self.tokens, self.pad_id, self.vectors_NK, self.terms = tokens, pad_id, vectors_NK, weights
        self.anchors_AK = torch.from_numpy(anchors_AK)

    @property
    def lengths(self) -> np.ndarray:
        """Count the tokens of each phrase, int64 [N]."""
        return np.asarray(self.tokens.lengths)

    @property
    def weights(self) -> np.ndarray:
        """Weigh every phrase the same."""
        return np.ones(len(self.vectors_NK))

    def collate(self, rows: Sequence[int]) -> Batch:
        """Return phrases padded on the right to the longest; no rows: the empty slot."""
        if len(rows) == 0:
            ids_BL, attention_BL = torch.full((1, 1), self.pad_id), torch.ones(1, 1, dtype=torch.int64)
            soft_UK, mask_U = torch.ones(1, self.vectors_NK.shape[1]), torch.zeros(1)
        else:
            ids_BL, attention_BL = pad([self.tokens.row(row) for row in rows], self.pad_id)
            soft_UK, mask_U = torch.from_numpy(self.vectors_NK[np.asarray(rows)]), torch.ones(len(rows))
        return Batch(ids_BL, attention_BL, torch.zeros_like(soft_UK), soft_UK, torch.zeros_like(mask_U), mask_U)

    def loss(self, logits_UK: Tensor, batch: Batch) -> Tensor:
        """Return the sum over phrases: vectors alike, and alike in their relations to the anchors."""
        self.anchors_AK = self.anchors_AK.to(logits_UK.device)
        return space_loss(
            logits_UK,
            batch.soft_UK,
            batch.mask_U,
            self.anchors_AK,
            cosine_weight=self.terms.cosine_weight,
            relation_weight=self.terms.relation_weight,
        )

    def metrics(self, rows: np.ndarray, logits_UK: np.ndarray) -> dict[str, float]:
        """Return cosine, mean over phrases, and nearest: the share whose nearest anchor is the large model's too."""
        teacher_UK = self.vectors_NK[rows]
        anchors_AK = unit(self.anchors_AK.cpu().numpy())
        near, wanted = ((unit(vectors) @ anchors_AK.T).argmax(1) for vectors in (logits_UK, teacher_UK))
        return {
            "cosine": float((unit(logits_UK) * unit(teacher_UK)).sum(1).mean()),
            "nearest": float((near == wanted).mean()),
        }
