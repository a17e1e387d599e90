"""Logits of many rows, fast: what labellers, evaluation and `predict` run.

    B samples, L tokens, D hidden, K columns, P prefix tokens

One forward pass a sample, no vocabulary logits, no kept hidden states.  Rows go longest first in batches of a token budget, so
padding is small and the largest batch comes first (too large a budget fails at once, not after an hour).  Teacher prompts share
their instruction: its keys and values are computed once and every batch attends to them (off with prefix_tokens=0).
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from ckd_dist.models.base import quiet
from ckd_dist.models.fingerprint import base_of
from ckd_dist.models.heads import Head
from ckd_dist.models.rows import Tokens, pad
from ckd_dist.models.teacher import ADAPTER

MIN_PREFIX = 16  # tokens; a shorter shared start is not worth a cache


def load_merged_teacher(folder: str | Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Head:
    """An exported teacher, an adapter merged into its base, ready to predict.  Raises ValueError or FileNotFoundError."""
    folder = Path(folder)
    is_adapter = (folder / "adapter_config.json").is_file()
    weights = folder / ADAPTER if is_adapter else None
    place = folder / "classifier" if is_adapter else folder
    if not (place / "config.json").is_file() or (weights and not weights.is_file()):
        raise FileNotFoundError(f"teacher {folder.name}: not an exported classifier; run train_teacher first")
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(
            base_of(folder) if is_adapter else folder,
            config=AutoConfig.from_pretrained(place),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    if is_adapter:
        model = PeftModel.from_pretrained(model, str(folder), autocast_adapter_dtype=False).merge_and_unload()
    return Head(model.to(device), "decoder" if hasattr(model, "score") else "encoder").eval()


@torch.inference_mode()
def predict_logits(
    head: Head,
    tokens: Tokens,
    rows: np.ndarray,
    *,
    micro_tokens: int,
    pad_id: int,
    device: torch.device | str = "cpu",
    autocast: torch.dtype | None = None,
    prefix_tokens: int | None = None,
    track: Callable[..., None] | None = None,
) -> np.ndarray:
    """Logits of `rows` in their order, float32 [N, K].

    micro_tokens: padded tokens of a forward pass.  autocast: bfloat16 for float32 weights on hardware that gains by it.
    prefix_tokens: leading tokens that every row shares, run once; none: found here; 0: every row whole.
    """
    was_training = head.training
    head.eval()
    rows = np.asarray(rows)
    num_shared = _shared(head, tokens, rows) if prefix_tokens is None else prefix_tokens
    order = np.argsort(-tokens.lengths[rows], kind="stable")
    logits_NK, done = None, 0
    with torch.autocast(torch.device(device).type, autocast or torch.bfloat16, enabled=autocast is not None):
        shared = _Prefix(head, tokens.row(rows[0])[:num_shared], device) if num_shared else None
        for part in _batches(tokens.lengths[rows[order]] - num_shared, micro_tokens):
            places = order[part]
            padded = pad([tokens.row(row)[num_shared:] for row in rows[places]], pad_id)
            ids_BL, attention_BL = (tensor.to(device, non_blocking=True) for tensor in padded)
            logits_BK = shared.logits(ids_BL, attention_BL) if shared else head(ids_BL, attention_BL)
            if logits_NK is None:
                logits_NK = torch.empty(len(rows), logits_BK.shape[1], device=device)
            logits_NK[torch.as_tensor(places, device=device)] = logits_BK
            done += len(places)
            if track:
                track(done, len(rows))
    head.train(was_training)
    return np.zeros((0, head.plain.config.num_labels), np.float32) if logits_NK is None else logits_NK.cpu().numpy()


def shared_prefix(tokens: Tokens, rows: np.ndarray) -> int:
    """Leading tokens that all `rows` have in common, leaving each at least one of its own."""
    if len(rows) < 2:
        return 0
    first = tokens.row(rows[0])
    shared = int(tokens.lengths[rows].min()) - 1
    for row in rows[::-1]:  # the last differs from the first sooner than its neighbour does
        differs = np.flatnonzero(first[:shared] != tokens.row(row)[:shared])
        shared = int(differs[0]) if len(differs) else shared
    return max(shared, 0)


class _Prefix:
    """A causal classifier that has read a shared prefix: batches bring only the rest of their rows."""

    def __init__(self, head: Head, prefix_P: np.ndarray, device: torch.device | str) -> None:
        ids_1P = torch.as_tensor(prefix_P.astype(np.int64), device=device)[None]
        read = head.plain.base_model(input_ids=ids_1P, use_cache=True).past_key_values
        self.head = head
        self.cache = Cache(layers=[_PrefixLayer(layer) for layer in read.layers])

    def logits(self, ids_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """float32 [B, K]; positions go on after the prefix, and right padding is never seen by a real token."""
        hidden_BLD = self.head.plain.base_model(
            input_ids=ids_BL, past_key_values=self.cache, use_cache=True
        ).last_hidden_state
        return self.head.score_last(hidden_BLD, attention_BL.sum(1) - 1)


class _PrefixLayer(DynamicLayer):
    """Keys and values of the prefix, lent to every batch and never grown, so nothing of a batch is kept."""

    def __init__(self, read: DynamicLayer) -> None:
        super().__init__()
        self.lazy_initialization(read.keys, read.values)
        self.keys, self.values = read.keys, read.values

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        size = (len(key_states), -1, -1, -1)
        return (
            torch.cat([self.keys.expand(size), key_states], dim=-2),
            torch.cat([self.values.expand(size), value_states], dim=-2),
        )


def _shared(head: Head, tokens: Tokens, rows: np.ndarray) -> int:
    """Prefix tokens worth sharing: only for causal models whose every layer attends to all that came before."""
    if head.kind != "decoder" or any(
        type(layer) is not DynamicLayer for layer in DynamicCache(config=head.plain.config).layers
    ):
        return 0
    shared = shared_prefix(tokens, rows)
    return shared if shared >= MIN_PREFIX else 0


def _batches(lengths: np.ndarray, micro_tokens: int) -> Iterator[slice]:
    """Cut rows, longest first, so that rows x longest stays within `micro_tokens`; a longer row goes alone."""
    start = 0
    while start < len(lengths):
        stop = start + max(1, micro_tokens // int(lengths[start]))
        yield slice(start, stop)
        start = stop
