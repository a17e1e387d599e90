"""brat stand-off: every mention is the characters it was, what tags cannot say is counted."""

import gzip
import io
import re
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings

from ckd_dist.notes.brat import read_brat
from ckd_dist.notes.note import Prediction, decode, encode
from ckd_dist.notes.read import read_corpus, to_notes
from ckd_dist.notes.splits import split_corpus
from ckd_dist.studies.ner.standoff import write_brat
from tests.notes.synthetic import TYPES, annotated, check_round_trip, data, mentioned

TEXT = "He had chest\npain, no fever.\nTook aspirin 81 mg.\n"
ANN = """T1\tSymptom 7 17\tchest pain
T2\tSymptom 22 27\tfever
T3\tDrug 34 41\taspirin
T4\tSymptom 7 12;13 17\tchest pain
T5\tSymptom 7 12;22 27\tchest fever
T6\tDrug 34 41\tibuprofen
T7\tDrug 34 410\taspirin
T8\tDrug 34\taspirin
T9 Drug 34 41 aspirin
T10\tDrug 34 41\taspirin\t
E1\tTaking:T3
R1\tTreats Arg1:T3 Arg2:T1
A1\tNegated T2
#1\tAnnotatorNotes T1\tsure?
*\tEQUIV T1 T4
"""


def test_a_note_by_hand(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.ann").write_text(ANN)
    (tmp_path / "b.txt").write_text("Nobody read this.")
    (tmp_path / "c.txt").write_text("Nothing found here.")
    (tmp_path / "c.ann").write_text("")
    corpus = read_brat(tmp_path)
    assert mentioned(corpus)["a"] == [("chest\npain", "Symptom"), ("fever", "Symptom"), ("aspirin", "Drug")]
    assert [document.mentions for document in corpus.documents[1:]] == [None, ()]
    assert corpus.counts["annotated"] == 2 and corpus.counts["mentions"] == 3
    assert corpus.counts["discontinuous"] == 1  # T5; T4 is T1, cut at the end of the line as brat does
    assert corpus.counts["out_of_text"] == 2  # T6, T7
    assert corpus.counts["malformed_lines"] == 3  # T8, T9, T10


def test_an_archive_reads_as_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for part in ("train", "dev", "test"):
        (folder / part).mkdir(parents=True)
        (folder / part / "latest_test.txt").write_text(f"{TEXT}{part}")
        (folder / part / "latest_test.ann").write_text(ANN)
    with tarfile.open(tmp_path / "corpus.tar.gz", "w:gz") as archive:
        archive.add(folder, ".")
        hidden = tarfile.TarInfo("./train/._latest_test.txt")  # what macOS leaves in archives
        hidden.size = 3
        archive.addfile(hidden, io.BytesIO(b"\x00\xff\xfe"))
    one, other = read_brat(folder), read_brat(tmp_path / "corpus.tar.gz")
    assert one == other
    assert [d.split for d in one.documents] == ["tuning", "held_out", "train"]


@settings(deadline=None)  # other work may keep the machine busy
@given(annotated())
def test_published_notes_come_back(tmp_path_factory: pytest.TempPathFactory, made) -> None:
    text, mentions = made
    folder = tmp_path_factory.getbasetemp() / "brat"
    write_brat(folder, [("note", text, [Prediction(mention, 0.5) for mention in mentions])])
    corpus = read_brat(folder)
    assert corpus.counts["discontinuous"] == corpus.counts["malformed_lines"] == corpus.counts["out_of_text"] == 0
    check_round_trip(corpus.documents[0], mentions)


def test_what_is_no_corpus_is_refused_without_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.ann").write_text(ANN)
    with pytest.raises(ValueError, match=r"1 \.ann files lack their \.txt: add"):
        read_brat(tmp_path)
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"file 2 of 2 in .*is not UTF-8 at byte 3") as caught:
        read_brat(tmp_path)
    assert "caf" not in str(caught.value) and caught.value.__suppress_context__
    with pytest.raises(ValueError, match="is one file: give the folder"):
        read_brat(tmp_path / "a.txt")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    (tmp_path / "a.txt").unlink()
    with pytest.raises(ValueError, match=r"file 2 of 2 in .*cannot be read \(EOFError\)"):
        read_brat(tmp_path)
    (tmp_path / "b.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"b\.tar\.gz cannot be read"):
        read_brat(tmp_path / "b.tar.gz")


def test_maccrobat() -> None:
    archive = data("maccrobat2020", "maccrobat2020.tar.gz")
    corpus = read_corpus(f"brat:{archive}")
    num_documents, kinds, pieces, joined = recount(archive)
    assert len(corpus.documents) == num_documents == 129
    counted = Counter(mention.type for document in corpus.documents for mention in document.mentions)
    assert {kind: counted[kind] for kind in kinds} == kinds
    assert (counted["Sign_symptom"], counted["Disease_disorder"], counted["Medication"]) == (
        2142,
        893,
        674,
    )  # of all 200 reports: 3,382, 1,362, 1,080
    assert corpus.counts["discontinuous"] == pieces - joined
    assert (pieces, joined) == (35, 4)  # four are cut by a line break alone
    assert corpus.counts["malformed_lines"] == 1 and corpus.counts["out_of_text"] == 0
    assert lost_to_tags(corpus.documents) == {"overlapping": 3, "borders": 4}
    assert set(split_corpus(corpus.documents, 0.7, 0.15, 0)) == {"train", "tuning", "held_out"}


def recount(archive: Path) -> tuple[int, Counter[str], int, int]:
    """Documents, mentions by type, mentions in pieces, and of these the ones parted by line breaks alone: by a loop."""
    with tarfile.open(archive) as opened:
        files = {m.name: opened.extractfile(m).read().decode() for m in opened if m.isfile()}
    kinds, pieces, joined = Counter(), 0, 0
    for name in (name for name in files if name.endswith(".ann")):
        text = files[name[:-4] + ".txt"]
        for line in files[name].split("\n"):
            fields = line.split("\t")
            if not line.startswith("T") or len(fields) != 3:
                continue
            kind, places = fields[1].split(" ", 1)
            numbers = [int(number) for number in re.split("[ ;]", places)]
            gaps = [text[a:b] for a, b in zip(numbers[1:-1:2], numbers[2::2], strict=True)]
            whole = all(gap == "\n" for gap in gaps)
            pieces, joined = pieces + bool(gaps), joined + (bool(gaps) and whole)
            kinds[kind] += whole
    return sum(name.endswith(".txt") for name in files), kinds, pieces, joined


def lost_to_tags(documents) -> dict[str, int]:
    """Gold that tags cannot hold: mentions that overlap a longer one, and those that begin or end within a word."""
    types = {"Disease_disorder": "disease", "Medication": "medication", "Sign_symptom": "symptom"}
    lost = Counter()
    for note in to_notes(documents, types):
        tags_U, counted = encode(note, note.mentions, TYPES)
        back = decode(note, tags_U, TYPES)
        lost["overlapping"] += counted.overlapping
        lost["borders"] += len(set(note.mentions) - set(back)) - counted.overlapping - counted.wordless
    return dict(lost)
