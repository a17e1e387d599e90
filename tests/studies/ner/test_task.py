"""The word-tagging task: what a batch holds, what it weighs, and what its F1 means."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score

from ckd_dist.models.losses import Mixing
from ckd_dist.notes.note import Mention, Note, decode, encode, tag_names
from ckd_dist.studies.ner.rows import chosen_gold, gold_of, only
from ckd_dist.studies.ner.task import UNKNOWN, NerTask, Reading, Tags, continued, probabilities, tag_weights
from ckd_dist.studies.ner.windows import Windows

NAMES = tag_names(["disease", "symptom"])
K = len(NAMES)

# Two notes; the first is cut into two windows.  Rows are [CLS] ... [SEP]; a word may have several sub-words.
WINDOWS = Windows(
    ids_T=np.arange(100, 118, dtype=np.int32),
    offsets_N1=np.array([0, 6, 12, 18]),
    note_W=np.array([0, 0, 1], np.int32),
    unit_offsets_W1=np.array([0, 3, 5, 7]),
    first_U=np.array([1, 2, 4, 1, 2, 1, 4], np.int32),
    last_U=np.array([1, 3, 4, 1, 4, 3, 4], np.int32),
)
HARD = np.array([0, 1, 2, 2, 0, UNKNOWN, UNKNOWN])
SOFT = np.random.default_rng(0).normal(size=(7, K)).astype(np.float32)


def task(rows=(0, 1, 2), hard=HARD, soft=SOFT, continuation=0.2, at="first", balance=0.0, **mixing):
    reading, mixing = Reading(9, at, continuation), Mixing(**({"soft_weight": 0.5, "temperature": 1.0} | mixing))
    return NerTask(WINDOWS, np.array(rows), Tags(hard, K, soft), reading, mixing, balance)


def test_units_are_first_sub_words_and_then_lighter_further_ones():
    batch = task().collate([0])
    assert batch.units_U2.tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]
    assert batch.mask_U.tolist() == pytest.approx([1, 1, 0.2, 1])
    assert batch.hard_UK.argmax(1).tolist() == [0, 1, 2, 2]  # the second piece of a B is an I


def test_a_teacher_reads_a_word_at_its_last_sub_word():
    batch = task(at="last", continuation=0.0).collate([0, 2])
    assert batch.units_U2.tolist() == [[0, 1], [0, 3], [0, 4], [1, 3], [1, 4]]


def test_a_word_that_nobody_annotated_is_unlabelled_and_still_weighs_where_there_are_soft_tags():
    batch = task().collate([2])
    assert batch.labelled_U.tolist() == [0] * 4
    assert batch.mask_U.sum() > 0
    assert task(soft=None).collate([2]).mask_U.sum() == 0


@pytest.mark.parametrize("soft", [SOFT, None])
@pytest.mark.parametrize("continuation", [0.0, 0.3])
@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_a_rows_weight_is_what_its_batch_weighs(soft, continuation, balance):
    made = task(soft=soft, continuation=continuation, balance=balance, rows=(0, 2, 1))
    for row in range(3):
        assert made.collate([row]).mask_U.sum().item() == pytest.approx(made.weights[row], rel=1e-5)
    assert made.collate([0, 1, 2]).mask_U.sum().item() == pytest.approx(made.weights.sum(), rel=1e-5)


def test_the_empty_slot_weighs_nothing_and_has_a_loss_of_zero():
    made = task()
    batch = made.collate([])
    assert made.loss(torch.randn(1, K), batch).item() == 0
    assert batch.input_ids_BL.tolist() == [[9]]


def test_the_loss_is_a_sum_over_words_whatever_the_batches():
    made = task(soft_weight=0.4, temperature=2.0)
    whole = made.collate([0, 1, 2])
    logits = torch.randn(len(whole.mask_U), K)
    parts, start = 0.0, 0
    for row in range(3):
        batch = made.collate([row])
        stop = start + len(batch.mask_U)
        parts += made.loss(logits[start:stop], batch).item()
        start = stop
    assert made.loss(logits, whole).item() == pytest.approx(parts, rel=1e-5)


def test_further_sub_words_of_a_soft_tag_cannot_begin_a_mention():
    soft = continued(SOFT.copy(), np.ones(7, bool))
    before, after = probabilities(SOFT), probabilities(soft)
    assert after[:, 1::2].max() < 1e-3
    np.testing.assert_allclose(after[:, 2::2], before[:, 1::2] + before[:, 2::2], atol=1e-3)
    np.testing.assert_array_equal(continued(SOFT.copy(), np.zeros(7, bool)), SOFT)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=7), st.floats(0, 1))
def test_tag_weights_average_to_one_and_rare_tags_weigh_no_less(counts, balance):
    counts = np.array(counts, float)
    weights = tag_weights(counts, balance)
    if counts.sum():
        assert weights @ counts / counts.sum() == pytest.approx(1)
    seen = counts > 0
    order = np.argsort(counts[seen])
    assert (np.diff(weights[seen][order]) <= 1e-9).all()


@settings(max_examples=60)
@given(st.data())
def test_the_tuning_f1_is_seqevals(data):
    lengths = [3, 2, 2]
    hard = np.array(data.draw(st.lists(st.integers(0, K - 1), min_size=7, max_size=7)))
    found = np.array(data.draw(st.lists(st.integers(0, K - 1), min_size=7, max_size=7)))
    found = _valid(found, [5, 2])  # the task decodes to tags that follow each other
    made = task(hard=hard, soft=None, continuation=0.0)
    got = made.metrics(np.arange(3), np.eye(K, dtype=np.float32)[found] * 9)["entity_f1"]
    assert sum(lengths) == 7
    gold, ours = ([[NAMES[tag] for tag in part] for part in (tags[:5], tags[5:])] for tags in (hard, found))
    if any(name != "O" for part in gold + ours for name in part):
        assert got == pytest.approx(f1_score(gold, ours))
    else:
        assert np.isnan(got)


def _valid(tags, lengths):
    tags, start = tags.copy(), 0
    for length in lengths:
        for place in range(start, start + length):
            before = tags[place - 1] if place > start else 0
            if tags[place] > 0 and tags[place] % 2 == 0 and before not in (tags[place], tags[place] - 1):
                tags[place] -= 1
        start += length
    return tags


# --- gold ------------------------------------------------------------------------------------------------------------


def note(text, *mentions):
    words = text.split(" ")
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    starts = ends - [len(word) for word in words]
    return Note(text, starts, ends, np.zeros(len(words), int), None if mentions == (None,) else mentions)


def test_gold_tags_give_back_the_exact_characters_and_count_what_tags_cannot_hold():
    whole = note("type 2 diabetes and acute renal failure", Mention(0, 15, "disease"), Mention(20, 39, "disease"),
                 Mention(26, 39, "symptom"), Mention(15, 16, "disease"))  # fmt: skip
    tags, lost = encode(whole, whole.mentions, ["disease", "symptom"])
    assert [NAMES[tag] for tag in tags] == ["B-disease", "I-disease", "I-disease", "O",
                                            "B-disease", "I-disease", "I-disease"]  # fmt: skip
    assert (lost.overlapping, lost.wordless) == (1, 1)
    assert decode(whole, tags, ["disease", "symptom"]) == [Mention(0, 15, "disease"), Mention(20, 39, "disease")]


def test_of_annotated_notes_some_are_chosen_and_fewer_lie_within_more():
    annotated = np.array([1, 0, 1, 1, 0, 1, 1], bool)
    sets = [set(np.flatnonzero(chosen_gold(annotated, num, seed=3))) for num in (0, 2, 4, None)]
    assert [len(chosen) for chosen in sets] == [0, 2, 4, 5]
    assert sets[0] <= sets[1] <= sets[2] <= sets[3] == set(np.flatnonzero(annotated))


def test_tags_of_notes_that_are_not_chosen_are_unknown():
    notes = [note("a cold", Mention(2, 6, "disease")), note("no one read this", None), note("well")]
    gold = gold_of(notes, ["disease", "symptom"])
    assert gold.hard_U.tolist() == [0, 1, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 0]
    assert gold.annotated_N.tolist() == [True, False, True]
    assert only(gold.hard_U, notes, np.array([False, False, True])).tolist() == [UNKNOWN] * 6 + [0]


def test_some_windows_keep_their_tokens_and_words():
    some = WINDOWS.take(np.array([2, 0]))
    assert [some.row(i).tolist() for i in range(2)] == [WINDOWS.row(2).tolist(), WINDOWS.row(0).tolist()]
    assert some.unit_offsets_W1.tolist() == [0, 2, 5]
    assert some.first_U[:2].tolist() == [1, 4] and some.last_U[2:].tolist() == [1, 3, 4]
    assert (some.num_units, some.note_W.tolist()) == (5, [1, 0])
    assert len(WINDOWS.take(np.array([], int))) == 0
