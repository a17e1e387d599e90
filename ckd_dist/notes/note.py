"""A note: text, words with their places in it, entities, and the BIO tag of each word.

    U words of a note, K columns: O, B-<type>, I-<type> of every type in order

Gold is kept as character spans; tags are derived from it and turned back into spans, so scores are over characters,
whatever cuts a text into words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Mention(NamedTuple):
    """An entity: characters start to end (one past the last) of its note."""

    start: int
    end: int
    type: str


class Prediction(NamedTuple):
    """A mention that a labeler or a tagger predicts, and its confidence: a probability above 0, at most 1."""

    mention: Mention
    confidence: float


@dataclass(frozen=True, eq=False)
class Note:
    """A text and its words, which are in order and do not overlap; between them is white space."""

    text: str
    start_U: np.ndarray  # int32, first character of each word
    end_U: np.ndarray  # int32, one past its last
    sentence_U: np.ndarray  # int32, number of its sentence, never falling
    mentions: tuple[Mention, ...] | None = None  # gold; None: not annotated

    def __len__(self) -> int:
        return len(self.start_U)

    def words(self) -> list[str]:
        """Return every word as it is written."""
        return [self.text[start:end] for start, end in zip(self.start_U, self.end_U, strict=True)]


def tag_names(types: Sequence[str]) -> list[str]:
    """Return the tag columns of entity types, in order.

    >>> tag_names(["disease", "symptom"])
    ['O', 'B-disease', 'I-disease', 'B-symptom', 'I-symptom']
    """
    return ["O", *(f"{place}-{kind}" for kind in types for place in "BI")]


class Placed(NamedTuple):
    """A mention on the words of its note."""

    first: int  # word
    last: int  # one past its last word
    begin: int  # column of its B; that of its I is the next
    confidence: float


@dataclass(frozen=True)
class Lost:
    """Mentions that tags cannot hold."""

    overlapping: int = 0  # another, longer one covers one of its words
    wordless: int = 0  # no word begins or ends in it


def encode(note: Note, mentions: Sequence[Mention], types: Sequence[str]) -> tuple[np.ndarray, Lost]:
    """Return the tag of every word, int64 [U], and what tags cannot hold; `place_on_words` says which stay."""
    tags_U = np.zeros(len(note), np.int64)
    placed, lost = place_on_words(note, [Prediction(mention, 1.0) for mention in mentions], types)
    for first, last, begin, _ in placed:
        tags_U[first:last] = begin + 1
        tags_U[first] = begin
    return tags_U, lost


def place_on_words(note: Note, predictions: Sequence[Prediction], types: Sequence[str]) -> tuple[list[Placed], Lost]:
    """Return where mentions lie that share no word, and what is lost.

    A word belongs to a mention that it shares a character with.  Of mentions that share a word the longest stays, of
    equally long ones the first, at one place the surest.  Types that are not asked for are passed over.
    """
    placed, taken_U, overlapping, wordless = [], np.zeros(len(note), bool), 0, 0
    for mention, confidence in sorted(predictions, key=_longest_first):
        if mention.type not in types:
            continue
        first = int(np.searchsorted(note.end_U, mention.start, side="right"))
        last = int(np.searchsorted(note.start_U, mention.end, side="left"))
        if first >= last:
            wordless += 1
        elif taken_U[first:last].any():
            overlapping += 1
        else:
            taken_U[first:last] = True
            placed.append(Placed(first, last, 1 + 2 * types.index(mention.type), confidence))
    return placed, Lost(overlapping, wordless)


def _longest_first(prediction: Prediction) -> tuple[int, int, float]:
    mention, confidence = prediction
    return mention.start - mention.end, mention.start, -confidence


def decode(note: Note, tags_U: np.ndarray, types: Sequence[str]) -> list[Mention]:
    """Return the mentions that tags mark, in order."""
    return [
        Mention(int(note.start_U[first]), int(note.end_U[last - 1]), types[kind])
        for first, last, kind in spans(tags_U).tolist()
    ]


def spans(tags_U: np.ndarray) -> np.ndarray:
    """Return first word, one past the last, and number of the type of every mention, int64 [M, 3].

    An I without its like before it begins a mention, as seqeval reads it.

    >>> spans(np.array([0, 1, 2, 1, 0, 4])).tolist()
    [[1, 3, 0], [3, 4, 0], [5, 6, 1]]
    """
    kind_U = (tags_U - 1) // 2  # -1 outside
    before_U = np.concatenate([[-1], kind_U[:-1]])
    goes_on_U = (tags_U > 0) & (tags_U % 2 == 0) & (before_U == kind_U)
    first_M = np.flatnonzero((tags_U > 0) & ~goes_on_U)
    stops = np.flatnonzero(~np.append(goes_on_U, False))
    last_M = stops[np.searchsorted(stops, first_M, side="right")]
    return np.stack([first_M, last_M, kind_U[first_M]], 1)


def best_tags(score_UK: np.ndarray) -> np.ndarray:
    """Return the best tags among those in which every I follows a B or I of its type, int64 [U].

    score_UK: log-probabilities.  Where each word's own best tags are such a sequence, nothing is searched.
    """
    tags_U = score_UK.argmax(1)
    if len(tags_U) == 0 or not _breaks(tags_U).any():
        return tags_U
    num_columns = score_UK.shape[1]
    allowed_KK = np.array([[not _breaks(np.array([a, b]))[1] for b in range(num_columns)] for a in range(num_columns)])
    barred_KK = np.where(allowed_KK, 0.0, -np.inf)
    inside_K = np.arange(num_columns) % 2 == 0
    inside_K[0] = False
    total_K, back_UK = np.where(inside_K, -np.inf, score_UK[0]), np.zeros(score_UK.shape, np.int64)
    for unit in range(1, len(score_UK)):
        step_KK = total_K[:, None] + barred_KK
        back_UK[unit] = step_KK.argmax(0)
        total_K = step_KK.max(0) + score_UK[unit]
    tags_U[-1] = total_K.argmax()
    for unit in range(len(score_UK) - 1, 0, -1):
        tags_U[unit - 1] = back_UK[unit, tags_U[unit]]
    return tags_U


def _breaks(tags_U: np.ndarray) -> np.ndarray:
    """Return where an I follows neither B nor I of its type, bool [U]."""
    before_U = np.concatenate([[0], tags_U[:-1]])
    inside_U = (tags_U > 0) & (tags_U % 2 == 0)
    return inside_U & (before_U != tags_U) & (before_U != tags_U - 1)
