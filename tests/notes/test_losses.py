"""A corpus that loses more than a twentieth of its lines, its objects or its annotators' agreement is refused."""

import json
from pathlib import Path

import pytest

from ckd_dist.notes.read import read_corpus
from tests.notes.test_usable import TEXT, brat, said

BROKEN = {  # form -> a line of a mention, and the same as tools and hands break it
    "brat": ("T1\tdisease 7 13\tasthma", ["T1\tdisease 7 13", "T1 disease 7 13 asthma", "T1\tMy type 7 13\tasthma"]),
    "pubtator": (
        "{0}\t10\t16\tasthma\tDisease\tD1",
        ["{0} 10 16 asthma Disease", "{0}\t10\t16\tasthma", "9{0}\t10\t16\tasthma\tDisease\tD1", "{0}\tten\t16"],
    ),
    "jsonl": ('[7, 13, "disease"]', ["[7, 13]", "7", '["disease", 7, 13]', '[7.5, 13, "disease"]']),
}
CASES = [(form, broken) for form, (_, lines) in BROKEN.items() for broken in lines]


def corpus(folder: Path, form: str, lines: list[str]) -> str:
    """A corpus with one document a line."""
    for number, line in enumerate(lines):
        line = line.replace("{0}", str(number))
        if form == "brat":
            (folder / f"{number}.txt").write_text(TEXT.format(number))
            (folder / f"{number}.ann").write_text(line)
        else:
            text = TEXT.format(number)
            written = f"{number}|t|Aa\n{number}|a|{text[:14]}\n{line}\n\n"
            row = f'{{"text": {json.dumps(text)}, "entities": [{line}]}}\n'
            with (folder / "a.txt" if form == "pubtator" else folder / "a.jsonl").open("a") as file:
                file.write(written if form == "pubtator" else row)
    return f"{form}:{folder}"


@pytest.mark.parametrize(("form", "broken"), CASES)
@pytest.mark.parametrize("num_broken", [2, 3, 39])
def test_a_twentieth_may_be_malformed(tmp_path: Path, form: str, broken: str, num_broken: int) -> None:
    source = corpus(tmp_path, form, [BROKEN[form][0]] * (40 - num_broken) + [broken] * num_broken)
    if num_broken == 2:
        assert "lost: 2 malformed lines" in said(source)
    else:
        with pytest.raises(ValueError, match=f"{num_broken} of 40 (lines of mentions|objects or rows) are") as caught:
            said(source)
        assert "asthma" not in str(caught.value)


def test_offsets_of_a_data_frame_are_read(tmp_path: Path) -> None:
    source = corpus(tmp_path, "pubtator", ["{0}\t10.0\t16.0\tasthma\tDisease\tD1"] * 3)
    assert said(source) == "3 documents (3 annotated), 3 mentions (disease 3)"


@pytest.mark.parametrize("other", ["", "T1\tsymptom 7 13\tasthma", "T1\tdisease 18 23\tfever"])
@pytest.mark.parametrize("num", [2, 3])
def test_two_annotators_are_not_one(tmp_path: Path, other: str, num: int) -> None:
    """A text that is asthma once and nothing once would be learned from and scored against both ways."""
    (tmp_path / "ann1").mkdir()
    (tmp_path / "ann2").mkdir()
    brat(tmp_path / "ann1", "disease 7 13\tasthma", num=40)
    for number in range(num):
        (tmp_path / "ann2" / f"{number}.txt").write_text(TEXT.format(number).replace(" ", "  "))
        (tmp_path / "ann2" / f"{number}.ann").write_text(
            other.replace("7 13", "8 14").replace("18 23", "20 25").replace("T1", "T4")
        )
    if num == 2:
        assert "2 texts are annotated in two ways" in said(f"brat:{tmp_path}")
    else:
        with pytest.raises(ValueError, match="3 texts are there more than once with different mentions"):
            said(f"brat:{tmp_path}")


def test_copies_that_agree_are_no_disagreement(tmp_path: Path) -> None:
    for folder in ("ann1", "ann2"):
        (tmp_path / folder).mkdir()
        brat(tmp_path / folder, "disease 7 13\tasthma", num=5)
    assert read_corpus(f"brat:{tmp_path}").counts["disagreeing"] == 0


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_copies_the_annotated_one_is_kept(tmp_path: Path, order: int) -> None:
    rows = [{"id": 1, "text": "He has asthma"}, {"id": 1, "text": "He has asthma", "entities": [[7, 13, "disease"]]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows[::order])))
    assert "1 documents (1 annotated), 1 mentions" in said(f"jsonl:{tmp_path}")


def test_no_name_of_a_file_or_key_of_an_object_is_said(tmp_path: Path) -> None:
    """A file is often called by its patient's number, and objects are keyed by it (security.md, S7)."""
    (tmp_path / "Smithson.ann").write_text("T1\tdisease 0 1\ta")
    with pytest.raises(ValueError, match=r"1 \.ann files lack") as orphan:
        read_corpus(f"brat:{tmp_path}")
    (tmp_path / "Smithson.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"file 2 of 2 in the order of names \(\.txt\) is not UTF-8") as foreign:
        read_corpus(f"brat:{tmp_path}")
    (tmp_path / "Smithson.txt").write_text("fever xx\n" * 3)
    with pytest.raises(ValueError, match="most of them in file 1 of 1") as untagged:
        read_corpus(f"iob:{tmp_path}")
    (tmp_path / "a.json").write_text('{"Smithson": {"text": "fever"}, "note": ""}')
    with pytest.raises(ValueError, match="the fields note; a document") as keyed:
        read_corpus(f"jsonl:{tmp_path}")
    assert not any("Smithson" in str(caught.value) for caught in (orphan, foreign, untagged, keyed))
