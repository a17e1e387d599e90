"""Turn phrases into vectors by a frozen model: any encoder, any causal language model, this project's own teachers.

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

from ckd_dist.models.backbone import is_adapter, is_causal, load_backbone, meta_backbone
from ckd_dist.models.base import check_fit, find_base, open_tokenizer
from ckd_dist.models.budget import batches
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.pooling import POOLINGS
from ckd_dist.models.rows import pad
from ckd_dist.models.sentence_folder import (
    SentenceFolder,
    fingerprint_modules,
    is_sentence_folder,
    read_sentence_folder,
)

CPU_TOKENS = 768  # of a forward pass on a CPU at most: with more, activations leave the cache
NEAR = 0.75  # shortest over longest row of a batch


@dataclass(frozen=True)
class EmbedderOptions:
    """What decides how a model reads a phrase.

    pooling: mean, cls or last of its Transformer; own: as a sentence-transformers folder says, with its Dense and
    Normalize, else the mean of an encoder and the last token of a causal model.
    """

    revision: str | None = None  # commit of a hub model
    pooling: str = "own"
    max_tokens: int = 128  # a longer phrase is cut
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Embedder:
    """A model that is ready to embed.  Made by `load_embedder`."""

    backbone: PreTrainedModel
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
        """Return the vectors of `phrases` in their order, float32 [N, D].

        micro_tokens: padded tokens of a forward pass at most, on a CPU never more than CPU_TOKENS.  track: called with
        rows done and rows in all.  Raises ValueError for a phrase without a token, and for a vector that is not finite.
        """
        rows_U, row_of_N = self._rows(phrases)
        if not rows_U:
            return np.empty((0, self.width), np.float32)
        lengths_U = np.array([len(row) for row in rows_U])
        order = np.argsort(-lengths_U, kind="stable")
        budget = micro_tokens if self.backbone.device.type != "cpu" else min(micro_tokens, CPU_TOKENS)
        vectors_UD = torch.empty(len(rows_U), self.width, device=self.backbone.device)
        done, causal = 0, is_causal(self.backbone)
        for part in even_batches(lengths_U[order], budget):
            places = order[part]
            ids_BL, attention_BL = pad([rows_U[i] for i in places], self.tokenizer.pad_token_id)
            padded = lengths_U[places[-1]] < ids_BL.shape[1]
            vectors_UD[torch.from_numpy(places)] = self.forward(ids_BL, attention_BL, padded and not causal)
            done += len(places)
            if track:
                track(done, len(rows_U))
        if not torch.isfinite(vectors_UD).all():
            raise ValueError(
                "a vector of the embedding holds a value that is not finite: use float32, or another model"
            )
        return vectors_UD.cpu().numpy()[row_of_N]

    def forward(self, ids_BL: Tensor, attention_BL: Tensor, masked: bool) -> Tensor:
        """Return float32 [B, width].  masked: whether padding is kept from the model; a causal one never sees it."""
        ids_BL, attention_BL = (t.to(self.backbone.device, non_blocking=True) for t in (ids_BL, attention_BL))
        extra = {"attention_mask": attention_BL} if masked else {}
        if hasattr(self.backbone.config, "use_cache"):
            extra["use_cache"] = False
        hidden_BLD = self.backbone(input_ids=ids_BL, **extra).last_hidden_state
        return self.after(POOLINGS[self.pooling](hidden_BLD, attention_BL))

    def _rows(self, phrases: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the distinct rows of tokens, and which of them is each phrase's, int64 [N]."""
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
    """Cut `budget.batches` again where a row is much shorter than its batch's longest: few phrases make uneven batches.

    >>> list(even_batches(np.array([9, 8, 5, 4]), 100))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    for part in batches(lengths, micro_tokens):
        start, end = part.start, part.stop
        while start < end:
            stop = start + int(np.searchsorted(-lengths[start:end], -NEAR * lengths[start], side="right"))
            yield slice(start, stop)
            start = stop


@dataclass(frozen=True)
class EmbedderFacts:
    """What an embedder will be, known before its weights are loaded."""

    root: Path
    pooling: str
    width: int
    max_tokens: int
    fingerprint: str


def inspect_embedder(
    folder_or_hub: str | Path,
    options: EmbedderOptions = EmbedderOptions(),
) -> EmbedderFacts:
    """Say what `load_embedder` of the same arguments will give, by its files alone.  Raises what that raises."""
    pooling = options.pooling
    if pooling != "own" and pooling not in POOLINGS:
        raise ValueError(f"pooling {pooling!r} is none of own, {', '.join(POOLINGS)}")
    root = Path(folder_or_hub)
    if not is_adapter(root) and not is_sentence_folder(root):
        root = find_base(folder_or_hub, options.revision)
    own = _own_modules(root, options)
    place = own.backbone if own else root
    tokenizer, backbone = open_tokenizer(place, folder_or_hub), meta_backbone(place)
    check_fit(folder_or_hub, backbone.config, tokenizer, None)
    if pooling == "own":
        pooling = own.pooling if own else ("last" if is_causal(backbone) else "mean")
    positions = getattr(backbone.config, "max_position_embeddings", None) or options.max_tokens
    own_max = (own and own.max_tokens) or options.max_tokens
    longest = min(options.max_tokens, positions, tokenizer.model_max_length, own_max)
    shaped_by = [fingerprint_modules(root) if own else fingerprint(root), pooling, longest, str(options.dtype)]
    mark = hashlib.sha256(json.dumps(shaped_by).encode()).hexdigest()
    return EmbedderFacts(root, pooling, _width(backbone, own.after if own else nn.Identity()), longest, mark)


def load_embedder(
    folder_or_hub: str | Path,
    options: EmbedderOptions = EmbedderOptions(),
    device: torch.device | str = "cpu",
) -> Embedder:
    """Load the model in a folder or of a hub name.  Raises ValueError or FileNotFoundError where it does not fit."""
    facts = inspect_embedder(folder_or_hub, options)
    own = _own_modules(facts.root, options)
    place = own.backbone if own else facts.root
    return Embedder(
        backbone=load_backbone(place, dtype=options.dtype, device=device),
        tokenizer=open_tokenizer(place, folder_or_hub),
        pooling=facts.pooling,
        after=own.after.to(device) if own else nn.Identity(),
        width=facts.width,
        max_tokens=facts.max_tokens,
        lower=bool(own and own.lower),
        fingerprint=facts.fingerprint,
    )


def _own_modules(root: Path, options: EmbedderOptions) -> SentenceFolder | None:
    """Read what a sentence-transformers folder puts after its Transformer, where the options ask for it."""
    return read_sentence_folder(root) if is_sentence_folder(root) and options.pooling == "own" else None


def _width(backbone: PreTrainedModel, after: nn.Module) -> int:
    """Return the columns of a vector: the last Dense's, else the model's own."""
    widths = [module.out_features for module in after.modules() if isinstance(module, nn.Linear)]
    return widths[-1] if widths else backbone.config.hidden_size
