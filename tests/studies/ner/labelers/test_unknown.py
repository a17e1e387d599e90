"""Unknown is not "no": what a language model's answer does not say labels nothing (notes_concepts N3, table 2.8)."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist.models.losses import Mixing
from ckd_dist.notes.note import Mention, Prediction, best_tags
from ckd_dist.studies.ner.labelers.align import align
from ckd_dist.studies.ner.labelers.combine import RULES, Choice, Combination, search
from ckd_dist.studies.ner.labelers.labelled import known_words, spread
from ckd_dist.studies.ner.labelers.labelmodel import fit_label_model
from ckd_dist.studies.ner.labelers.question import questions
from ckd_dist.studies.ner.labelers.unread import HOPELESS, too_unread
from ckd_dist.studies.ner.task import UNKNOWN, NerTask, Reading, Tags, stood_in
from ckd_dist.studies.ner.windows import Windows
from tests.endpoints.server import Reply, completion, entities, note, serve
from tests.studies.ner.labelers.asked import labeler_of

TYPES = ["disease", "symptom"]
NOTE = note("Has CKD today .", "Mild fever too .", "No pain .")
CKD, FEVER = (
    '{"line": 1, "text": "CKD", "type": "disease"}',
    '{"line": 2, "text": "fever", "type": "symptom"}',
)
ALL = NOTE.words()


def read(answer, cut=False, asked=NOTE):
    """Return the mentions' words, and the words of which nothing is known."""
    (question,) = questions(asked, 1000)
    mentions, unknown, *_ = align(answer, asked.text, question.lines, TYPES, cut)
    soft_UK = spread(asked, [Prediction(mention, 0.9) for mention in mentions], TYPES, unknown)
    known_U = known_words(soft_UK)
    return [asked.text[m.start : m.end] for m in mentions], [
        w for w, k in zip(asked.words(), known_U, strict=True) if not k
    ]


NOTHING = ([], ALL)  # no mention, and no word that is known
BOTH = (["CKD", "fever"], [])


@pytest.mark.parametrize(
    ("answer", "cut", "wanted"),
    [
        # nothing could be read
        ("", False, NOTHING),
        ("Sorry, I cannot help.", False, NOTHING),
        ("No entities found.", False, NOTHING),
        ('{"error": "overloaded"}', False, NOTHING),
        ('{"entities": null}', False, NOTHING),
        ('{"entities": {"CKD": "disease"}}', False, NOTHING),
        ('{"entities": ["CKD"]}', False, NOTHING),
        ("<html><body>{}</body></html>", False, NOTHING),
        ("{}", False, NOTHING),
        ('{"errors": []}', False, NOTHING),
        # thoughts are no answer
        (f'<think>Perhaps {{"entities": [{CKD}]}}, no', True, NOTHING),
        (f'<think>Perhaps {{"entities": [{CKD}]}}, no', False, NOTHING),
        (f'<thinking>Perhaps {{"entities": [{CKD}]}}', False, NOTHING),
        (f"[THINK] {CKD}", False, NOTHING),
        (f'<|channel|>analysis<|message|>{{"entities": [{CKD}]}}', True, NOTHING),
        (f'We need a list: {{"entities": [{CKD}]}} but', True, NOTHING),  # the opening mark was in the prompt
        (f'[THINK]x[/THINK]{{"entities": [{CKD}, {FEVER}]}}', False, BOTH),
        (f'x</think>{{"entities": [{CKD}, {FEVER}]}}', False, BOTH),
        (f'<|channel|>analysis<|message|>{CKD}<|end|><|start|>assistant<|channel|>final<|message|>[{CKD}, {FEVER}]',
         False, BOTH),
        # two readings
        (f'{{"entities": [{CKD}]}} or rather {{"entities": [{FEVER}]}}', False, NOTHING),
        (f'{{"entities": [{CKD}, {FEVER}]}}\n{{"entities": [{CKD}, {FEVER}]}}', False, BOTH),
        # one reading in another form
        (f'```json\n{{"entities": [{CKD}, {FEVER}]}}\n```', False, BOTH),
        (f'{{"entities": [{CKD}, {FEVER}]}} I hope that helps!', False, BOTH),
        (f'{{"entities": [{CKD}, {FEVER},]}}', False, BOTH),
        (f'{{"entities": [{CKD}, {FEVER}]}}'.replace('"', "'"), False, BOTH),
        ('{"symptom": ["fever"], "disease": ["CKD"]}', False, BOTH),
        ('{"symptoms": ["fever"], "diseases": [{"text": "CKD", "line": 1}]}', False, BOTH),
        (f'{{"results": [{CKD}, {FEVER}]}}', False, BOTH),
        (f'{{"entities": [{CKD}, {FEVER}]}}'.replace('"type"', '"label"'), False, BOTH),
        ('{"entities": []}', False, ([], [])),
        ("[]", False, ([], [])),
        ('{"symptom": [], "disease": []}', False, ([], [])),
        # cut, or not readable in part: known up to the last whole entry
        (f'{{"entities": [{CKD}, {{"line": 2, "te', True, (["CKD"], ALL[2:])),
        (f'{{"entities": [{CKD}, {{"line": 2, "te', False, (["CKD"], ALL[2:])),
        (f'{{"entities": [{CKD}', True, (["CKD"], ALL[2:])),
        (f'{{"entities": [{CKD}, ', True, (["CKD"], ALL[2:])),
        (f'{{"entities": [{CKD}]}}', True, (["CKD"], ALL[2:])),  # a filter may have taken the rest
        ('{"entities": []}', True, NOTHING),
        ('{"entities": [', True, NOTHING),
        (f'{{"entities": [{CKD}, {{"line": 2}}, {{"line": 3, "text": "pain", "type": "symptom"}}]}}', False,
         (["CKD", "pain"], ALL[2:9])),
        (f'{{"entities": [{FEVER}, {CKD}, ', True, (["CKD", "fever"], [w for w in ALL if w not in ("CKD", "fever")])),
        # stated, but nobody knows what or where
        ('{"entities": [{"line": 2, "text": "fever", "type": "problem"}]}', False, ([], ["fever"])),
        ('{"entities": [{"line": 2, "text": "zebra", "type": "disease"}]}', False, ([], ALL[4:8])),
        ('{"entities": [{"text": "zebra", "type": "disease"}]}', False, NOTHING),
        ('{"entities": [{"line": 2, "text": "zebra", "type": "problem"}]}', False, ([], ALL[4:8])),
        (f'{{"entities": [{FEVER}, {{"line": 2, "text": "zebra", "type": "disease"}}]}}', False,
         (["fever"], ALL[6:8])),
        (f'{{"entities": [{{"line": 3, "text": "zebra", "type": "disease"}}, {CKD}, {FEVER}]}}', False,
         (["CKD", "fever"], ALL[8:])),  # no reading order: its whole line
    ],
)  # fmt: skip
def test_what_an_answer_does_not_say_is_unknown(answer, cut, wanted):
    assert read(answer, cut) == wanted


def test_places_of_an_ambiguous_mention_are_unknown():
    asked = note("Pain ; Pain .", "pain .")
    answer = json.dumps({"entities": [{"line": 2, "text": "Pain", "type": "symptom"}] * 2})
    found, unknown = read(answer, asked=asked)
    assert len(found) + len(unknown) <= 3 and set(unknown) <= {"Pain", "pain"}


@given(st.integers(0, 200))
def test_an_answer_cut_anywhere_denies_nothing_after_what_it_said(place):
    """Whatever is cut off, no word of a mention of the whole answer becomes a known O."""
    answer = f'{{"entities": [{CKD}, {FEVER}, {{"line": 3, "text": "pain", "type": "symptom"}}]}}'
    found, unknown = read(answer[:place], cut=place < len(answer))
    assert {"CKD", "fever", "pain"} <= {*found, *unknown}


def test_unknown_words_are_flat_and_a_mention_among_them_is_not():
    soft_UK = spread(NOTE, [Prediction(Mention(4, 7, "disease"), 0.9)], TYPES, [(0, len(NOTE.text))])
    assert known_words(soft_UK).tolist() == [word == "CKD" for word in ALL]
    assert best_tags(soft_UK).tolist() == [1 if word == "CKD" else 0 for word in ALL]


# --- joined ----------------------------------------------------------------------------------------------------------
def soft_of(found, unknown=()):
    return np.exp(spread(NOTE, [Prediction(Mention(*mention), 0.9) for mention in found], TYPES, unknown))


CKD_AT, FEVER_AT = (4, 7, "disease"), (21, 26, "symptom")


@pytest.mark.parametrize("rule", RULES)
def test_a_labeler_that_does_not_know_leaves_the_others_to_decide(rule):
    """b has read the first sentence alone: elsewhere the rule's result is a's own."""
    a, b = soft_of([CKD_AT, FEVER_AT]), soft_of([CKD_AT], [(16, len(NOTE.text))])
    choice = Choice(("a", "b"), rule, (0.5, 0.9), 0, 0, 0)
    joined_UK = Combination(("a", "b"), {kind: choice for kind in TYPES}, {}).apply(np.stack([a, b]))
    assert known_words(joined_UK).all()
    assert best_tags(np.log(joined_UK)).tolist() == best_tags(np.log(a)).tolist()


def test_what_no_member_of_a_type_knows_is_unknown_but_where_another_type_is_found():
    a, b = soft_of([CKD_AT]), soft_of([], [(0, len(NOTE.text))])
    alone = {kind: Choice((name,), "union", (1,), 1, 1, 1) for kind, name in zip(TYPES, "ab", strict=True)}
    known_U = known_words(Combination(("a", "b"), alone, {}).apply(np.stack([a, b])))
    assert known_U.tolist() == [word == "CKD" for word in ALL]


def test_the_search_scores_no_labeler_on_words_that_one_did_not_read():
    """b is as good as a where it was answered; unread words must not cost it its place."""
    gold = [Mention(*CKD_AT), Mention(*FEVER_AT)]
    asked = type(NOTE)(NOTE.text, NOTE.start_U, NOTE.end_U, NOTE.sentence_U, tuple(gold))
    read_well = [asked] * 3
    a, b, broken = soft_of([CKD_AT]), soft_of(gold), soft_of([], [(0, len(NOTE.text))])
    best = search(np.stack([np.concatenate([a] * 3), np.concatenate([b, b, broken])]), read_well, TYPES, "ab")
    assert best.choices["symptom"].members == ("b",) and best.choices["symptom"].f1 == 1.0


def test_the_label_model_learns_nothing_from_silence():
    """Four labelers agree; unread words of one of them change neither its confusions nor anybody's tags."""
    a, flat = soft_of([CKD_AT, FEVER_AT]), soft_of([], [(0, len(NOTE.text))])
    lengths = [len(NOTE)] * 8
    whole = np.stack([np.concatenate([a] * 8)] * 4)
    gaps = whole.copy()
    gaps[0, : 4 * len(NOTE)] = np.concatenate([flat] * 4)
    model = fit_label_model(gaps, lengths)
    assert np.abs(model.confusion_LKK[0] - fit_label_model(whole, lengths).confusion_LKK[0]).max() < 0.2
    wanted_U = best_tags(np.log(np.concatenate([a] * 8)))
    assert np.array_equal(best_tags(np.log(model.posterior(gaps, lengths))), wanted_U)
    nobody = np.stack([flat] * 4)
    assert not known_words(model.posterior(nobody, [len(NOTE)])).any()


# --- learned ---------------------------------------------------------------------------------------------------------
def task_of(hard_U, soft_UK, soft_weight=0.5):
    num = len(hard_U)
    windows = Windows(
        ids_T=np.arange(num), offsets_N1=np.array([0, num]), note_W=np.array([0]), unit_offsets_W1=np.array([0, num]),
        first_U=np.arange(num), last_U=np.arange(num),
    )  # fmt: skip
    return NerTask(windows, np.array([0]), Tags(hard_U, 5, soft_UK), Reading(0), Mixing(soft_weight, 1.0), 0.0)


def test_an_unknown_word_weighs_nothing_and_a_human_tag_stands_in():
    soft_UK = np.log(soft_of([CKD_AT], [(16, len(NOTE.text))])).astype(np.float32)
    nobody = np.full(len(NOTE), UNKNOWN)
    weight_U = task_of(nobody, soft_UK).weight_U
    assert ((weight_U > 0) == known_words(soft_UK)).all()
    some = nobody.copy()
    some[5] = 3  # fever
    stood_UK = stood_in(soft_UK, some)
    assert stood_UK[5].argmax() == 3 and np.array_equal(np.delete(stood_UK, 5, 0), np.delete(soft_UK, 5, 0))
    assert task_of(some, stood_UK).weight_U[5] > 0
    assert task_of(some, soft_UK, soft_weight=1.0).weight_U[5] == 0


# --- asked -----------------------------------------------------------------------------------------------------------
def message(**fields) -> Reply:
    """A completion whose message has these fields."""
    reply = completion(None)
    reply.body["choices"][0]["message"] |= fields
    return reply


GOOD = json.dumps({"entities": [{"line": 1, "text": "CKD", "type": "disease"}]})


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (message(reasoning_content=GOOD), 1),  # vllm#48645
        (message(reasoning=GOOD), 1),
        (message(content=[{"type": "text", "text": GOOD}]), 1),
        (message(tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": GOOD}}]), 1),
        (message(reasoning_content=f"Let me see: {GOOD}"), 0),
        (message(refusal="I cannot do that."), 0),
        (completion("  "), 0),
    ],
)
def test_an_answer_in_another_place_is_read_where_it_is_the_only_one(tmp_path, reply, found):
    with serve(lambda _: reply) as server:
        labelled = labeler_of(tmp_path, TYPES, url=server.url, retries=0)([NOTE])
    assert len(labelled.predictions[0]) == found
    assert labelled.counts["unknown_words"] == (0 if found else len(NOTE))


def test_no_choice_is_asked_once_more_and_then_broken(tmp_path):
    """Once in three: the other notes are labelled, nothing stops; for ever: unknown, and the url is not blamed."""
    empty = completion("")
    empty.body["choices"] = []
    replies = [empty, entities((1, "CKD", "disease"))]
    with serve(lambda _: replies.pop(0)) as server:
        labelled = labeler_of(tmp_path / "a", TYPES, url=server.url, retries=0)([NOTE])
    assert (labelled.counts["requests"], labelled.counts["unknown_words"]) == (2, 0)
    with serve(lambda _: empty) as server:
        labelled = labeler_of(tmp_path / "b", TYPES, url=server.url, retries=0)([NOTE])
    assert (labelled.counts["requests"], labelled.counts["unknown_words"]) == (2, len(NOTE))


def test_an_unread_answer_is_not_kept_and_a_server_that_never_answers_is_left_soon(tmp_path):
    many = [note(f"Visit {i} : CKD .") for i in range(5 * HOPELESS)]
    with serve(lambda _: completion("Sorry, I cannot help.")) as server:
        labeler = labeler_of(tmp_path, TYPES, url=server.url, retries=0, parallel=2)
        labeler(many[:5])
        with pytest.raises(ValueError, match=r"20 of 20 answers .* hold no list of entities"):
            labeler(many)
        assert len(server.bodies) < 5 + 2 * HOPELESS
    with serve(lambda _: entities((1, "CKD", "disease"))) as server:
        labelled = labeler_of(tmp_path, TYPES, url=server.url, retries=0)(many[:5])
    assert labelled.counts["aligned"] == 5 and labelled.counts["cached"] == 0


TOTAL = {"questions": 40, "entities": 80, "words": 1000, "malformed": 0, "cut_answers": 0}


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ({"unknown_type": 80, "unknown_words": 80, "vague_words": 80}, "80 are of a type that it was not asked for"),
        ({"unknown_type": 80, "unknown_words": 800, "vague_words": 800}, "columns in notes.types"),
        ({"invented": 63, "unknown_words": 500, "vague_words": 500}, "63 are invented .* copies the words of the text"),
        ({"invented": 8, "unknown_words": 150, "vague_words": 150}, ""),  # a weak model: unknown there, and said
        ({"cut_answers": 30, "unknown_words": 150, "vague_words": 20}, "cut in 30 of 40 answers.*max_output_tokens"),
        ({"unread_answers": 4, "unknown_words": 100}, "4 of 40 answers of m hold no list of entities"),
        ({"unknown_words": 90}, ""),
    ],
)
def test_a_refusal_names_the_cause_that_weighs_most(counts, wanted):
    """Types that were not asked for, and entities that stand nowhere, are no fault of the limits (N3)."""
    assert re.search(wanted, said := too_unread("llm", "m", TOTAL | counts)) and bool(said) == bool(wanted)


def test_a_model_of_other_types_or_other_words_is_refused_by_what_was_counted(tmp_path):
    for reply, what in ((("CKD", "PROBLEM"), "of a type"), (("zebra stripes", "disease"), "invented")):
        with serve(lambda _, reply=reply: entities((1, *reply))) as server:
            labelled = labeler_of(tmp_path / what, TYPES, url=server.url, retries=0)([NOTE])
        assert what in too_unread("llm", "m", labelled.counts)
        assert 0 < labelled.counts["vague_words"] == labelled.counts["unknown_words"] < len(NOTE)
