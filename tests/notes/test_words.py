"""Words cover all but white space and fit BERT's own; sentences are runs of words, and lines of a note count."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from ckd_dist.notes.words import LIKENESS, cut_sentences, cut_words
from tests.notes.synthetic import annotated

DISCHARGE = """Admission Date:  [**2118-6-2**]

Chief Complaint:
Shortness of breath. Pt. was seen by Dr. Smith in the E.D. at 3 p.m. on Tues.

Discharge Medications:
1. Aspirin 81 mg p.o. q.d.
2. Metoprolol 25 mg p.o. b.i.d. for 3 days. Hold for SBP < 100.
3) Lisinopril 5 mg PO daily
- Café au lait, 2.5 µg
Allergies: penicillin. WBC was 12.3 (approx. 6.5 before). No fever or chills, no
shortness of breath at home.
IMPRESSION
Stable."""

SENTENCES = [
    "Admission Date:  [**2118-6-2**]",
    "Chief Complaint:",
    "Shortness of breath.",
    "Pt. was seen by Dr. Smith in the E.D. at 3 p.m. on Tues.",
    "Discharge Medications:",
    "1. Aspirin 81 mg p.o. q.d.",
    "2. Metoprolol 25 mg p.o. b.i.d. for 3 days.",
    "Hold for SBP < 100.",
    "3) Lisinopril 5 mg PO daily",
    "- Café au lait, 2.5 µg",
    "Allergies: penicillin.",
    "WBC was 12.3 (approx. 6.5 before).",
    "No fever or chills, no\nshortness of breath at home.",
    "IMPRESSION",
    "Stable.",
]


def sentences(text: str) -> list[str]:
    start_U, end_U = cut_words(text)
    sentence_U = cut_sentences(text, start_U)
    return [
        text[start_U[sentence_U == number][0] : end_U[sentence_U == number][-1]] for number in np.unique(sentence_U)
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_discharge_summary(line_end: str) -> None:
    assert sentences(DISCHARGE.replace("\n", line_end)) == [s.replace("\n", line_end) for s in SENTENCES]


@pytest.mark.parametrize("blank", ["\xa0", "\u2005", "\u3000", "\u2028"])
def test_blanks_that_are_not_ascii(blank: str) -> None:
    """sentencex by itself panics on the first of these, and shows the text."""
    assert sentences(f"Vitamin A{blank}.") == [f"Vitamin A{blank}."]
    assert sentences(f"He fell.{blank}Élodie came… 中文。") == ["He fell.", "Élodie came…", "中文。"]


@settings(deadline=None)  # other work may keep the machine busy
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_likeness_has_the_same_places(text: str) -> None:
    plain = text.translate(LIKENESS)
    assert plain.isascii() and len(plain) == len(text)
    assert all(b == a or not a.isascii() for a, b in zip(text, plain, strict=True))


def test_words_by_hand() -> None:
    text = "😀 T 98.6, café-au-lait\u2005mg/dL"
    start_U, end_U = cut_words(text)
    assert [text[a:b] for a, b in zip(start_U, end_U, strict=True)] == (
        ["😀", "T", "98", ".", "6", ",", "café", "-", "au", "-", "lait", "mg", "/", "dL"]
    )
    assert start_U.dtype == end_U.dtype == cut_sentences(text, start_U).dtype == np.int32


@settings(deadline=None)  # other work may keep the machine busy
@given(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), annotated().map(lambda made: made[0])))
def test_any_text(text: str) -> None:
    start_U, end_U = cut_words(text)
    assert (start_U < end_U).all() and (end_U[:-1] <= start_U[1:]).all()
    between = [text[a:b] for a, b in zip([0, *end_U], [*start_U, len(text)], strict=True)]
    assert not "".join(between).strip()  # white space alone is left out
    sentence_U = cut_sentences(text, start_U)
    assert len(sentence_U) == len(start_U)
    assert set(np.diff(sentence_U, prepend=-1 if len(start_U) else 0)) <= {0, 1}
    assert not len(start_U) or sentence_U[0] == 0
    for number, gap in enumerate(between[1:-1]):  # an empty line parts sentences
        if gap.replace("\r", "").count("\n") >= 2 and not gap.strip(" \t\r\n\f\v\xa0"):
            assert sentence_U[number] < sentence_U[number + 1]


@settings(deadline=None)  # other work may keep the machine busy
@given(annotated())
def test_berts_own_words_lie_within_ours(made) -> None:
    """What BERT's tokenizer sees after cleaning: no piece of it runs over the border of one of our words."""
    start_U, end_U = cut_words(made[0])
    normalize, split = BertNormalizer(lowercase=True), BertPreTokenizer()
    ours = "".join(normalize.normalize_str(made[0][a:b]).replace(" ", "") for a, b in zip(start_U, end_U, strict=True))
    theirs = [word for word, _ in split.pre_tokenize_str(normalize.normalize_str(made[0]))]
    assert "".join(theirs) == ours
    borders = np.cumsum([0, *(len(word) for word in theirs)])
    lengths = [len(normalize.normalize_str(made[0][a:b]).replace(" ", "")) for a, b in zip(start_U, end_U, strict=True)]
    assert set(np.cumsum([0, *lengths])) <= set(borders)


def test_three_million_words_a_minute() -> None:
    text = (DISCHARGE + "\n\n") * 50
    num_words = len(cut_words(text)[0])
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        cut_sentences(text, cut_words(text)[0])
        seconds.append(time.process_time() - begun)
    assert num_words / min(seconds) * 60 > 3e6
