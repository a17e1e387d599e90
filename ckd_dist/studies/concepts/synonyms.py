"""Teach a tiny model which phrases mean the same, as a large model knows from reading.

Both phrases of a pair shall be nearer to each other than to any other phrase of the batch (InfoNCE, as Liu et al. 2021
teach synonyms of UMLS to an encoder; temperature as there).  For models that are made on the spot alone: a pretrained
one is read as it is.  The training loop is one of its own: some seconds in one process, with neither checkpoints nor an
engine, and so nothing to resume.

    B pairs, D width
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from ckd_dist.models.backbone import load_backbone
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.pooling import POOLINGS
from ckd_dist.models.rows import pad
from ckd_dist.models.tiny import save_tiny

TEMPERATURE = 0.05
BATCH = 64
LEARNING_RATE = 2e-3


def teach_synonyms(folder: Path, pairs: Sequence[tuple[str, str]], pooling: str, epochs: int, seed: int) -> float:
    """Train the model in `folder` on pairs of phrases, in place; return the last epoch's mean loss.

    pooling: mean, cls or last, as it will be read.  Same arguments, same bytes.
    """
    tokenizer, backbone = load_tokenizer(folder), load_backbone(folder)
    ids = [[np.array(row) for row in tokenizer([pair[side] for pair in pairs])["input_ids"]] for side in (0, 1)]
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=LEARNING_RATE)
    random, mean_loss = np.random.default_rng(seed), float("nan")

    def vectors(side: int, rows: np.ndarray) -> torch.Tensor:
        ids_BL, attention_BL = pad([ids[side][row] for row in rows], tokenizer.pad_token_id)
        hidden_BLD = backbone(input_ids=ids_BL, attention_mask=attention_BL).last_hidden_state
        return normalize(POOLINGS[pooling](hidden_BLD, attention_BL), dim=1)

    for _ in range(epochs):
        order, losses = random.permutation(len(pairs)), []
        for start in range(0, len(pairs), BATCH):
            rows = order[start : start + BATCH]
            near_BB = vectors(0, rows) @ vectors(1, rows).T / TEMPERATURE
            own_B = torch.arange(len(rows))
            loss = (cross_entropy(near_BB, own_B) + cross_entropy(near_BB.T, own_B)) / 2
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        mean_loss = float(np.mean(losses))
    save_tiny(folder, backbone, tokenizer)
    return mean_loss
