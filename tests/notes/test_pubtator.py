"""PubTator: offsets over title, blank, abstract."""

import gzip
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings

from ckd_dist.notes.note import decode, encode
from ckd_dist.notes.pubtator import read_pubtator
from ckd_dist.notes.read import read_corpus, to_notes
from ckd_dist.notes.splits import split_corpus
from tests.notes.synthetic import TYPES, annotated, check_round_trip, data, mentioned

TWO = """
12|t|Ataxia in mice.
12|a|Mice with ataxia | gait fall.
12\t0\t6\tAtaxia\tSpecificDisease\tD001259
12\t26\t32\tataxia\tDiseaseClass
12\t26\t32\tataxia\tDiseaseClass
12\t27\t33\tataxia\tDiseaseClass
12\tCID\tD003000\tD001259
12\t26\tx\tataxia\tDiseaseClass
13\t0\t6\tAtaxia\tSpecificDisease
12\t0
13|a|An abstract of nobody.

14|t|Title alone
"""


def test_two_documents_by_hand(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(TWO)
    corpus = read_pubtator(tmp_path)
    assert mentioned(corpus) == {"12": [("Ataxia", "SpecificDisease"), ("ataxia", "DiseaseClass")], "14": []}
    assert [d.text for d in corpus.documents] == ["Ataxia in mice. Mice with ataxia | gait fall.", "Title alone "]
    assert corpus.counts["out_of_text"] == 1
    assert corpus.counts["malformed_lines"] == 4  # end x, another's mention, too short, an abstract without title


def test_without_a_single_mention_nobody_annotated(tmp_path: Path) -> None:
    (tmp_path / "raw.txt").write_text("1|t|A title\n1|a|An abstract\n")
    assert read_pubtator(tmp_path).documents[0].mentions is None


@settings(deadline=None)  # other work may keep the machine busy
@given(annotated(blanks=(" ", "  ", "\u2005", "\xa0")))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, made) -> None:
    text, mentions = made
    title, blank, abstract = text.partition(" ")
    if not blank:
        text += " "
    rows = [f"1\t{m.start}\t{m.end}\t{text[m.start : m.end]}\t{m.type}\tD1\n" for m in mentions]
    file = tmp_path_factory.getbasetemp() / "test.txt.gz"
    file.write_bytes(gzip.compress(f"1|t|{title}\n1|a|{abstract}\n{''.join(rows)}2|t|x\n2\t0\t1\tx\ty".encode()))
    document = read_pubtator(file).documents[0]
    assert (document.text, document.split) == (text, "held_out")
    check_round_trip(document, mentions)


def test_ncbi_disease(tmp_path: Path) -> None:
    for file in data("ncbi_disease").glob("*_corpus.txt.gz"):
        shutil.copy(file, tmp_path)
    corpus = read_corpus(f"pubtator:{tmp_path}")
    assert Counter(d.split for d in corpus.documents) == {"train": 592, "tuning": 100, "held_out": 100}
    assert split_corpus(corpus.documents, 0.7, 0.15, 0) == [d.split for d in corpus.documents]
    # 5,145 + 787 + 960, less the 11 of PMID 8528200's second copy and one whose characters have a blank too many
    assert corpus.counts["duplicates"] == 1 and corpus.counts["out_of_text"] == 1
    assert corpus.counts["mentions"] == 5145 + 787 + 960 - 11 - 1
    assert len(mentioned(corpus)) == 792
    kinds = dict.fromkeys(("SpecificDisease", "DiseaseClass", "Modifier", "CompositeMention"), "disease")
    kept = 0
    for note in to_notes(corpus.documents, kinds):
        tags_U, lost = encode(note, note.mentions, TYPES)
        assert lost.overlapping == lost.wordless == 0
        kept += len(set(decode(note, tags_U, TYPES)) & set(note.mentions))
    assert corpus.counts["mentions"] - kept == 2  # "autosomal dominant disorde(r", "complemen(t": they end in a word
