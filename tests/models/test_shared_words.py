"""No few patients' word becomes a token, however often it is said (field/security.md S1); a shared one may."""

import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ckd_dist.config import Tiny
from ckd_dist.models.shared_words import shared_words
from ckd_dist.models.tiny import make_tiny_student, make_tiny_teacher
from ckd_dist.schema import FEWEST_SUBJECTS

SHAPE = Tiny(hidden=8, layers=1, heads=2, vocabulary=700)
COMMON = "the patient was given aspirin for the pain; day"
RARE = [
    "canarydrugone",
    "smith-jones",
    "98765432",
    "1951-03-07",
    "李",
    "ünlü",
    "qwertz\u0301uiop",
    "İstanbul",
    "🦓",
    "x1234y",
]
MAKERS = (make_tiny_teacher, make_tiny_student)


def tokens(folder, make, texts, public=()):
    """Every token as the text that it stands for, without the mark of a piece within a word."""
    make(folder, texts, SHAPE, seed=0, public=public)
    whole = json.loads((folder / "tokenizer.json").read_text())["model"]
    if make is make_tiny_student:
        return {token.removeprefix("##") for token in whole["vocab"]}
    letter_of = {letter: byte for byte, letter in bytes_to_letters().items()}
    return {
        bytes(letter_of[c] for c in token).decode("utf-8", "replace") for token in whole["vocab"] if "<|" not in token
    }


def bytes_to_letters():
    """GPT-2's table: printable bytes are themselves, the others letters from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("word", RARE)
@pytest.mark.parametrize("num_subjects", [1, FEWEST_SUBJECTS - 1])
def test_a_word_of_few_subjects_is_no_token(tmp_path, make, word, num_subjects):
    texts = [COMMON + (f" {word} " * 50 if number < num_subjects else "") for number in range(60)]
    found = tokens(tmp_path / "base", make, texts)
    assert word.lower() not in {token.strip().lower() for token in found}
    assert "aspirin" in {token.strip() for token in found}
    for file in (tmp_path / "base").rglob("*"):
        assert not file.is_file() or len(word.encode()) < 5 or word.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("word", ["canarydrugone", "qwertzuiop"])
def test_a_word_of_enough_subjects_is_one(tmp_path, make, word):
    texts = [COMMON + (f" {word}" if number < FEWEST_SUBJECTS else "") for number in range(60)]
    assert word in {token.strip() for token in tokens(tmp_path / "base", make, texts)}


@pytest.mark.parametrize("make", MAKERS)
def test_fewer_subjects_than_the_floor_still_make_a_model_of_letters_and_public_texts(tmp_path, make):
    texts = [COMMON] * (FEWEST_SUBJECTS - 1)
    assert max(map(len, tokens(tmp_path / "none", make, texts))) <= len("[MASK]")
    found = {token.strip() for token in tokens(tmp_path / "public", make, texts, ["Which disease?"])}
    assert "isease" in "".join(found) and "aspirin" not in found
    account = make(tmp_path / "said", texts, SHAPE, seed=0)
    assert account.kept == {"words for the tiny vocabulary": 0}
    assert "spelled in pieces" in account.sentence() and "aspirin" not in account.sentence()


letters = st.text(st.sampled_from("abcé李 -7"), max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(letters, max_size=14), st.integers(0, 12), letters, st.lists(letters, max_size=2))
@example(["cab cab"] * 10, 1, "cab", [])
def test_a_kept_word_is_public_or_of_enough_subjects(few, times, common, public):
    texts = [*few, *[common] * times]
    kept = shared_words(texts, public, str.split)
    subjects = Counter(word for text in texts for word in set(text.split()))
    said = {word for text in public for word in text.split()}
    assert set(kept.counts) == said | {word for word, number in subjects.items() if number >= FEWEST_SUBJECTS}
    assert kept.num_rare == len(set(subjects) | said) - len(kept.counts)
    assert Counter(kept.repeated()) == Counter(kept.counts)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.lists(st.sampled_from(RARE), max_size=6), min_size=30, max_size=30), st.sampled_from(MAKERS))
def test_every_token_is_a_piece_of_a_word_of_enough_subjects(tmp_path_factory, said, make):
    """The property that the vocabulary is built for, on whole models."""
    texts = [f"{COMMON} {' '.join(words)} {' '.join(words)}" for words in said]
    subjects = Counter(word for words in said for word in set(words))
    rare = {word.lower() for word in RARE if subjects[word] < FEWEST_SUBJECTS}
    found = {token.strip().lower() for token in tokens(tmp_path_factory.mktemp("m") / "base", make, texts)}
    assert not {word for word in rare if len(word) > 1 or not word.isascii()} & found
