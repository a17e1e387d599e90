"""What a labeler gives back, and mentions spread over words as soft tags.

    U words of a note, K columns: O, B-<type>, I-<type> of every type in order

A labeler is a callable `labeler(notes) -> Labelled` with a `name` and a `fingerprint`, a hash of all that decides what
it predicts.  Labelers that predict mentions (a dictionary, a model that is asked) come through `spread`; one that has
logits of its own does not need it.  The floor keeps logarithms finite: no labeler is so sure that no other can overrule
it.

Unknown is not "no": a word of which a labeler knows nothing, because an answer was cut or could not be read, has the
same number in every column.  Such a row says nothing wherever it comes: whoever joins labelers leaves it out, and a
word of which nobody knows anything has weight 0 for the student, as in a note that nobody annotated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ckd_dist.notes.note import Note, Prediction, place_on_words

FLOOR = math.exp(-9)  # 0.00012: least probability of a tag; its logarithm is a whole float32, so it compares exactly


@dataclass(frozen=True)
class Labelled:
    """predictions: one list a note.  counts: numbers only, summed over the notes, e.g. {"notes": 3, "invented": 2}.

    unknown: parts of each note, characters start to end, of which the labeler knows nothing; empty: it has read all.
    """

    predictions: list[list[Prediction]]
    counts: dict[str, float]
    unknown: Sequence[Sequence[tuple[int, int]]] = ()


def spread(
    note: Note, predictions: Sequence[Prediction], types: Sequence[str], unknown: Sequence[tuple[int, int]] = ()
) -> np.ndarray:
    """Return log-probabilities of every word's tags, float32 [U, K]: a mention's confidence on B or I, the rest on O.

    Each row sums to 1 and holds nothing below FLOOR: a word outside is O but for the other tags' floors.  Which
    mentions stay is said at `note.place_on_words`.  Of words in `unknown` parts that no mention has nothing is known:
    their rows are the same in all columns.  Raises ValueError for a confidence that is no probability above 0.
    """
    bad = sum(not 0 < prediction.confidence <= 1 for prediction in predictions)
    if bad:
        raise ValueError(f"{bad} of {len(predictions)} mentions have a confidence outside (0, 1]: give a probability")
    num_columns = 1 + 2 * len(types)
    most = 1 - (num_columns - 1) * FLOOR
    probability_UK = np.full((len(note), num_columns), FLOOR)
    probability_UK[:, 0] = most
    for start, end in unknown:
        probability_UK[(note.end_U > start) & (note.start_U < end)] = 1 / num_columns
    for first, last, begin, confidence in place_on_words(note, predictions, types)[0]:
        inside = min(max(confidence, FLOOR), most)
        probability_UK[first:last] = FLOOR
        probability_UK[first, begin] = inside
        probability_UK[first + 1 : last, begin + 1] = inside
        probability_UK[first:last, 0] = 1 - inside - (num_columns - 2) * FLOOR
    return np.maximum(np.log(probability_UK), math.log(FLOOR)).astype(np.float32)


def floored(weight_UK: np.ndarray) -> np.ndarray:
    """Return rows that sum to 1 with nothing below FLOOR, the order within a row kept, float32 [U, K]."""
    share_UK = weight_UK / weight_UK.sum(1, keepdims=True)
    return (FLOOR + (1 - FLOOR * weight_UK.shape[1]) * share_UK).astype(np.float32)


def known_words(score: np.ndarray) -> np.ndarray:
    """Return of which words anything is known, bool [...]: where not all columns (last axis) are the same.

    >>> known_words(np.log([[0.8, 0.1, 0.1], [1 / 3, 1 / 3, 1 / 3]])).tolist()
    [True, False]
    """
    return (score != score[..., :1]).any(-1)


def leave_unknown(joined_UK: np.ndarray, known_TU: np.ndarray) -> np.ndarray:
    """Return joined probabilities, the same in all columns where a type is known to nobody and no other is likely.

    known_TU: whether any labeler that was to find a type knows the word.
    """
    silent_U = ~known_TU.all(0) & (joined_UK[:, 0] >= 0.5)
    return np.where(silent_U[:, None], np.float32(1 / joined_UK.shape[1]), joined_UK).astype(np.float32)
