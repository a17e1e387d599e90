"""Tokenize each recurring piece of text once, and put texts together from their pieces.

A piece starts at a space or after a line's end, where the pre-tokenizers of BERT, GPT-2, Qwen and Llama 3 always part;
there the tokens of a text are the tokens of its pieces.  Who cannot be sure reads a few texts whole and compares.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np

from ckd_dist.prompts.render import Page


class Tokens(NamedTuple):
    """Token ids and the characters [start, end) of each, int32; a special token that was added has no characters."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and all(map(np.array_equal, self, other))


def read_whole(tokenizer: Any, texts: Sequence[str], add_special_tokens: bool) -> list[Tokens]:
    """The tokens of every text, by a fast tokenizer on all cores."""
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


@dataclass(frozen=True)
class Pieces:
    """The pieces that a tokenizer has seen.  `add_special_tokens`: put [CLS], [SEP] or their like around a text."""

    tokenizer: Any
    add_special_tokens: bool
    seen: dict[str, Tokens] = field(default_factory=dict)

    def read(self, before: str, pages: Sequence[Page], after: str) -> list[Tokens]:
        """The tokens of `before` + page + `after` for every page."""
        head, tail = self._around()
        pieces = [[before, *_pieces(page), after] for page in pages]
        self._learn(sorted(set(chain.from_iterable(pieces)) - self.seen.keys()))
        return [_join(head, [self.seen[piece] for piece in of_page], of_page, tail) for of_page in pieces]

    def _learn(self, new: list[str]) -> None:
        self.seen.update(zip(new, read_whole(self.tokenizer, new, add_special_tokens=False), strict=True))

    def _around(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the special tokens before and after a text."""
        if not self.add_special_tokens:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        ((ids, starts, ends),) = read_whole(self.tokenizer, ["a"], add_special_tokens=True)
        return ids[ends == 0], ids[starts == 1]


def _pieces(page: Page) -> list[str]:
    return [page.text[start:end] for start, end in pairwise((*page.breaks, len(page.text)))]


def _join(head: np.ndarray, tokens: list[Tokens], pieces: list[str], tail: np.ndarray) -> Tokens:
    """One text's tokens from its pieces' tokens."""
    lengths = np.fromiter(map(len, pieces), np.int32, len(pieces))
    ends_of_pieces = np.cumsum(lengths, dtype=np.int32)
    counts = np.fromiter((len(piece.ids) for piece in tokens), np.int32, len(tokens))
    shifts = np.repeat(ends_of_pieces - lengths, counts)
    ids, starts, ends = (np.concatenate(column) for column in zip(*tokens, strict=True))
    zeros, lasts = np.zeros(len(head), np.int32), np.full(len(tail), ends_of_pieces[-1], np.int32)
    return Tokens(
        np.concatenate([head, ids, tail]),
        np.concatenate([zeros, starts + shifts, lasts]),
        np.concatenate([zeros, ends + shifts, lasts]),
    )


def _tokens(num_chars: int, ids: list[int], chars: list[tuple[int, int]]) -> Tokens:
    """Arrays of one text.  Tokenizers give added tokens the characters (0, 0); those at the end get the end's."""
    starts, ends = np.fromiter(chain.from_iterable(chars), np.int32, 2 * len(ids)).reshape(-1, 2).T.copy()
    if len(ids):
        after = np.arange(len(ids)) > np.argmax(ends)  # the first token that reaches the last character
        added = after & (ends == 0)
        starts[added] = ends[added] = num_chars
    return Tokens(np.array(ids, np.int32), starts, ends)
