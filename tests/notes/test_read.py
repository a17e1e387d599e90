"""Sources in words, names, copies and leaks."""

import json
from pathlib import Path

import pytest

from ckd_dist.notes.document import Document
from ckd_dist.notes.files import split_of_name
from ckd_dist.notes.note import Mention
from ckd_dist.notes.read import read_corpus, to_notes


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("NCBItrainset_corpus.txt.gz", "train"),
        ("NCBIdevelopset_corpus.txt.gz", "tuning"),
        ("NCBItestset_corpus.txt.gz", "held_out"),
        ("train.tsv", "train"),
        ("TRAIN.TSV", "train"),
        ("training_set/a.tsv", "train"),
        ("devel.tsv", "tuning"),
        ("dev/a.tsv", "tuning"),
        ("valid.jsonl", "tuning"),
        ("validation.jsonl", "tuning"),
        ("tuning.jsonl", "tuning"),
        ("held_out/0.jsonl", "held_out"),
        ("my-test-data.tsv", "held_out"),
        ("latest.tsv", None),
        ("device/contest.tsv", None),
        ("train-test.tsv", None),  # names two
        ("test/train.tsv", "train"),  # the innermost
    ],
)
def test_the_split_that_a_name_says(name: str, split: str | None) -> None:
    assert split_of_name(name) == split


def write(path: Path, *rows: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))


def test_a_folder_called_test_is_no_split(tmp_path: Path) -> None:
    write(tmp_path / "test" / "notes.jsonl", {"name": "a", "text": "b"})
    assert read_corpus(f"jsonl:{tmp_path / 'test'}").documents[0].split is None


def test_copies_names_and_leaks(tmp_path: Path) -> None:
    write(
        tmp_path / "train.jsonl",
        {"name": "1", "text": "twice here", "mentions": []},
        {"name": "1", "text": "twice here", "mentions": []},
        {"name": "1", "text": "another text of that name"},
        {"name": "1", "text": "a third"},
        {"name": "1#2", "text": "taken"},
        {"name": "2", "text": "leaks  into\ntuning"},
        {"name": "3", "text": "leaks into held out"},
        {"name": "4", "text": " \n"},
    )
    write(
        tmp_path / "dev.jsonl", {"name": "x", "text": "leaks into tuning"}, {"name": "3", "text": "leaks into held out"}
    )
    write(tmp_path / "test.jsonl", {"name": "3", "text": "leaks into held out"}, {"name": "2", "text": "its own"})
    corpus = read_corpus(f"jsonl:{tmp_path}")
    assert {(d.name, d.text, d.split) for d in corpus.documents} == {
        ("1", "twice here", "train"),
        ("1#3", "another text of that name", "train"),
        ("1#4", "a third", "train"),
        ("1#2", "taken", "train"),
        ("x", "leaks into tuning", "tuning"),
        ("3", "leaks into held out", "held_out"),
        ("2", "its own", "held_out"),
    }
    counts = {name: number for name, number in corpus.counts.items() if number}
    assert counts == {"annotated": 1, "duplicates": 1, "duplicates_across_splits": 3, "renamed": 2, "empty": 1}


def test_types_of_the_corpus_become_ours() -> None:
    text = "Flu, cough, aspirin, thumb"
    mentions = (
        Mention(0, 3, "Modifier"),
        Mention(0, 3, "SpecificDisease"),
        Mention(5, 10, "Sign"),
        Mention(21, 26, "Body_part"),
    )
    known, unknown = to_notes(
        [Document("a", text, mentions), Document("b", text, None)],
        {"Modifier": "disease", "SpecificDisease": "disease", "Sign": "symptom"},
    )
    assert known.mentions == (Mention(0, 3, "disease"), Mention(5, 10, "symptom"))
    assert unknown.mentions is None and known.words() == unknown.words()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("conll:x", "source 'conll:x' is none of brat:PATH"),
        ("brat", "source 'brat' is none of"),
        ("brat:", "names no place: give brat:PATH"),
        ("brat:{0}/nowhere", "there is no file or folder"),
        ("mimic4:{0}/nowhere", "there is no file or folder"),
        ("text:{0}/none", r"holds no file that ends in \.txt"),
        ("jsonl:{0}/none", r"holds no file that ends in \.jsonl or \.ndjson or \.json"),
        ("jsonl:{0}/bad", r"holds no document \(1 empty, 2 malformed lines\): is it jsonl\?"),
        ("pubtator:{0}/plain", r"holds no document \(0 empty, 1 malformed lines\): is it pubtator\?"),
    ],
)
def test_refusals(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "none").mkdir()
    for folder, name, text in (("bad", "a.jsonl", 'secret\n{"name":1,"text":""}\n[]'), ("plain", "a.txt", "secret")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        read_corpus(source.format(tmp_path))
    assert "secret" not in str(caught.value)
