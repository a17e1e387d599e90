"""What a corpus keeps and loses is said, and a corpus that keeps nothing is refused before anything is trained."""

from pathlib import Path

import pytest

from ckd_dist.notes.columns import columns_of
from ckd_dist.notes.read import read_corpus, to_notes
from ckd_dist.notes.usable import account_of, check_usable, kept_of
from ckd_dist.studies.ner.config import TYPES
from tests.notes.synthetic import data

TEXT = "He has asthma.\nNo fever, café {}."


def said(source: str, types: dict[str, str] = TYPES) -> str:
    """The line of `read`; raises as it does."""
    corpus = read_corpus(source)
    kept = kept_of(corpus, to_notes(corpus.documents, types), types)
    check_usable(source, corpus, kept)
    return account_of(corpus, kept, {"mentions without a word": 0}).sentence()


def brat(folder: Path, *lines: str, text: str = TEXT, num: int = 40) -> str:
    """A brat corpus whose documents all have these lines."""
    for number in range(num):
        (folder / f"{number}.txt").write_text(text.format(number))
        (folder / f"{number}.ann").write_text("".join(f"T{place}\t{line}\n" for place, line in enumerate(lines, 1)))
    return f"brat:{folder}"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["disease 7 13\tasthma", "symptom 18 23\tfever"], "80 mentions (disease 40, symptom 40)"),
        (["DISEASE 7 13\tasthma", "sign-symptom 18 23\tfever"], "80 mentions (disease 40, symptom 40)"),
        (["Chemical 7 13\tasthma"], "40 mentions (medication 40)"),
        (
            ["disease 7 13\tasthma", "Problem 18 23\tfever"],
            "40 mentions (disease 40); lost: 40 mentions that notes.types does not name (Problem 40)",
        ),
        (
            ["disease 7 13\tasthma", "disease 7 10;18 23\tast fever"],
            "40 mentions (disease 40); lost: 40 mentions in several pieces",
        ),
        (
            ["disease 7 13\tasthma", "symptom 18 22\tfeve"],  # explosion/spaCy#5727
            "80 mentions (disease 40, symptom 40); 40 mentions begin or end within a word",
        ),
        (
            ["SpecificDisease 7 13\tasthma", "Modifier 7 13\tasthma"],
            "40 mentions (disease 40); 40 mentions are at the place and of the column of another",
        ),
        (["disease 8 14\tasthma"], "40 mentions (disease 40); 40 documents have offsets from 1"),
    ],
)
def test_the_line_of_a_corpus(tmp_path: Path, lines: list[str], line: str) -> None:
    assert said(brat(tmp_path, *lines)) == f"40 documents (40 annotated), {line}"


def test_documents_without_mentions_and_without_annotation_are_told_apart(tmp_path: Path) -> None:
    source = brat(tmp_path, "disease 7 13\tasthma", num=3)
    (tmp_path / "2.ann").write_text("")
    (tmp_path / "README.txt").write_text("How it was annotated.")
    wanted = "4 documents (3 annotated, 1 without a mention), 2 mentions (disease 2); 1 documents have no annotation"
    assert said(source) == wanted


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        (
            ["Problem 7 13\tasthma", "Finding 18 23\tfever"],
            r"80 mentions of 2 types \(Problem 40, Finding 40\), none of",
        ),
        (["disease 37 43\tasthma"], "40 of 40 mentions are not in their text"),
        (
            ["disease 7 10;18 23\tast fever"],
            r"40 documents are annotated and no mention can be used \(lost: 40 mentions",
        ),
        (["disease\t7 13\tasthma"], r"no mention can be used \(lost: 40 malformed lines"),
        ([], "40 documents are annotated and no mention can be used"),
        (["disease 7 12\tasthm", "symptom 19 23\tever"], "80 of 80 mentions begin or end within a word"),
    ],
)
def test_a_corpus_that_keeps_nothing_is_refused(tmp_path: Path, lines: list[str], refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal) as caught:
        said(brat(tmp_path, *lines))
    assert "asthma" not in str(caught.value)


@pytest.mark.parametrize(("num_wrong", "refused"), [(2, False), (3, True)])
def test_a_twentieth_may_be_out_of_its_text(tmp_path: Path, num_wrong: int, refused: bool) -> None:
    source = brat(tmp_path, "disease 7 13\tasthma")
    for number in range(num_wrong):
        (tmp_path / f"{number}.ann").write_text("T1\tdisease 7 13\tflu\n")
    if refused:
        with pytest.raises(ValueError, match="3 of 40 mentions are not in their text"):
            said(source)
    else:
        assert "lost: 2 mentions that are not in their text" in said(source)


def test_tags_without_a_type_are_of_the_only_one_or_refused(tmp_path: Path) -> None:
    """dmis-lab/biobert#35."""
    (tmp_path / "a.tsv").write_text("adenomatous\tB\npolyposis\tI\ncoli\tI\nwas\tO\n")
    with pytest.raises(ValueError, match="1 mentions have a tag without a type"):
        said(f"iob:{tmp_path}")
    for types in ({"Disease": "disease", "DiseaseClass": "disease"}, TYPES | {"": "disease"}):
        assert said(f"iob:{tmp_path}", types) == "1 documents (1 annotated), 1 mentions (disease 1)"


def test_an_offset_in_bytes_without_characters_is_read_where_words_say_so(tmp_path: Path) -> None:
    row = '{"text": "😀 fever é cough", "spans": [[%d, %d, "symptom"], [%d, %d, "symptom"]]}\n'
    for places in ((2, 7, 10, 15), (3, 8, 11, 16), (5, 10, 14, 19)):  # characters, UTF-16 units, bytes
        (tmp_path / "a.jsonl").write_text(row % places)
        [document] = read_corpus(f"jsonl:{tmp_path}").documents
        assert [document.text[m.start : m.end] for m in document.mentions] == ["fever", "cough"]


def test_one_letter_s_case_does_not_make_a_type(tmp_path: Path) -> None:
    types = {"Disease": "a", "DISEASE": "b", "Drug": "c"}
    assert columns_of(["Disease", "DISEASE", "disease", "drug", "Age"], types) == {
        "Disease": "a",
        "DISEASE": "b",
        "drug": "c",
    }


def test_blanks_at_the_ends_are_no_part_of_a_mention(tmp_path: Path) -> None:
    source = brat(tmp_path, "disease 6 14\t asthma.", num=1)
    [note] = to_notes(read_corpus(source).documents, TYPES)
    assert [note.text[m.start : m.end] for m in note.mentions] == ["asthma."]


def test_the_lines_of_open_corpora() -> None:
    line = said(f"brat:{data('maccrobat2020', 'maccrobat2020.tar.gz')}")
    assert line.startswith(
        "129 documents (129 annotated), 3,709 mentions (symptom 2,142, disease 893, medication 674); lost: 12,031 "
        "mentions that notes.types does not name (Diagnostic_procedure 2,860, Biological_structure 1,874, "
    )
    line = said(f"pubtator:{data('ncbi_disease', 'NCBItestset_corpus.txt.gz')}")
    assert line == "100 documents (100 annotated), 960 mentions (disease 960)"
