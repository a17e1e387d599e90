"""CKD-EHR's own way of labelling and of training its student, written again from what its published scripts do.

Sources: 209506702/CKD_EHR, hands.py and main.py.  Labelling: one sample a call through the causal language model, all
hidden states kept, logits of the whole vocabulary, then a linear head on the last token's last state, garbage collected
after every sample.  Student: every text padded to 512 word pieces, batches of 8, Adam, no autocast.
"""

import gc
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits
from transformers import PreTrainedModel


@torch.no_grad()
def label(causal_lm: PreTrainedModel, head: nn.Linear, rows: list[np.ndarray], *, collect: bool) -> np.ndarray:
    """Probabilities [N, K], one row a call."""
    probabilities = []
    for row in rows:
        ids_1L = torch.as_tensor(row.astype(np.int64))[None]
        output = causal_lm(input_ids=ids_1L, attention_mask=torch.ones_like(ids_1L), output_hidden_states=True)
        last_1D = output.hidden_states[-1][:, -1, :]
        probabilities.append(torch.sigmoid(head(last_1D).float())[0].tolist())
        del output
        if collect:
            torch.cuda.empty_cache()
            gc.collect()
    return np.array(probabilities)


def pad_all(rows: list[np.ndarray], pad_id: int, length: int = 512) -> tuple[Tensor, Tensor]:
    """Everything to one length, whatever it needs."""
    ids = torch.full((len(rows), length), pad_id)
    attention = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        cut = row[:length]
        ids[i, : len(cut)] = torch.as_tensor(cut.astype(np.int64))
        attention[i, : len(cut)] = 1
    return ids, attention


def student_epoch(
    model: PreTrainedModel,
    rows: list[np.ndarray],
    hard_NK: np.ndarray,
    soft_NK: np.ndarray,
    pad_id: int,
    alpha: float = 0.9,
) -> Iterator[float]:
    """One epoch in batches of 8, a loss a step.  soft_NK: probabilities."""
    ids, attention = pad_all(rows, pad_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-5)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(42))
    model.train()
    for batch in order.split(8):
        logits = model(input_ids=ids[batch], attention_mask=attention[batch]).logits
        hard = binary_cross_entropy_with_logits(logits, torch.as_tensor(hard_NK)[batch])
        soft = binary_cross_entropy(torch.sigmoid(logits), torch.as_tensor(soft_NK)[batch])
        loss = alpha * hard + (1 - alpha) * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()
