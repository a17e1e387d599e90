"""Mentions spread over words as soft tags, on a sentence a clinician could read."""

import math

import numpy as np
import pytest

from ckd_dist.notes.note import Mention, Note, Prediction, best_tags, decode, encode
from ckd_dist.studies.ner.labelers.labelled import FLOOR, floored, spread

TYPES = ["disease", "symptom"]
#       0  3     9    14
TEXT = "no chest pain today"
NOTE = Note(
    TEXT, np.array([0, 3, 9, 14], np.int32), np.array([2, 8, 13, 19], np.int32), np.zeros(4, np.int32), mentions=None
)


def test_a_mention_puts_its_confidence_on_its_tags_and_the_rest_on_o():
    soft_UK = np.exp(spread(NOTE, [Prediction(Mention(3, 13, "symptom"), 0.9)], TYPES))
    expected = [
        # O, B-disease, I-disease, B-symptom, I-symptom
        [1.0, 0.0, 0.0, 0.0, 0.0],  # no
        [0.1, 0.0, 0.0, 0.9, 0.0],  # chest
        [0.1, 0.0, 0.0, 0.0, 0.9],  # pain
        [1.0, 0.0, 0.0, 0.0, 0.0],  # today
    ]
    assert np.allclose(soft_UK, expected, atol=5 * FLOOR)


@pytest.mark.parametrize("confidence", [1e-9, 0.3, 0.9, 1.0])
def test_every_row_is_a_distribution_above_the_floor(confidence):
    log_UK = spread(NOTE, [Prediction(Mention(3, 13, "symptom"), confidence)], TYPES)
    assert log_UK.dtype == np.float32
    assert np.all(log_UK >= math.log(FLOOR))
    assert np.allclose(np.exp(log_UK).sum(1), 1, atol=1e-6)


def test_sure_mentions_come_back_and_of_those_that_share_a_word_the_longest():
    """As note.encode has it; of two claims on the same place the surer one."""
    mentions = [Mention(9, 13, "disease"), Mention(3, 13, "symptom"), Mention(14, 19, "disease")]
    found = [Prediction(mention, 0.8) for mention in mentions] + [Prediction(Mention(14, 19, "symptom"), 0.95)]
    assert decode(NOTE, best_tags(spread(NOTE, found, TYPES)), TYPES) == [
        Mention(3, 13, "symptom"),
        Mention(14, 19, "symptom"),
    ]
    assert np.array_equal(best_tags(spread(NOTE, found[:3], TYPES)), encode(NOTE, mentions, TYPES)[0])


def test_other_types_mentions_without_a_word_and_empty_notes_are_passed_over():
    nothing_UK = spread(NOTE, [], TYPES)
    assert np.array_equal(spread(NOTE, [Prediction(Mention(3, 8, "gene"), 1.0)], TYPES), nothing_UK)
    assert np.array_equal(spread(NOTE, [Prediction(Mention(2, 3, "symptom"), 1.0)], TYPES), nothing_UK)
    empty = Note("", *np.zeros((3, 0), np.int32))
    assert spread(empty, [], TYPES).shape == (0, 5)


@pytest.mark.parametrize("confidence", [0.0, -0.1, 1.1, float("nan")])
def test_a_confidence_that_is_no_probability_is_refused_without_the_text(confidence):
    with pytest.raises(ValueError, match="1 of 1 mentions have a confidence outside") as refused:
        spread(NOTE, [Prediction(Mention(3, 8, "symptom"), confidence)], TYPES)
    assert "chest" not in str(refused.value)


def test_a_floor_changes_no_order():
    row_UK = np.array([[0.0, 3.0, 1.0], [0.5, 0.0, 0.5]])
    soft_UK = floored(row_UK)
    assert np.all(soft_UK >= np.float32(FLOOR))
    assert np.allclose(soft_UK.sum(1), 1)
    assert np.allclose(soft_UK, row_UK / row_UK.sum(1, keepdims=True), atol=3 * FLOOR)
    assert soft_UK[0].argsort().tolist() == [0, 2, 1]
