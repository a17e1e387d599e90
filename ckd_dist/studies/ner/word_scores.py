"""Log-probabilities of every word's tags, fast: what labelers, evaluation and `annotate` run.

    W windows, B windows of a batch, L tokens, U units, K columns

Windows go longest first in batches of a token budget, as in models/predict.py, so padding is small and the largest
batch comes first.  The result is in the order of the words, whichever window each was read in.
"""

from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ckd_dist.models.budget import batches
from ckd_dist.models.rows import pad
from ckd_dist.models.wrapper import Wrapper


class WordWindows(Protocol):
    """Rows of token ids, and where in them words are, as windows.Windows has them."""

    unit_offsets_W1: np.ndarray  # window i owns words unit_offsets_W1[i] to unit_offsets_W1[i + 1]
    first_U: np.ndarray  # place of a word's first sub-word in its window
    last_U: np.ndarray  # of its last

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of every window, int64 [W]."""
        ...

    def row(self, i: int) -> np.ndarray:
        """Return the token ids of window i."""
        ...


@torch.inference_mode()
def predict_units(
    model: Wrapper,
    windows: WordWindows,
    *,
    micro_tokens: int,
    pad_id: int,
    device: torch.device | str = "cpu",
    position: Literal["first", "last"] = "first",
) -> np.ndarray:
    """Return log-probabilities of the tags of all words in order, float32 [U, K].

    micro_tokens: padded tokens of a forward pass.  position: the sub-word that a word is read at.
    """
    if model.kind != "tags":
        raise ValueError(f"the model's head is for {model.kind}, not for tags of words")
    place_U, offsets = windows.first_U if position == "first" else windows.last_U, windows.unit_offsets_W1
    if offsets[0] != 0 or offsets[-1] != len(place_U):
        raise ValueError(f"the windows own words {offsets[0]} to {offsets[-1]}, but {len(place_U)} words have a place")
    was_training = model.training
    model.eval()
    order = np.argsort(-windows.lengths, kind="stable")
    score_UK = torch.empty(len(place_U), model.plain.config.num_labels, device=device)
    for part in batches(windows.lengths[order], micro_tokens):
        mine = order[part]
        ids_BL, attention_BL = pad([windows.row(i) for i in mine], pad_id)
        word_U = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in mine])
        row_U = np.repeat(np.arange(len(mine)), offsets[mine + 1] - offsets[mine])
        units_U2 = torch.from_numpy(np.stack([row_U, place_U[word_U]], 1).astype(np.int64))
        batch = (tensor.to(device, non_blocking=True) for tensor in (ids_BL, attention_BL, units_U2))
        score_UK[torch.from_numpy(word_U).to(device)] = log_probabilities(model, model(*batch))
    model.train(was_training)
    return score_UK.cpu().numpy()


def log_probabilities(model: Wrapper, logits_UK: Tensor) -> Tensor:
    """Return log-probabilities over the columns; a CRF's logits are such already."""
    return logits_UK if model.crf is not None else logits_UK.log_softmax(1)
