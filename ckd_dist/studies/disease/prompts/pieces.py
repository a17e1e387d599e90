"""Tokenize each recurring piece of text once, and put texts together from their pieces.

A piece starts at a space or after a line's end, where the pre-tokenizers of BERT, GPT-2, Qwen and Llama 3 always part;
there the tokens of a text are the tokens of its pieces.  encode.py compares a few texts with their whole tokenization.
"""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np

from ckd_dist.studies.disease.prompts.render import Page


class TextTokens(NamedTuple):
    """Token ids and the characters [start, end) of each, int32; a special token that was added has no characters."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __eq__(self, other: object) -> bool:
        """Compare all three arrays."""
        return isinstance(other, TextTokens) and all(map(np.array_equal, self, other))


def tokenize_whole(tokenizer: Any, texts: Sequence[str], add_special_tokens: bool) -> list[TextTokens]:
    """Return the tokens of every text, by a fast tokenizer on all cores."""
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=add_special_tokens,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    rows = zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return [_tokens(len(text), ids, chars) for text, ids, chars in rows]


class Pieces:
    """The pieces that were tokenized so far, each int32 [3, T]: ids, starts and ends.

    before, after: the text around every page.  add_special_tokens: put [CLS], [SEP] or their like around that.
    """

    def __init__(self, tokenizer: Any, before: str, after: str, add_special_tokens: bool) -> None:
        self.tokenizer = tokenizer
        self.before, self.after = before, after
        head, tail = _added(tokenizer) if add_special_tokens else (np.empty((3, 0), np.int32),) * 2
        first, last = (np.stack(tokens) for tokens in tokenize_whole(tokenizer, [before, after], False))
        self.first = np.concatenate([head, first], axis=1)
        self.last = np.concatenate([last, tail + np.array([[0], [1], [1]], np.int32) * len(after)], axis=1)
        self.seen: dict[str, np.ndarray] = {}

    def tokenize(self, pages: Sequence[Page]) -> list[TextTokens]:
        """Return the tokens of `before` + page + `after` for every page."""
        self._learn(sorted(set(chain.from_iterable(page.pieces for page in pages)) - self.seen.keys()))
        arrays: list[np.ndarray] = []
        num_chars: list[int] = []
        num_pieces: list[int] = []
        for page in pages:
            arrays += [self.first, *map(self.seen.__getitem__, page.pieces), self.last]
            num_chars += [len(self.before), *map(len, page.pieces), len(self.after)]
            num_pieces.append(len(page.pieces) + 2)
        return _joined(arrays, np.array(num_chars, np.int32), np.array(num_pieces)) if arrays else []

    def _learn(self, new: list[str]) -> None:
        """Tokenize new pieces."""
        self.seen.update(zip(new, map(np.stack, tokenize_whole(self.tokenizer, new, False)), strict=True))


def _joined(arrays: list[np.ndarray], num_chars: np.ndarray, num_pieces: np.ndarray) -> list[TextTokens]:
    """Return the tokens of many texts from the tokens of all their pieces, in order."""
    starts = np.cumsum(num_chars, dtype=np.int64) - num_chars  # of every piece, in all texts written one after another
    ends_of_texts = np.cumsum(num_pieces)
    starts -= np.repeat(starts[ends_of_texts - num_pieces], num_pieces)  # now in its own text
    counts = np.fromiter((array.shape[1] for array in arrays), np.int64, len(arrays))
    tokens = np.concatenate(arrays, axis=1)
    tokens[1:] += np.repeat(starts, counts).astype(np.int32)
    bounds = np.concatenate([[0], np.cumsum(counts)[ends_of_texts - 1]]).tolist()
    return [TextTokens(*tokens[:, start:end]) for start, end in pairwise(bounds)]


def _added(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the special tokens that a tokenizer puts before and after a text, both at character 0."""
    ((ids, starts, ends),) = tokenize_whole(tokenizer, ["a"], add_special_tokens=True)
    return tuple(np.stack([own, 0 * own, 0 * own]) for own in (ids[ends == 0], ids[starts == 1]))


def _tokens(num_chars: int, ids: list[int], chars: list[tuple[int, int]]) -> TextTokens:
    """Return the arrays of one text.

    Tokenizers give added tokens the characters (0, 0); those at the end get the end's.
    """
    starts, ends = np.fromiter(chain.from_iterable(chars), np.int32, 2 * len(ids)).reshape(-1, 2).T.copy()
    if len(ids):
        after = np.arange(len(ids)) > np.argmax(ends)  # the first token that reaches the last character
        added = after & (ends == 0)
        starts[added] = ends[added] = num_chars
    return TextTokens(np.array(ids, np.int32), starts, ends)
