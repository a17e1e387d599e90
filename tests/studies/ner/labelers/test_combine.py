"""Combination of labelers: planted subsets and rules are found, scores agree with a loop, one labeler is untouched."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.notes.note import Mention, Note, Prediction, best_tags, decode, tag_names
from ckd_dist.studies.ner.labelers.combine import RULES, Choice, Combination, search
from ckd_dist.studies.ner.labelers.labelled import FLOOR, spread

NAMES = tuple("ABCD")

# Who marks a mention, how many such there are in a note, and whether it is real.
PLANTS = {
    "alone": [("B", 3, True), ("A", 2, False), ("CD", 2, False), ("AB", 1, True)],
    "union": [("A", 3, True), ("C", 3, True), ("BD", 3, False)],
    "intersection": [("ABD", 4, True), ("AC", 3, False)] + [(who, 2, False) for who in ("B", "D", "AB", "AD")],
    "vote": [("AB", 2, True), ("AC", 2, True), ("BC", 2, True)] + [(name, 1, False) for name in "ABCD"],
    "weighted": [("AB", 4, True), ("ACD", 1, True), ("BCD", 1, True)]
    + [(pair, 1, False) for pair in ("AC", "AD", "BC", "BD")]
    + [(name, 4, False) for name in "CD"],
}
BEST = {
    "alone": (tuple("B"), "union"),
    "union": (tuple("AC"), "union"),
    "intersection": (tuple("BD"), "intersection"),
    "vote": (tuple("ABC"), "vote"),
    "weighted": (tuple("ABCD"), "weighted"),
}
TYPES = list(PLANTS)


def a_note(num_words: int, mentions=()) -> Note:
    """Words of four letters: word u is characters 5 u to 5 u + 4."""
    start_U = 5 * np.arange(num_words, dtype=np.int32)
    return Note("word " * num_words, start_U, start_U + 4, np.zeros(num_words, np.int32), tuple(mentions))


def over(first: int, last: int, kind: str) -> Mention:
    """A mention from one word to another."""
    return Mention(5 * first, 5 * last + 4, kind)


def planted(seed: int, num_notes: int = 4) -> tuple[list[Note], np.ndarray]:
    """Notes in which the plants stand in random order, and what labelers A to D say, [L, U, K]."""
    random = np.random.default_rng(seed)
    notes, soft = [], []
    for _ in range(num_notes):
        marks = [(kind, who, real) for kind in TYPES for who, count, real in PLANTS[kind] for _ in range(count)]
        word, gold, found = 0, [], {name: [] for name in NAMES}
        for index in random.permutation(len(marks)):
            kind, who, real = marks[index]
            word += int(random.integers(1, 4))
            length = int(random.integers(1, 4))
            mention = over(word, word + length - 1, kind)
            gold += [mention] * real
            for name in who:
                found[name].append(Prediction(mention, 0.9))
            word += length
        notes.append(a_note(word + 1, gold))
        soft.append(np.exp([spread(notes[-1], found[name], TYPES) for name in NAMES]))
    return notes, np.concatenate(soft, axis=1)


def strict_f1(notes, tags_U, types, kind) -> float:
    """By sets of mentions, note by note."""
    correct = wanted = given_ = first = 0
    for note in notes:
        found = {m for m in decode(note, tags_U[first : first + len(note)], types) if m.type == kind}
        gold = {m for m in note.mentions if m.type == kind}
        correct, wanted, given_ = correct + len(found & gold), wanted + len(gold), given_ + len(found)
        first += len(note)
    return 2 * correct / (wanted + given_)


def tags_of(notes, soft_UK) -> np.ndarray:
    firsts = np.cumsum([0, *map(len, notes)])
    return np.concatenate([best_tags(np.log(soft_UK[a:b])) for a, b in pairwise(firsts)])


def test_every_planted_subset_and_rule_is_found_and_holds_on_unseen_notes():
    notes, soft_LUK = planted(seed=1)
    combination = search(soft_LUK, notes, TYPES, NAMES)
    assert {kind: (choice.members, choice.rule) for kind, choice in combination.choices.items()} == BEST
    unseen, soft_LUK = planted(seed=2)
    tags_U = tags_of(unseen, combination.apply(soft_LUK))
    for kind in TYPES:
        assert combination.choices[kind].f1 == 1.0
        assert strict_f1(unseen, tags_U, TYPES, kind) == 1.0
        best_alone = max(strict_f1(unseen, tags_of(unseen, soft_UK), TYPES, kind) for soft_UK in soft_LUK)
        assert best_alone < 1 or kind == "alone"


def test_every_subset_is_tried_once_with_every_rule_and_a_labeler_by_itself_once():
    notes, soft_LUK = planted(seed=1, num_notes=1)
    for tried in search(soft_LUK, notes, TYPES, NAMES).table.values():
        keys = [(choice.members, choice.rule) for choice in tried]
        assert len(set(keys)) == len(keys) == 4 + 11 * len(RULES)
        assert [len(members) for members, _ in keys] == sorted(len(members) for members, _ in keys)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_scores_agree_with_a_loop_over_words(seed):
    """Random soft tags of two types; the loop takes each rule word by word and compares sets of mentions."""
    random, types = np.random.default_rng(seed), ["disease", "symptom"]
    notes = []
    for length in random.integers(0, 30, size=4):
        firsts = range(0, int(length) - 3, 3)
        gold = [over(u, u + int(random.integers(2)), str(random.choice(types))) for u in firsts]
        notes.append(a_note(int(length), gold))
    notes.append(a_note(4, [over(0, 1, "disease"), over(2, 3, "symptom"), Mention(6, 9, "symptom")]))
    sharpness = random.choice([1.0, 4.0])
    soft_LUK = random.dirichlet(np.full(5, 1 / sharpness), size=(3, sum(map(len, notes)))).astype(np.float32) + 1e-6
    combination = search(soft_LUK, notes, types, "abc")
    for t, kind in enumerate(types):
        for choice in combination.table[kind]:
            rows = ["abc".index(name) for name in choice.members]
            if len(rows) == 1:
                assert choice.f1 == pytest.approx(strict_f1(notes, tags_of(notes, soft_LUK[rows[0]]), types, kind))
                continue
            tags_U, before = np.zeros(soft_LUK.shape[1], int), 0
            joined_before = 0.0
            for u in range(len(tags_U)):
                begin_M, more_M = soft_LUK[rows, u, 1 + 2 * t], soft_LUK[rows, u, 2 + 2 * t]
                inside_M = begin_M + more_M
                weights_M = np.array(choice.weights) if any(choice.weights) else np.ones(len(rows))
                joined = {
                    "union": max(inside_M),
                    "intersection": min(inside_M),
                    "vote": sum(inside_M) / len(rows),
                    "weighted": sum(inside_M * weights_M) / sum(weights_M),
                }[choice.rule]
                if joined > 0.5:
                    follows = joined_before > 0.5
                    goes_on = follows and sum(begin_M * before) <= 0.5 * sum(inside_M * before)
                    tags_U[u] = 2 if goes_on else 1
                before, joined_before = inside_M, joined
            assert choice.f1 == pytest.approx(strict_f1(notes, 2 * t * (tags_U > 0) + tags_U, types, kind))


@pytest.mark.parametrize(("rule", "expected"), [("union", ["0-2", "3-3"]), ("intersection", ["1-2", "3-3"])])
def test_one_says_chronic_kidney_disease_the_other_kidney_disease(rule, expected):
    """Words: chronic kidney disease gout.  Joined, the longer or the shorter name stays whole, and gout apart from it.

    The second is the surer one: sharing out B and I word by word would cut the union before "kidney".
    """
    note = a_note(4)
    first = [Prediction(over(0, 2, "d"), 0.7), Prediction(over(3, 3, "d"), 0.7)]
    second = [Prediction(over(1, 2, "d"), 0.95), Prediction(over(3, 3, "d"), 0.95)]
    soft_LUK = np.exp([spread(note, first, ["d"]), spread(note, second, ["d"])])
    choice = Choice(("a", "b"), rule, (0.8, 0.8), 0.8, 0.8, 0.8)
    soft_UK = Combination(("a", "b"), {"d": choice}, {"d": (choice,)}).apply(soft_LUK)
    found = decode(note, best_tags(np.log(soft_UK)), ["d"])
    assert [f"{m.start // 5}-{m.end // 5}" for m in found] == expected


def test_one_labeler_for_all_types_comes_out_bit_equal():
    random = np.random.default_rng(0)
    soft_LUK = random.dirichlet(np.ones(5), size=(2, 50)).astype(np.float32)
    choice = Choice(("b",), "union", (0.5,), 0.5, 0.5, 0.5)
    combination = Combination(("a", "b"), {"x": choice, "y": choice}, {})
    assert np.array_equal(combination.apply(soft_LUK), soft_LUK[1])


def test_two_types_on_one_word_both_keep_their_share():
    """a: disease 0.9, b: symptom 0.6; each is taken for its own type."""
    note = a_note(2)
    soft_LUK = np.exp(
        [
            spread(note, [Prediction(over(0, 0, "disease"), 0.9)], ["disease", "symptom"]),
            spread(note, [Prediction(over(0, 0, "symptom"), 0.6)], ["disease", "symptom"]),
        ]
    )
    alone = {
        "disease": Choice(("a",), "union", (1.0,), 1.0, 1.0, 1.0),
        "symptom": Choice(("b",), "union", (1.0,), 1.0, 1.0, 1.0),
    }
    soft_UK = Combination(("a", "b"), alone, {}).apply(soft_LUK)
    columns = tag_names(["disease", "symptom"])
    assert soft_UK[0, columns.index("B-disease")] == pytest.approx(0.9 / 1.5, abs=1e-3)
    assert soft_UK[0, columns.index("B-symptom")] == pytest.approx(0.6 / 1.5, abs=1e-3)
    assert soft_UK[1, 0] > 0.99


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(RULES)))
@settings(max_examples=20, deadline=None)
def test_soft_tags_sum_to_one_and_have_finite_logarithms(seed, rule):
    random = np.random.default_rng(seed)
    soft_LUK = random.dirichlet(np.full(5, 0.1), size=(3, 40)).astype(np.float32)
    choices = {kind: Choice(("a", "c"), rule, (0.0, 0.0), 0.0, 0.0, 0.0) for kind in ("x", "y")}
    soft_UK = Combination(("a", "b", "c"), choices, {}).apply(soft_LUK)
    assert soft_UK.dtype == np.float32
    assert np.allclose(soft_UK.sum(1), 1, atol=1e-6)
    assert soft_UK.min() > 0.999 * FLOOR


def test_its_json_says_what_was_chosen():
    notes, soft_LUK = planted(seed=3, num_notes=1)
    combination = search(soft_LUK, notes, TYPES, NAMES)
    plain = json.loads(combination.to_json())
    assert plain["names"] == list(NAMES) and plain["choices"].keys() == set(TYPES)
    for kind, choice in combination.choices.items():
        assert plain["choices"][kind]["members"] == list(choice.members)
        assert plain["choices"][kind]["weights"] == list(choice.weights)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"notes": [a_note(3, [over(0, 0, "x")])]}, "soft tags of 5 words for notes of 3"),
        ({"notes": [Note("word", *np.array([[0], [4], [0]], np.int32))]}, "words for notes of 1"),
        ({"names": ["a"]}, "1 labelers and 5 columns"),
        ({"names": ["a", "a"]}, "2 labelers have 1 names"),
        ({"notes": [], "probability_LUK": np.zeros((2, 0, 5), np.float32)}, "none of 0 annotated notes"),
        ({"notes": [a_note(5, [over(0, 0, "x")])]}, "none of 1 annotated notes has a mention of type y"),
        ({"types": ["x"]}, "2 labelers and 3 columns"),
    ],
)
def test_what_does_not_fit_is_refused_without_a_word_of_a_note(change, says):
    given_ = {
        "probability_LUK": np.full((2, 5, 5), 0.2, np.float32),
        "notes": [a_note(5, [over(0, 0, "x"), over(1, 1, "y")])],
        "types": ["x", "y"],
        "names": ["a", "b"],
    }
    search(**given_)
    with pytest.raises(ValueError) as refused:
        search(**{**given_, **change})
    assert re.search(says, str(refused.value))
    assert "word word" not in str(refused.value)


def test_notes_without_gold_are_refused():
    note = Note("word", *np.array([[0], [4], [0]], np.int32))
    with pytest.raises(ValueError, match="1 of 1 notes have no gold"):
        search(np.full((1, 1, 3), 1 / 3, np.float32), [note], ["x"], ["a"])
