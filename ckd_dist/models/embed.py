"""Phrases to vectors by a frozen model: any encoder, any causal language model, this project's own teachers.

    N phrases, U distinct rows of tokens, B rows of a batch, L tokens, D hidden

All phrases are tokenised in one call, equal rows of tokens run once, and rows go longest first, so that nearly every
batch holds rows of one length: no padding, and no mask that would take attention off its fast path.  What comes back is
in the order of the phrases.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ckd_dist.models.backbone import is_adapter, is_causal, load_body, outline
from ckd_dist.models.base import check_fit, find_base, open_tokenizer
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.pooling import POOLINGS
from ckd_dist.models.rows import batches, pad
from ckd_dist.models.sentence_folder import fingerprint_modules, is_sentence_folder, read_sentence_folder

CPU_TOKENS = 768  # of a forward pass on a CPU at most: with more, activations leave the cache
NEAR = 0.75  # shortest over longest row of a batch


@dataclass(frozen=True)
class Embedder:
    """`embedder.embed(phrases, micro_tokens=...)`.  Made by `load_embedder`."""

    body: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: str  # mean, cls or last
    after: nn.Module  # what follows pooling
    width: int
    max_tokens: int  # a longer phrase is cut
    lower: bool  # phrases are lower-cased first
    fingerprint: str  # of all that decides a vector, the phrase aside

    @torch.inference_mode()
    def embed(
        self, phrases: Sequence[str], *, micro_tokens: int, track: Callable[..., None] | None = None
    ) -> np.ndarray:
        """Vectors of `phrases` in their order, float32 [N, D].

        micro_tokens: padded tokens of a forward pass at most, on a CPU never more than CPU_TOKENS.  track: called with
        rows done and rows in all.  Raises ValueError for a phrase without a token, and for a vector that is not finite.
        """
        rows_U, row_of_N = self._rows(phrases)
        if not rows_U:
            return np.empty((0, self.width), np.float32)
        lengths_U = np.array([len(row) for row in rows_U])
        order = np.argsort(-lengths_U, kind="stable")
        budget = micro_tokens if self.body.device.type != "cpu" else min(micro_tokens, CPU_TOKENS)
        vectors_UD = torch.empty(len(rows_U), self.width, device=self.body.device)
        done, causal = 0, is_causal(self.body)
        for part in even_batches(lengths_U[order], budget):
            places = order[part]
            ids_BL, attention_BL = pad([rows_U[i] for i in places], self.tokenizer.pad_token_id)
            padded = lengths_U[places[-1]] < ids_BL.shape[1]
            vectors_UD[torch.from_numpy(places)] = self._forward(ids_BL, attention_BL, padded and not causal)
            done += len(places)
            if track:
                track(done, len(rows_U))
        if not torch.isfinite(vectors_UD).all():
            raise ValueError(
                "a vector of the embedding holds a value that is not finite: use float32, or another model"
            )
        return vectors_UD.cpu().numpy()[row_of_N]

    def _forward(self, ids_BL: Tensor, attention_BL: Tensor, masked: bool) -> Tensor:
        """float32 [B, width].  masked: whether padding must be kept from the model; a causal one never sees it."""
        ids_BL, attention_BL = (t.to(self.body.device, non_blocking=True) for t in (ids_BL, attention_BL))
        extra = {"attention_mask": attention_BL} if masked else {}
        if hasattr(self.body.config, "use_cache"):
            extra["use_cache"] = False
        hidden_BLD = self.body(input_ids=ids_BL, **extra).last_hidden_state
        return self.after(POOLINGS[self.pooling](hidden_BLD, attention_BL))

    def _rows(self, phrases: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Distinct rows of tokens, and which of them is each phrase's, int64 [N]."""
        texts = dict.fromkeys(phrase.lower() if self.lower else phrase for phrase in phrases)
        if not texts:
            return [], np.empty(0, np.int64)
        found = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        number_of: dict[tuple[int, ...], int] = {}
        for text, ids in zip(texts, found, strict=True):
            texts[text] = number_of.setdefault(tuple(ids), len(number_of))
        if () in number_of:
            raise ValueError("a phrase to embed has no token: it is empty, or of signs that the model does not know")
        row_of_N = np.array([texts[phrase.lower() if self.lower else phrase] for phrase in phrases])
        return [np.array(ids) for ids in number_of], row_of_N


def even_batches(lengths: np.ndarray, micro_tokens: int) -> Iterator[slice]:
    """`rows.batches`, cut again where a row is much shorter than its batch's longest: few phrases make uneven batches.

    >>> list(even_batches(np.array([9, 8, 5, 4]), 100))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    for part in batches(lengths, micro_tokens):
        start, end = part.start, min(part.stop, len(lengths))
        while start < end:
            stop = start + int(np.searchsorted(-lengths[start:end], -NEAR * lengths[start], side="right"))
            yield slice(start, stop)
            start = stop


@dataclass(frozen=True)
class Described:
    """What an embedder will be, before its weights are loaded."""

    root: Path
    pooling: str
    width: int
    max_tokens: int
    fingerprint: str


def describe(
    folder_or_hub: str | Path,
    *,
    revision: str | None = None,
    pooling: str = "own",
    max_tokens: int = 128,
    dtype: torch.dtype = torch.float32,
) -> Described:
    """What `load_embedder` of the same arguments will give, by its files alone.  Raises what that raises."""
    if pooling != "own" and pooling not in POOLINGS:
        raise ValueError(f"pooling {pooling!r} is none of own, {', '.join(POOLINGS)}")
    root = Path(folder_or_hub)
    if not is_adapter(root) and not is_sentence_folder(root):
        root = find_base(folder_or_hub, revision)
    own = read_sentence_folder(root) if is_sentence_folder(root) and pooling == "own" else None
    place = own.body if own else root
    tokenizer, body = open_tokenizer(place, folder_or_hub), outline(place)
    check_fit(folder_or_hub, body.config, tokenizer, None)
    if pooling == "own":
        pooling = own.pooling if own else ("last" if is_causal(body) else "mean")
    positions = getattr(body.config, "max_position_embeddings", None) or max_tokens
    longest = min(max_tokens, positions, tokenizer.model_max_length, (own and own.max_tokens) or max_tokens)
    shaped_by = [fingerprint_modules(root) if own else fingerprint(root), pooling, longest, str(dtype)]
    mark = hashlib.sha256(json.dumps(shaped_by).encode()).hexdigest()
    return Described(root, pooling, _width(body, own.after if own else nn.Identity()), longest, mark)


def load_embedder(
    folder_or_hub: str | Path,
    *,
    revision: str | None = None,
    pooling: str = "own",
    max_tokens: int = 128,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Embedder:
    """The model in a folder or of a hub name, ready to embed.

    pooling: mean, cls or last of its Transformer; own: as a sentence-transformers folder says, with its Dense and
    Normalize, else the mean of an encoder and the last token of a causal model.  Raises ValueError or FileNotFoundError
    where it does not fit.
    """
    told = describe(folder_or_hub, revision=revision, pooling=pooling, max_tokens=max_tokens, dtype=dtype)
    own = read_sentence_folder(told.root) if is_sentence_folder(told.root) and pooling == "own" else None
    place = own.body if own else told.root
    return Embedder(
        body=load_body(place, dtype=dtype, device=device),
        tokenizer=open_tokenizer(place, folder_or_hub),
        pooling=told.pooling,
        after=own.after.to(device) if own else nn.Identity(),
        width=told.width,
        max_tokens=told.max_tokens,
        lower=bool(own and own.lower),
        fingerprint=told.fingerprint,
    )


def _width(body: PreTrainedModel, after: nn.Module) -> int:
    """Columns of a vector: the last Dense's, else the model's own."""
    widths = [module.out_features for module in after.modules() if isinstance(module, nn.Linear)]
    return widths[-1] if widths else body.config.hidden_size
