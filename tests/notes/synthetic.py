"""Random annotated texts, and the property that every form of corpus must have."""

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from ckd_dist.notes.document import Corpus, Document
from ckd_dist.notes.note import Lost, Mention, Note, decode, encode
from ckd_dist.notes.read import to_notes
from ckd_dist.notes.words import cut_words
from tests.data import DATA

TYPES = ["disease", "medication", "symptom"]
BLANKS = (" ", "  ", "\n", "\n\n", "\t", "\u2005", "\xa0", "\u3000", "\r\n")
LETTERS = string.ascii_letters + string.digits + "éßµΩ中文\u0301😀𝔸-.,:;()/%" + "\u200b\u00ad"


def tokens() -> st.SearchStrategy[list[str]]:
    return st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=20)


@st.composite
def annotated(draw: st.DrawFn, blanks: tuple[str, ...] = BLANKS) -> tuple[str, tuple[Mention, ...]]:
    """A text, and mentions whose borders are borders of its words, that do not overlap."""
    text = "".join(token + draw(st.sampled_from(blanks)) for token in draw(tokens()))
    text = draw(st.sampled_from(("", *blanks))) + text
    start_U, end_U = cut_words(text)
    cuts = sorted(draw(st.sets(st.integers(0, len(start_U)), max_size=8)))
    mentions = [
        Mention(int(start_U[first]), int(end_U[last - 1]), draw(st.sampled_from(TYPES)))
        for first, last in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    return text, tuple(mentions)


def check_round_trip(document: Document, want: tuple[Mention, ...]) -> Note:
    """The document says exactly these mentions, and tags give each back, to the character."""
    assert document.mentions == want
    [note] = to_notes([document], {kind: kind for kind in TYPES})
    assert note.mentions == want
    tags_U, lost = encode(note, note.mentions, TYPES)
    assert lost == Lost()
    assert tuple(decode(note, tags_U, TYPES)) == want
    assert np.count_nonzero(tags_U % 2) == len(want)  # one B each
    return note


def mentioned(corpus: Corpus) -> dict[str, list[tuple[str, str]]]:
    """Name of a document -> (characters, type) of its mentions."""
    return {d.name: [(d.text[m.start : m.end], m.type) for m in d.mentions or ()] for d in corpus.documents}


def data(*parts: str) -> Path:
    """A path of the open data; skips the test where it is absent."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"open data is not here: {'/'.join(parts)} (set CKD_DATA)")
    return path
