"""No few patients' word becomes a token, however often it is said (field/security.md S1); a shared one may."""

import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ckd_dist.config import Tiny
from ckd_dist.models.shared_pieces import said_by
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


TEXT = st.text(st.sampled_from("abcé李 -7"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXT, max_size=14), times=st.integers(0, 12), common=TEXT, public=st.lists(TEXT, max_size=2))
@example(texts=["cab cab"] * 10, times=1, common="cab", public=[])
@example(texts=["cab", "ca", "acab"] * 4, times=0, common="", public=[])
@pytest.mark.parametrize("mark", ["", "##"])
def test_a_kept_piece_is_public_or_of_enough_subjects(mark, texts, times, common, public):
    """By a loop over subjects: who has a word with the piece at its beginning, or (where that is marked) within."""
    texts = [*texts, *[common] * times]
    said = said_by(texts, public, str.split)

    def has(text, piece):
        if piece.startswith("##"):
            return any(piece[2:] in word[1:] for word in text.split())
        return any(word.startswith(piece) if mark else piece in word for word in text.split())

    words = {word for text in (*texts, *public) for word in text.split()}
    plain = {word[a:b] for word in words for a in range(len(word)) for b in range(a + 1, len(word) + 1)}
    pieces = plain | {mark + piece for piece in plain} | {"zzz"}
    wanted = {
        piece
        for piece in pieces
        if any(has(text, piece) for text in public) or sum(has(text, piece) for text in texts) >= FEWEST_SUBJECTS
    }
    assert said.shared(pieces, mark) == wanted
    whole = {word for word in words if sum(word in text.split() for text in texts) >= FEWEST_SUBJECTS}
    whole |= {word for text in public for word in text.split()}
    assert said.account().kept == {"words for the tiny vocabulary": len(whole)}


@pytest.mark.parametrize("make", MAKERS)
def test_many_words_of_one_patient_with_one_stem_are_one_patient_s(tmp_path, make):
    """Eleven strengths of a drug that one patient alone had."""
    mine = " ".join(f"canarydrug{letter}" for letter in "abcdefghijklmnopq") * 5
    found = tokens(tmp_path / "base", make, [COMMON + " " + mine, *[COMMON] * 40])
    assert not any("canary" in token for token in found)


@pytest.mark.parametrize("make", MAKERS)
def test_a_shared_ending_of_rare_words_is_a_piece(tmp_path, make):
    texts = [f"{COMMON} {chr(97 + n // 2)}xy{chr(97 + n // 2)}olimus" for n in range(24)]  # each of two subjects
    found = {token.strip() for token in tokens(tmp_path / "base", make, texts)}
    assert any("limus" in token for token in found) and not any("xyaolimus" in token for token in found)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.lists(st.sampled_from(RARE), max_size=6), min_size=30, max_size=30), st.sampled_from(MAKERS))
def test_every_token_is_a_piece_of_a_word_of_enough_subjects(tmp_path_factory, said, make):
    """The property that the vocabulary is built for, on whole models."""
    texts = [f"{COMMON} {' '.join(words)} {' '.join(words)}" for words in said]
    subjects = Counter(word for words in said for word in set(words))
    rare = {word.lower() for word in RARE if subjects[word] < FEWEST_SUBJECTS}
    found = {token.strip().lower() for token in tokens(tmp_path_factory.mktemp("m") / "base", make, texts)}
    assert not {word for word in rare if len(word) > 1 or not word.isascii()} & found
