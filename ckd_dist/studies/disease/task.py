"""Learn the diseases of the next visit: a unit is an admission, a column a disease."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from ckd_dist.engine.task import Batch, label_loss
from ckd_dist.models.losses import Mixing, mixed_loss
from ckd_dist.models.rows import Tokens, pad
from ckd_dist.report.calibrate import cross_entropy
from ckd_dist.report.metrics import macro_ranking


class DiseaseTask:
    """Multi-label classification of rows of tokens, from hard labels, a teacher's logits, or both."""

    def __init__(
        self,
        tokens: Tokens,
        pad_id: int,
        hard_NK: np.ndarray,
        labelled_N: np.ndarray,
        soft_NK: np.ndarray | None,
        mixing: Mixing,
        unlabelled_weight: float = 1.0,
    ) -> None:
        """hard_NK: 0 or 1, anything where labelled_N is 0.  soft_NK: raw logits; none: learn from hard labels alone.

        unlabelled_weight: what a row whose labelled_N is 0 weighs, beside a labelled one's 1.
        """
        for name, table in (("hard_NK", hard_NK), ("labelled_N", labelled_N), ("soft_NK", soft_NK)):
            if table is not None and len(table) != len(tokens.lengths):
                raise ValueError(f"{name} has {len(table)} rows, the token table {len(tokens.lengths)}")
        self.tokens = tokens
        self.pad_id = pad_id
        self.hard_NK = hard_NK
        self.labelled_N = labelled_N
        self.soft_NK = soft_NK
        self.mixing = mixing
        self.unlabelled_weight = unlabelled_weight

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each row, int64 [N]."""
        return np.asarray(self.tokens.lengths)

    @cached_property
    def weights(self) -> np.ndarray:
        """Return what each row adds to its step's weight, float64 [N]: 0 where it has neither hard nor soft labels."""
        labelled_N = np.asarray(self.labelled_N, np.float64)
        return labelled_N if self.soft_NK is None else np.where(labelled_N > 0, 1.0, self.unlabelled_weight)

    def collate(self, rows: Sequence[int]) -> Batch:
        """Pad rows on the right to their longest; return the empty slot for no rows."""
        if len(rows) == 0:
            return self._empty()
        rows = np.asarray(rows)
        return self._batch(rows, *pad([self.tokens.row(row) for row in rows], self.pad_id))

    def loss(self, logits_UK: Tensor, batch: Batch) -> Tensor:
        """Return the mixed loss summed over units; without soft labels, plain BCE on the labelled units."""
        return label_loss(mixed_loss, logits_UK, batch, self.mixing)

    def mean_loss(self, logits_NK: np.ndarray) -> float:
        """Return the loss, a unit of weight, of predictions for all rows in order; NaN where no row weighs anything."""
        no_tokens = torch.zeros(len(logits_NK), 0, dtype=torch.int64)  # a loss reads none
        batch = self._batch(np.arange(len(logits_NK)), no_tokens, no_tokens)
        loss = self.loss(torch.as_tensor(logits_NK), batch)
        return float(loss) / total if (total := float(self.weights.sum())) else float("nan")

    def metrics(self, rows: np.ndarray, logits_UK: np.ndarray) -> dict[str, float]:
        """Return macro_auroc, macro_auprc, micro_f1 (at 0.5) and log_loss of labelled rows; NaN where there is none.

        Macros leave out labels of one class; log_loss is the mean over all cells, in nats.  Raises ValueError where a
        logit is not finite.
        """
        known = np.asarray(self.labelled_N)[rows] > 0
        hard, logits = np.asarray(self.hard_NK)[rows][known], logits_UK[known]
        if not np.isfinite(logits).all():
            raise ValueError("some tuning logits are not finite: the model has diverged")
        macro_auroc, macro_auprc = macro_ranking(hard, logits)
        log_loss = cross_entropy(logits.astype(np.float64), hard) if len(hard) else float("nan")
        nothing = np.isnan(macro_auroc)
        micro_f1 = float("nan") if nothing else float(f1_score(hard.ravel(), logits.ravel() > 0, zero_division=0))
        return {"macro_auroc": macro_auroc, "macro_auprc": macro_auprc, "micro_f1": micro_f1, "log_loss": log_loss}

    def _batch(self, rows: np.ndarray, input_ids_BL: Tensor, attention_BL: Tensor) -> Batch:
        """Return these tokens with the labels of `rows`."""
        return Batch(
            input_ids_BL=input_ids_BL,
            attention_BL=attention_BL,
            hard_UK=torch.as_tensor(self.hard_NK[rows], dtype=torch.float32),
            soft_UK=None if self.soft_NK is None else torch.as_tensor(self.soft_NK[rows], dtype=torch.float32),
            labelled_U=torch.as_tensor(self.labelled_N[rows], dtype=torch.float32),
            mask_U=torch.as_tensor(self.weights[rows], dtype=torch.float32),
        )

    def _empty(self) -> Batch:
        """Return a row of one pad token that weighs nothing."""
        shape = (1, self.hard_NK.shape[1])
        return Batch(
            input_ids_BL=torch.full((1, 1), self.pad_id),
            attention_BL=torch.ones(1, 1, dtype=torch.int64),
            hard_UK=torch.zeros(shape),
            soft_UK=None if self.soft_NK is None else torch.zeros(shape),
            labelled_U=torch.zeros(1),
            mask_U=torch.zeros(1),
        )
