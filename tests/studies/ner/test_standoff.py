"""What is written can be read: every entity comes back with its characters, and no note takes another's place."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.notes.brat import read_brat
from ckd_dist.notes.jsonl import read_jsonl
from ckd_dist.notes.note import Mention, Prediction
from ckd_dist.studies.ner.standoff import place_of, write_brat, write_jsonl

TEXT = "Chronic kidney\ndisease; no fever.\nGiven lisinopril."
FOUND = [
    Prediction(Mention(0, 22, "disease"), 0.97),
    Prediction(Mention(27, 32, "symptom"), 0.5),
    Prediction(Mention(40, 50, "medication"), 1.0),
]


def read_ann(path: Path) -> list[tuple[str, str, list[tuple[int, int]], str]]:
    """T lines as brat's own reader takes them: id, type, pieces, words."""
    lines = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        name, middle, words = line.split("\t", 2)
        kind, places = middle.split(" ", 1)
        lines.append((name, kind, [tuple(map(int, place.split())) for place in places.split(";")], words))
    return lines


def test_a_note_in_brat(tmp_path: Path) -> None:
    """The file as brat shows and checks it: the disease goes over a line's end, so it is written in two pieces."""
    write_brat(tmp_path, [("ward 3/note 7", TEXT, FOUND)])
    assert (tmp_path / "ward 3" / "note 7.ann").read_text() == (
        "T1\tdisease 0 14;15 22\tChronic kidney disease\nT2\tsymptom 27 32\tfever\nT3\tmedication 40 50\tlisinopril\n"
    )
    assert (tmp_path / "ward 3" / "note 7.txt").read_text() == TEXT


def test_a_note_in_json_lines(tmp_path: Path) -> None:
    assert write_jsonl(tmp_path / "new" / "entities.jsonl", [("a", TEXT, FOUND[1:]), ("b", "Well.", [])]) == 2
    first, second = map(json.loads, (tmp_path / "new" / "entities.jsonl").read_text().splitlines())
    assert (first["name"], first["text"]) == ("a", TEXT)
    assert first["entities"][0] == {"start": 27, "end": 32, "type": "symptom", "text": "fever", "score": 0.5}
    assert second == {"name": "b", "text": "Well.", "entities": []}


def test_our_readers_read_it(tmp_path: Path) -> None:
    """brat and JSON lines come back as they went; of the latter is said that a tagger annotated them."""
    rows = [
        ("ward 3/note 7", TEXT, FOUND),
        ("note.8", "No\tfever\r\nat all.", [Prediction(Mention(0, 12, "symptom"), 0.9)]),
    ]
    write_brat(tmp_path / "brat", rows)
    write_jsonl(tmp_path / "notes.jsonl", rows)
    corpus = read_brat(tmp_path / "brat")
    wanted = {name: (text, tuple(mention for mention, _ in found)) for name, text, found in rows}
    assert {d.name: (d.text, d.mentions) for d in corpus.documents} == wanted
    assert corpus.counts["discontinuous"] == corpus.counts["malformed_lines"] == corpus.counts["out_of_text"] == 0
    again = read_jsonl(tmp_path / "notes.jsonl")
    assert {d.name: (d.text, d.mentions) for d in again.documents} == wanted and again.counts["scored"] == 2


words = st.text(st.sampled_from("ab é\t\n\r\u2028\x0b\U0001f600\ud800<&"), min_size=1, max_size=40)


@st.composite
def notes(draw: st.DrawFn) -> tuple[str, list[Prediction]]:
    text = draw(words)
    spans = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=5))
    found = [Prediction(Mention(min(s), max(s), "disease"), 0.5) for s in spans]
    return text, [f for f in found if text[f.mention.start : f.mention.end].strip()]


@settings(max_examples=150, deadline=None)
@given(notes())
def test_every_entity_comes_back(tmp_path_factory: pytest.TempPathFactory, note: tuple[str, list[Prediction]]) -> None:
    """Any text, any spans: same characters out as in, and what brat checks holds."""
    text, found = note
    folder = tmp_path_factory.getbasetemp() / "any"
    write_brat(folder, [("n", text, found)])
    written = (folder / "n.txt").read_bytes().decode("utf-8")
    assert written == text.replace("\ud800", "?")
    lines = read_ann(folder / "n.ann")
    assert [(parts[0][0], parts[-1][1]) for _, _, parts, _ in lines] != [] or not found
    for (_, kind, parts, said), (mention, _) in zip(lines, found, strict=True):
        assert kind == mention.type
        assert said == " ".join(written[start:end] for start, end in parts)
        assert len(said.splitlines()) == len(said.split("\t")) == 1
        kept = [u for start, end in parts for u in range(start, end)]
        lost = [u for u in range(mention.start, mention.end) if u not in kept]
        assert all(written[u] == "\t" or len(f"a{written[u]}b".splitlines()) == 2 for u in lost)
        assert kept == sorted(set(kept))
        assert set(kept) <= set(range(mention.start, mention.end))
    write_jsonl(folder / "n.jsonl", [("n", text, found)])
    (line,) = (folder / "n.jsonl").read_bytes().decode("utf-8").splitlines()
    again = json.loads(line)
    assert again["text"] == written
    assert [(e["start"], e["end"]) for e in again["entities"]] == [(f.mention.start, f.mention.end) for f in found]
    assert all(e["text"] == written[e["start"] : e["end"]] for e in again["entities"])


AWKWARD = ["", ".", "..", "...", "/", "//", "/etc/x", "../x", "a", "a/b", "a.txt", "a.txt/b", "a.ann/b", "a%2Etxt/b"]
AWKWARD += ["%", "a ", " a", "a.", "a\0", "a\nb", "a\\b", "C:", ".a", "é", "e\u0301", "x" * 300, "x" * 301, "é" * 250]
AWKWARD += ["\ud800", "?", "*", "%3F", "a" * 198 + "?", "a" * 198 + "%", ".a/.b", "a//b", "a/", "a/%"]


def test_awkward_names_have_places_of_their_own(tmp_path: Path) -> None:
    """All at once in one folder: nothing leaves it, nothing is in another's way."""
    write_brat(tmp_path / "out", [(name, f"text of {name!r}", []) for name in AWKWARD])
    for name in AWKWARD:
        place = tmp_path / "out" / place_of(name)
        assert place.with_name(place.name + ".txt").read_text() == f"text of {name!r}"
        assert ".." not in place.parts
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 2 * len(AWKWARD)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@given(st.lists(st.text(st.sampled_from("a./%2Etxn é"), max_size=12), min_size=2, max_size=2, unique=True))
def test_two_names_two_places(names: list[str]) -> None:
    one, two = (place_of(name) for name in names)
    assert one != two
    assert not one.is_absolute()
    for a, b in ((one, two), (two, one)):  # no file of one is a folder of the other
        files = [a.with_name(a.name + ending) for ending in (".txt", ".ann")]
        assert not any(file in b.parents for file in files)


@pytest.mark.parametrize(
    ("mention", "score"),
    [((0, 99), 0.5), ((-1, 3), 0.5), ((4, 4), 0.5), ((6, 7), 0.5), ((0, 3), 0.0), ((0, 3), float("nan"))],
)
def test_what_is_not_in_the_note_is_refused(tmp_path: Path, mention: tuple[int, int], score: float) -> None:
    bad = [Prediction(Mention(*mention, "disease"), score)]
    with pytest.raises(ValueError, match="a note: an entity") as refused:
        write_brat(tmp_path, [("n", "secret words", bad)])
    assert "secret" not in str(refused.value)
    with pytest.raises(ValueError, match="note 2: an entity") as refused:
        write_jsonl(tmp_path / "n.jsonl", [("m", "fine", []), ("n", "secret words", bad)])
    assert "secret" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_run_leaves_what_was_there(tmp_path: Path) -> None:
    def breaks():
        yield "a", TEXT, FOUND
        raise RuntimeError("no more")

    path = tmp_path / "entities.jsonl"
    path.write_text("before")
    with pytest.raises(RuntimeError):
        write_jsonl(path, breaks())
    assert [file.name for file in tmp_path.iterdir()] == ["entities.jsonl"]
    assert path.read_text() == "before"


def test_rows_are_written_as_they_come(tmp_path: Path) -> None:
    """Not held until the last: when a thousand notes have come, most are on disk already."""
    sizes = []

    def rows():
        for number in range(1000):
            sizes.append(sum(file.stat().st_size for file in tmp_path.iterdir()))
            yield str(number), TEXT, FOUND

    assert write_jsonl(tmp_path / "entities.jsonl", rows()) == 1000
    assert sizes[-1] > 0.9 * (tmp_path / "entities.jsonl").stat().st_size
