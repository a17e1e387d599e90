"""Offsets that count something else than characters: read as the corpus writes the mentions, or counted."""

import html
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.notes.brat import read_brat
from ckd_dist.notes.claims import Claim, mentions_of
from ckd_dist.notes.note import Mention
from ckd_dist.notes.pubtator import read_pubtator
from tests.notes.synthetic import mentioned

THEIRS: dict[str, Callable[[str], int]] = {  # a reading -> how it counts what stands before a place
    "in UTF-16 units": lambda before: len(before.encode("utf-16-le")) // 2,
    "in bytes of UTF-8": lambda before: len(before.encode()),
    "with CRLF as one": lambda before: len(before.replace("\r\n", "\n")),
    "in UTF-16 units, with CRLF as one": lambda before: len(before.replace("\r\n", "\n").encode("utf-16-le")) // 2,
    "with line ends as two": lambda before: len(before.replace("\r\n", "\n").replace("\n", "\r\n")),
    "without line ends": lambda before: len(before.replace("\r", "").replace("\n", "")),
    "with blanks in a row as one": lambda before: len(" ".join(f"{before}x".split())) - 1 + before[:1].isspace(),
    "without the blanks before the text": lambda before: len(before.lstrip()),
    "after NFC": lambda before: len(unicodedata.normalize("NFC", before)),
    "after NFD": lambda before: len(unicodedata.normalize("NFD", before)),
    "after NFKC": lambda before: len(unicodedata.normalize("NFKC", before)),
    "after NFKD": lambda before: len(unicodedata.normalize("NFKD", before)),
    "with & < > escaped": lambda before: len(html.escape(before, quote=False)),
    "with escapes such as &amp; as one": lambda before: len(html.unescape(before)),
    "with tabs as 8 columns": lambda before: len(before.replace("\r", "\n").expandtabs(8)),
    "without zero-width characters": lambda before: len(before.replace("\u200b", "").replace("\u00ad", "")),
    "from 1": lambda before: len(before) + 1,
}
WORDS = ("fever", "café", "cafe\u0301", "β", "😀", "ﬁbrosis", "co\u00adugh", "Å")
BLANKS = (" ", "\n", "\r\n", "\t", "  ", " & ", " < ", " &lt; ", " \u200b", "\xa0")


@st.composite
def told_apart(draw: st.DrawFn) -> tuple[str, list[Mention]]:
    """A text whose words are all different, and some of them as mentions."""
    text, mentions = draw(st.sampled_from(("", *BLANKS))), []
    for number in range(draw(st.integers(1, 12))):
        word = (
            draw(st.sampled_from(("fever", "café", "cafe\u0301", "β", "😀", "ﬁbrosis", "co\u00adugh", "Å")))
            + f"{number}."
        )
        if draw(st.booleans()):
            mentions.append(Mention(len(text), len(text) + len(word), "symptom"))
        text += word + draw(st.sampled_from(BLANKS))
    return text, mentions


@pytest.mark.parametrize("reading", THEIRS)
@settings(deadline=None, max_examples=25)  # other work may keep the machine busy
@given(told_apart())
def test_offsets_of_any_reading_give_the_mentions_back(reading: str, made) -> None:
    text, mentions = made
    count, counts = THEIRS[reading], Counter()
    claims = [Claim(((count(text[: m.start]), count(text[: m.end])),), m.type, text[m.start : m.end]) for m in mentions]
    assert mentions_of(text, claims, counts) == tuple(mentions)
    differ = any((m.start, m.end) != claim.pieces[0] for m, claim in zip(mentions, claims, strict=True))
    assert sum(counts.values()) == differ and (not differ or next(iter(counts)).startswith("offsets "))


def test_a_last_character_that_is_meant_is_read() -> None:
    counts = Counter()
    claims = [Claim(((3, 7),), "s", "fever"), Claim(((10, 14),), "s", "cough")]
    assert mentions_of("No fever, cough", claims, counts) == (Mention(3, 8, "s"), Mention(10, 15, "s"))
    assert counts == {"offsets end included": 1}


@pytest.mark.parametrize(
    "claims",
    [
        [Claim(((11, 13),), "s", "ab")],  # from 1, and after a mark of 3 bytes
        [Claim(((0, 3),), "s", "flu"), Claim(((6, 8),), "s", "no")],  # the plain reading fits the first
        [Claim(((0, 3),), "s", "TNF-a")],
        [Claim(((90, 93),), "s", "flu")],
    ],
)
def test_without_one_reading_the_offsets_are_plain(claims: list[Claim]) -> None:
    """What fits nothing, two readings, or takes from the plain one, is counted."""
    counts = Counter()
    mentions_of("flu, no abab.", claims, counts)
    assert counts == {"out_of_text": 1}


def test_crlf_of_brat(tmp_path: Path) -> None:
    """nlplab/brat#853: a text with CRLF, offsets that count it as one."""
    (tmp_path / "a.txt").write_bytes(b"Line one is here.\r\nHe has asthma.\r\nfever and cough\r\n")
    (tmp_path / "a.ann").write_bytes(b"T1\tdisease 25 31\tasthma\r\nT2\tsymptom 33 38\tfever\r\n")
    corpus = read_brat(tmp_path)
    assert corpus.documents[0].mentions == (Mention(26, 32, "disease"), Mention(35, 40, "symptom"))
    assert corpus.counts["out_of_text"] == 0 and corpus.counts["offsets with CRLF as one"] == 1


def test_utf_16_units_of_brat(tmp_path: Path) -> None:
    """nlplab/brat#1115: an emoji before the mention."""
    (tmp_path / "a.txt").write_text("😀 fever and β-blocker café")
    for offsets in ("2 7", "3 8"):
        (tmp_path / "a.ann").write_text(f"T1\tsymptom {offsets}\tfever\n")
        assert mentioned(read_brat(tmp_path)) == {"a": [("fever", "symptom")]}


@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_a_mark_at_the_start_is_no_part_of_the_text(tmp_path: Path, mark: str) -> None:
    (tmp_path / "a.txt").write_text(f"{mark}fever and cough")
    for shift in (0, 1, 3) if mark else (0,):
        (tmp_path / "a.ann").write_text(f"{mark}T1\tsymptom {shift} {shift + 5}\tfever\n")
        corpus = read_brat(tmp_path)
        assert mentioned(corpus) == {"a": [("fever", "symptom")]} and corpus.documents[0].text == "fever and cough"


@pytest.mark.parametrize(
    ("title", "offsets"),
    [("é", "3 8"), ("a title", "8 13"), ("a title", "7 12"), ("a title", "9 14")],  # bytes; joined in three ways
)
def test_offsets_of_pubtator(tmp_path: Path, title: str, offsets: str) -> None:
    """lfurrer/bconv#5: bytes."""
    offsets = "\t".join(offsets.split())
    (tmp_path / "a.txt").write_text(f"1|t|{title}\n1|a|fever\n1\t{offsets}\tfever\tsymptom\n")
    assert mentioned(read_pubtator(tmp_path)) == {"1": [("fever", "symptom")]}
