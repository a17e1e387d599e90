"""The page shows every character as text and nothing as markup, whatever is in the notes."""

import html
import html.parser
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ckd_dist.notes.note import Mention, Prediction
from ckd_dist.studies.ner.report import highlight
from ckd_dist.studies.ner.report.highlight import MOST_CHARACTERS, Marked, beginning, evenly, pieces_of, write_page

TYPES = ["disease", "medication", "symptom"]


class Reader(html.parser.HTMLParser):
    """Takes the page apart as a browser would: note texts, marks with what is in them, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.marks: list[tuple[str, dict[str, Any]]] = []
        self.in_text = self.in_mark = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if ("class", "text") in attrs:
            self.in_text = True
            self.texts.append("")
        if tag == "mark" and self.in_text:
            self.in_mark = True
            self.marks.append(("", dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.in_text &= tag != "div"
        self.in_mark &= tag != "mark"

    def handle_data(self, data: str) -> None:
        if self.in_text:
            self.texts[-1] += data
        if self.in_mark:
            self.marks[-1] = (self.marks[-1][0] + data, self.marks[-1][1])


def read(tmp_path: Path, *notes: Marked) -> tuple[Reader, str]:
    write_page(tmp_path / "page.html", notes, TYPES, title="A look")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    return reader, page


def legend(page: str) -> dict[str, str]:
    return dict(re.findall(r">([^<>]+)</mark> <small>([\d,]+)</small>", page))


def test_a_note(tmp_path: Path) -> None:
    """What a clinician sees: the text as it was, each entity with its type, its letters and how sure it is."""
    text = "No fever.\nGout, on allopurinol.\n"
    found = [
        Prediction(Mention(3, 8, "symptom"), 0.5),
        Prediction(Mention(10, 14, "disease"), 0.934),
        Prediction(Mention(19, 30, "medication"), 1.0),
    ]
    reader, page = read(tmp_path, Marked("ward 3/note 7", text, found))
    assert reader.texts == [text]
    assert [(shown, mark["title"], mark["data-ends"]) for shown, mark in reader.marks] == [
        ("fever", "symptom, 0.50", "S"),
        ("Gout", "disease, 0.93", "D"),
        ("allopurinol", "medication, 1.00", "M"),
    ]
    shades = [float(re.search(r",([\d.]+)\)", mark["style"])[1]) for _, mark in reader.marks]
    assert shades == sorted(shades)
    assert shades[0] < shades[1] < shades[2] == 0.6
    assert len({mark["style"].rsplit(",", 1)[0] for _, mark in reader.marks}) == 3  # colours
    assert len({mark["class"] for _, mark in reader.marks}) == 3  # lines, for print
    assert legend(page) == {"disease": "1", "medication": "1", "symptom": "1"}
    assert "ward 3/note 7" in page
    assert "The only note." in page


def test_gold_beside_found(tmp_path: Path) -> None:
    text = "Chronic kidney disease, gout, pain."
    disease, kidney = Mention(0, 22, "disease"), Mention(8, 22, "disease")
    gout, pain = Mention(24, 28, "disease"), Mention(30, 34, "symptom")
    reader, page = read(
        tmp_path, Marked("a", text, [Prediction(kidney, 0.8), Prediction(gout, 0.9)], [disease, gout, pain])
    )
    shown = {text: (mark["title"], set(mark["class"].split()), mark.get("data-ends")) for text, mark in reader.marks}
    assert shown["Chronic "][0] == "disease, missed"
    assert {"missed", "first"} <= shown["Chronic "][1]
    assert "found" not in shown["Chronic "][1]
    assert shown["kidney disease"][0] == "disease, 0.80, not in gold; disease, missed"
    assert {"missed", "wrong", "found", "last"} <= shown["kidney disease"][1]
    assert shown["kidney disease"][2] == "D✗ D?"
    assert shown["gout"][::2] == ("disease, 0.90", "D")
    assert not {"missed", "wrong"} & shown["gout"][1]
    assert shown["pain"][::2] == ("symptom, missed", "S?")
    assert "2 found, 1 of them as annotated; 2 missed" in page
    assert legend(page) == {"disease": "2", "medication": "0", "symptom": "0"}


NASTY = '</div></mark><script>alert("x")</script> & <b>BP < 90</b> &amp; &lt; <!-- \' {{ 7*7 }} {% raw %} ]]>'


def test_markup_is_text(tmp_path: Path) -> None:
    """A note, a name, a title and a type full of markup: every character is seen, none is obeyed."""
    kind = "<i onmouseover='x'>"
    found = [Prediction(Mention(13, 38, kind), 0.5), Prediction(Mention(2, 5, "disease"), 0.5)]
    write_page(tmp_path / "p.html", [Marked(NASTY, NASTY, found, [Mention(0, 9, kind)])], TYPES, title=NASTY)
    page = (tmp_path / "p.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert reader.texts == [NASTY]
    assert not {"script", "b", "i"} & set(reader.tags)
    assert "<script" not in page
    assert {t for t in reader.tags if t not in ("mark", "span", "small")} == set(
        ["html", "head", "meta", "title", "link", "style", "body", "h1", "p", "h2", "div"]
    )
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert not re.findall(r"https?://|url\(|@import", page)
    assert html.unescape(page).count(NASTY) >= 3


@st.composite
def marked(draw: st.DrawFn) -> Marked:
    text = draw(st.text(st.sampled_from("ab é<&\"'\n\r\t\0\x1b\u202e\ud800\U0001f600]}"), min_size=1, max_size=30))
    span = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)), st.sampled_from([*TYPES, "other <"]))
    spans = [Mention(min(a, b), max(a, b), kind) for a, b, kind in draw(st.lists(span, max_size=6))]
    spans = [m for m in spans if text[m.start : m.end].strip()]
    cut = draw(st.integers(0, len(spans)))
    gold = draw(st.sampled_from([None, tuple(spans[cut // 2 :])]))
    return Marked("n", text, [Prediction(m, draw(st.floats(0.01, 1))) for m in spans[:cut]], gold)


@settings(max_examples=100, deadline=None)
@given(marked())
@example(Marked("n", "a\r\nb", [Prediction(Mention(0, 2, "disease"), 0.5)]))
def test_every_character_is_there_once(tmp_path_factory: pytest.TempPathFactory, note: Marked) -> None:
    """Nested, crossing and repeated mentions too; what cannot be shown keeps its place."""
    reader, _ = read(tmp_path_factory.getbasetemp(), note)
    (text,) = reader.texts
    plain = note.text.replace("\r\n", " \n").replace("\r", "\n")
    assert len(text) == len(note.text)
    assert all(a == b or a == "\ufffd" for a, b in zip(text, plain, strict=True))
    assert all(a == b for a, b in zip(text, plain, strict=True) if b.isalnum() or b in "<&\"' \n\t")
    inside = [m for m in (*(f.mention for f in note.predictions), *(note.gold or ()))]
    covered = {u for m in inside for u in range(m.start, m.end)}
    assert sum(len(shown) for shown, _ in reader.marks) == len(covered)


@pytest.mark.parametrize(("total", "most"), [(0, 5), (1, 5), (5, 5), (6, 5), (7, 3), (1000, 50), (99, 50)])
def test_evenly(total: int, most: int) -> None:
    chosen = evenly(total, most)
    assert len(chosen) == len(set(chosen)) == min(total, most)
    assert chosen == sorted(chosen)
    assert all(0 <= number < total for number in chosen)
    steps = {b - a for a, b in pairwise(chosen)}
    assert not steps or max(steps) - min(steps) <= 1


def test_says_that_not_all_is_shown(tmp_path: Path) -> None:
    notes = [Marked(f"note number {k}.", "Gout.", [Prediction(Mention(0, 4, "disease"), 0.9)]) for k in range(100)]
    _, page = read(tmp_path, *notes)
    assert "50 of 100 notes, chosen at even steps" in page
    assert re.findall(r"note number (\d+)\.", page) == [str(2 * k) for k in range(50)]
    assert legend(page)["disease"] == "50"
    assert "chosen" not in read(tmp_path, *notes[:50])[1].split("<body>")[1]
    assert "There is no note to show." in read(tmp_path)[1]


def test_more_types_than_colours_still_differ(tmp_path: Path) -> None:
    kinds = [f"type {chr(97 + k)}" for k in range(28)]
    found = [Prediction(Mention(3 * k, 3 * k + 2, kind), 0.5) for k, kind in enumerate(kinds)]
    reader, _ = read(tmp_path, Marked("n", "ab " * 28, found))
    assert len({(mark["style"], mark["class"]) for _, mark in reader.marks}) == 28
    assert len({mark["data-ends"] for _, mark in reader.marks}) == 28


def test_what_is_not_in_the_note_is_refused(tmp_path: Path) -> None:
    for note in (
        Marked("n", "secret", [Prediction(Mention(0, 7, "disease"), 0.5)]),
        Marked("n", "secret", [], [Mention(3, 3, "disease")]),
    ):
        with pytest.raises(ValueError, match="shown note 2: an entity") as refused:
            write_page(tmp_path / "p.html", [Marked("m", "x", []), note], TYPES, title="t")
        assert "secret" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


# --- long notes (field/notes_concepts.md N10) ------------------------------------------------------------------------


def with_entities(num: int, depth: int = 1) -> Marked:
    """A note of `num` entities of three characters, each under `depth` - 1 longer ones of gold that were missed."""
    found = [Prediction(Mention(4 * k, 4 * k + 3, "disease"), 0.5) for k in range(num)]
    gold = [Mention(4 * k, min(4 * (k + d), 4 * num) - 1, "symptom") for k in range(num) for d in range(1, depth)]
    return Marked("n", "abc " * num, found, gold if depth > 1 else None)


@pytest.mark.parametrize("depth", [1, 4])
def test_time_grows_with_the_entities(depth: int) -> None:
    """Four times the entities took sixteen times as long."""

    def seconds(num: int) -> float:
        note = with_entities(num, depth)
        start = time.process_time()
        pieces_of(note, TYPES, dict.fromkeys(TYPES, "X"))
        return time.process_time() - start

    seconds(10)
    assert min(seconds(8000) for _ in range(3)) < 8 * min(seconds(2000) for _ in range(3))


def test_a_very_long_note_is_bounded_and_that_is_said(tmp_path: Path) -> None:
    note = with_entities(62_589)
    said = write_page(tmp_path / "p.html", [note, Marked("m", "Gout.", [])], TYPES, title="t")
    page = (tmp_path / "p.html").read_text()
    assert len(page) < 10_000_000
    reader = Reader()
    reader.feed(page)
    shown = len(reader.texts[0])
    assert MOST_CHARACTERS - 4 <= shown <= MOST_CHARACTERS and reader.texts[1] == "Gout."
    rest = len(note.text) - shown
    assert f"The rest is left out: {rest:,} characters with {62_589 - len(reader.marks):,} found." in page
    assert "62,589 found" in page and page.count("left out") == 1
    assert said == "Of 1 long notes the first 50,000 characters or fewer are shown."
    many = write_page(tmp_path / "p.html", [Marked("m", "Gout.", [])] * 51, TYPES, title="t")
    assert many == "50 of 51 notes, chosen at even steps; the others are not on this page."
    assert write_page(tmp_path / "p.html", [Marked("m", "Gout.", [])], TYPES, title="t") == ""


spans = st.tuples(st.integers(0, 39), st.integers(1, 40)).filter(lambda span: span[0] < span[1])


@settings(max_examples=200, deadline=None)
@given(st.text("ab \n", min_size=1, max_size=40), st.lists(spans, max_size=8), st.lists(spans, max_size=4))
def test_a_note_is_cut_where_no_entity_is(text: str, found: list, gold: list) -> None:
    mentions, missed = ([Mention(a, b, "x") for a, b in spans if b <= len(text)] for spans in (found, gold))
    note = Marked("n", text, [Prediction(mention, 0.5) for mention in mentions], missed)
    with mock.patch.object(highlight, "MOST_CHARACTERS", 10):
        part = beginning(note)
    end = len(part.text)
    assert text.startswith(part.text) and (end <= 10 or note is part) and end > 0
    kept = [mention for mention, _ in part.predictions]
    assert kept == [mention for mention in mentions if mention.end <= end]
    torn = [mention for mention in [*mentions, *missed] if mention.start < end < mention.end]
    assert not torn or end == 10  # a mention from the first character on
