"""What a labeler gives back, and mentions spread over words as soft tags.

    U words of a note, K columns: O, B-<type>, I-<type> of every type in order

A labeler is a callable `labeler(notes) -> Labelled` with a `name` and a `fingerprint`, a hash of all that decides what
it predicts.  Labelers that predict mentions (a dictionary, a model that is asked) come through `spread`; one that has
logits of its own does not need it.  The floor keeps logarithms finite: no labeler is so sure that no other can overrule
it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ckd_dist.notes.note import Note, Prediction, place_on_words

FLOOR = math.exp(-9)  # 0.00012: least probability of a tag; its logarithm is a whole float32, so it compares exactly


@dataclass(frozen=True)
class Labelled:
    """predictions: one list a note.  counts: numbers only, summed over the notes, e.g. {"notes": 3, "invented": 2}."""

    predictions: list[list[Prediction]]
    counts: dict[str, float]


def spread(note: Note, predictions: Sequence[Prediction], types: Sequence[str]) -> np.ndarray:
    """Return log-probabilities of every word's tags, float32 [U, K]: a mention's confidence on B or I, the rest on O.

    Each row sums to 1 and holds nothing below FLOOR: a word outside is O but for the other tags' floors.  Which
    mentions stay is said at `note.place_on_words`.  Raises ValueError for a confidence that is no probability above 0.
    """
    bad = sum(not 0 < prediction.confidence <= 1 for prediction in predictions)
    if bad:
        raise ValueError(f"{bad} of {len(predictions)} mentions have a confidence outside (0, 1]: give a probability")
    num_columns = 1 + 2 * len(types)
    most = 1 - (num_columns - 1) * FLOOR
    probability_UK = np.full((len(note), num_columns), FLOOR)
    probability_UK[:, 0] = most
    for first, last, begin, confidence in place_on_words(note, predictions, types)[0]:
        inside = min(max(confidence, FLOOR), most)
        probability_UK[first, begin] = inside
        probability_UK[first + 1 : last, begin + 1] = inside
        probability_UK[first:last, 0] = 1 - inside - (num_columns - 2) * FLOOR
    return np.maximum(np.log(probability_UK), math.log(FLOOR)).astype(np.float32)


def floored(weight_UK: np.ndarray) -> np.ndarray:
    """Return rows that sum to 1 with nothing below FLOOR, the order within a row kept, float32 [U, K]."""
    share_UK = weight_UK / weight_UK.sum(1, keepdims=True)
    return (FLOOR + (1 - FLOOR * weight_UK.shape[1]) * share_UK).astype(np.float32)
