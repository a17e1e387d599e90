"""Cut a text into words and sentences, each with its place.

    U words of a note

Words are those of BERT's own pre-tokenizer (split at white space, every punctuation mark by itself), so the sub-words
of BERT-family students fit into words.  Sentences: `sentencex` (Wikimedia, Rust, MIT, maintained; wheels for 3.11
to 3.13), within what lines leave.  Compared on 129 case reports and a hand-made discharge summary with blingfire (last
release 2021, wheel for one processor only), syntok (2022; 9 million words a minute), pysbd (2021; 2 million, cuts after
"p.m." and "b.i.d.") and nupunkt (cuts after "b.i.d."); sentencex keeps "Dr.", "p.o.", "b.i.d.", "vs." and "approx."
together.  It does not know a note's lines, so those are read here: an empty line, a heading ("Discharge Medications:",
"IMPRESSION", "Allergies: penicillin") and an item of a list ("2. Metoprolol") always begin a sentence; any other line
break is a blank, as notes are wrapped at 70 characters.  What it gets wrong: "hx." and the like end a sentence.

sentencex 1.0.32 cuts strings by bytes and panics at a no-break blank before a full stop, printing the text it was
given.  It therefore sees an ASCII likeness of a text, a character for a character: bytes are characters then.

Both together cut 15 to 35 million words a minute on one core, most of the time in making Python's list of words.
"""

import re
from itertools import pairwise

import numpy as np
import sentencex
from tokenizers.pre_tokenizers import BertPreTokenizer

WORDS = BertPreTokenizer()
HEADING = r"[A-Z][A-Za-z0-9 ,/&()'+-]{0,58}:"  # "History of Present Illness:", alone on its line or with text after it
CAPITALS = r"[A-Z][A-Z0-9 ,/&()'-]{2,58}"  # "IMPRESSION", alone on its line
ITEM = r"(?:\d{1,3}[.)]|[-*•·#])[ \t]"  # "2. ", "- "
BLANKS = r"[ \t\r\f\v\xa0]*"
# Where a line begins a sentence (lookahead, so the line stays) and where it ends one.
LINES = re.compile(
    rf"\n(?={BLANKS}(?:\n|{ITEM}|{HEADING}|{CAPITALS}{BLANKS}(?:\n|\Z)))"
    rf"|(?:(?<=\n)|\A){BLANKS}(?:{HEADING}|{CAPITALS}){BLANKS}\n"
)
LIKE = {"…": ".", "。": ".", "！": "!", "？": "?", "“": '"', "”": '"', "‘": "'", "’": "'"}
MARK = re.compile(rf"{BLANKS}{ITEM}")


def cut_words(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the first character of every word, and one past its last: int32 [U], int32 [U]."""
    places = [place for _, place in WORDS.pre_tokenize_str(text)]
    place_U2 = np.array(places, dtype=np.int32).reshape(-1, 2)
    return place_U2[:, 0].copy(), place_U2[:, 1].copy()


def cut_sentences(text: str, start_U: np.ndarray) -> np.ndarray:
    """Return the number of every word's sentence, from 0 and without gaps, int32 [U]."""
    if not len(start_U):
        return np.zeros(0, np.int32)
    begins = _begins(text)
    # A border within a word parts it from the next: a word is of the sentence that its first character is of.
    sentence_U = np.searchsorted(begins, start_U, side="right")
    return np.unique(sentence_U, return_inverse=True)[1].astype(np.int32)


def _begins(text: str) -> np.ndarray:
    """Return the characters at which a sentence begins, in order."""
    cuts = sorted({0, len(text), *(match.end() for match in LINES.finditer(text))})
    plain = text if text.isascii() else text.translate(LIKENESS)
    begins = []
    for first, last in pairwise(cuts):
        begins.append(first)
        item = MARK.match(text, first, last)  # sentencex would cut after "2.", and not within the item
        first = item.end() if item else first
        pieces = sentencex.get_sentence_boundaries("en", plain[first:last])
        begins += [first + piece["start_index"] for piece in pieces[1:]]
    return np.array(begins)


class _Likeness(dict[int, str]):
    """A character's number -> the ASCII character that means the same to a sentence; filled as they come."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        if number >= 128:
            blank, letter = character.isspace(), "A" if character.isupper() else "a"
            character = LIKE.get(character, " " if blank else letter if character.isalpha() else "-")
        self[number] = character
        return character


LIKENESS = _Likeness()
