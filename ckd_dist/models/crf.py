"""A linear-chain CRF over the words of each row, read as log-marginals, so that it is one more head and nothing else.

    B rows, W words of the longest row, U units, K columns

Usually a CRF is trained by the likelihood of a whole tag sequence and read by Viterbi.  Here it gives every word's own
log p(tag | row), by forward-backward: the losses, soft labels and decoding of any tagger then serve, and a word
without a human tag can learn from a soft one.  An I after anything but the B or I of its type is barred; a row may
start with one, because a window may open inside a mention.

Costs 2 W small steps one after the other: 40 ms for 32 rows of 250 words on one core, and 60 ms for their gradient.
Left out: a score for a row's last tag, which means nothing where rows are windows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CRF_FILE = "crf.safetensors"  # beside the model's own, which plain transformers loads without it
BARRED = -100.0  # added to a step that cannot be: no evidence outweighs it, and logs and gradients stay finite


class LinearChain(nn.Module):
    """Learned scores of a row's first tag and of every step from tag to tag; zero at first."""

    def __init__(self, tag_names: Sequence[str]) -> None:
        super().__init__()
        self.start_K = nn.Parameter(torch.zeros(len(tag_names)))
        self.step_KK = nn.Parameter(torch.zeros(len(tag_names), len(tag_names)))
        self.register_buffer("barred_KK", barred_steps(tag_names), persistent=False)

    def forward(self, emission_UK: Tensor, units_U2: Tensor) -> Tensor:
        """Return log-marginals of every unit, [U, K], in their order.  Units of a row are chained by position."""
        if len(units_U2) == 0:
            return emission_UK
        row_U, position_U = units_U2.unbind(1)
        count_B = torch.bincount(row_U)
        order_U = torch.argsort(row_U * (position_U.max() + 1) + position_U, stable=True)
        word_U = torch.empty_like(order_U)  # which word of its row a unit is
        word_U[order_U] = (
            torch.arange(len(order_U), device=row_U.device) - (count_B.cumsum(0) - count_B)[row_U[order_U]]
        )
        emission_BWK = emission_UK.new_zeros(len(count_B), int(count_B.max()), emission_UK.shape[1])
        emission_BWK = emission_BWK.index_put((row_U, word_U), emission_UK)
        present_BW = torch.arange(emission_BWK.shape[1], device=row_U.device) < count_B.unsqueeze(1)
        marginal_BWK = log_marginals(emission_BWK, present_BW, self.start_K, self.step_KK + self.barred_KK)
        return marginal_BWK[row_U, word_U] + 0 * self.step_KK.sum()  # DDP waits for a gradient, even of one-word rows

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write `weights`, tensors under the names of its state dict, into `folder`."""
        own = self.state_dict()
        if lost := sorted(own.keys() - weights.keys()):
            raise ValueError(f"export: {len(lost)} tensors of the CRF were not handed over, first {lost[0]}")
        save_file({name: weights[name].detach().to("cpu", own[name].dtype) for name in own}, folder / CRF_FILE)

    def load(self, folder: Path) -> "LinearChain":
        """Take over what `save` wrote.  Raises ValueError where it is not there or is of other tags."""
        if not (folder / CRF_FILE).is_file():
            raise ValueError(f"model {folder.name}: its config names a CRF, but {CRF_FILE} is not in the folder")
        saved = load_file(folder / CRF_FILE)
        if {name: tensor.shape for name, tensor in saved.items()} != {n: p.shape for n, p in self.named_parameters()}:
            raise ValueError(f"model {folder.name}: {CRF_FILE} is of another number of tags")
        self.load_state_dict(saved)
        return self


def barred_steps(tag_names: Sequence[str]) -> Tensor:
    """Return BARRED where an I would follow neither B nor I of its type, else 0: float32 [K, K], from row to column."""
    allowed = [[not to.startswith("I-") or came[1:] == to[1:] for to in tag_names] for came in tag_names]
    return torch.where(torch.tensor(allowed), 0.0, BARRED)


def log_marginals(emission_BWK: Tensor, present_BW: Tensor, start_K: Tensor, step_KK: Tensor) -> Tensor:
    """Return log p(tag k of word w | row), [B, W, K], of p(tags) ~ exp(start + sum of emissions + sum of steps).

    present_BW: True on the words of a row, which come first.  Rabiner 1989, eq. 19 to 27, in logarithms.
    """
    num_words = emission_BWK.shape[1]
    ahead_BK, behind_BK = start_K + emission_BWK[:, 0], torch.zeros_like(emission_BWK[:, 0])
    ahead, behind = [ahead_BK], [behind_BK]
    for w in range(1, num_words):
        came_BK = torch.logsumexp(ahead_BK.unsqueeze(2) + step_KK, 1) + emission_BWK[:, w]
        ahead_BK = torch.where(present_BW[:, w : w + 1], came_BK, ahead_BK)
        ahead.append(ahead_BK)
    for w in range(num_words - 1, 0, -1):
        goes_BK = torch.logsumexp(step_KK + (emission_BWK[:, w] + behind_BK).unsqueeze(1), 2)
        behind_BK = torch.where(present_BW[:, w : w + 1], goes_BK, behind_BK)
        behind.append(behind_BK)
    total_B11 = torch.logsumexp(ahead_BK, 1)[:, None, None]
    return torch.stack(ahead, 1) + torch.stack(behind[::-1], 1) - total_B11
