"""Data sets of Hugging Face's give the notes that the same content gives as JSON lines or IOB, from every place."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value, config

from ckd_dist.notes.hf import read_hf
from ckd_dist.notes.iob import read_iob
from ckd_dist.notes.jsonl import read_jsonl
from ckd_dist.notes.read import read_corpus

MENTION = {"start": Value("int32"), "end": Value("int32"), "type": Value("string")}
NOTES = Features(
    {"name": Value("string"), "text": Value("string"), "subject": Value("int64"), "mentions": List(MENTION)}
)
ROWS = {
    "train": [
        {"name": "a", "text": "No fever 😀,\n cough", "subject": 7, "mentions": [{"start": 3, "end": 8, "type": "S"}]},
        {"name": "b", "text": "Well", "subject": None, "mentions": []},
        {"name": "c", "text": "Pain", "subject": 8, "mentions": [{"start": 0, "end": 9, "type": "S"}]},  # out of text
    ],
    "validation": [{"name": "d", "text": "Nobody annotated it", "subject": 9, "mentions": None}],
    "test": [{"name": "e", "text": "Itching", "subject": 10, "mentions": [{"start": 0, "end": 7, "type": "S"}]}],
}
TAGS = ["O", "B-Disease", "I-Disease"]
SENTENCES = [(["Skin", "cancer", ",", "asthma"], [1, 2, 0, 1]), (["None"], [0]), (["Flu", "B"], [2, 2])]


def in_every_place(splits: dict[str, Dataset], folder: Path) -> dict[str, Path]:
    """The same rows as a folder of save_to_disk, of parquet and of JSON lines."""
    DatasetDict(splits).save_to_disk(folder / "saved")
    for split, dataset in splits.items():
        for kind in ("parquet", "jsonl"):
            (folder / kind).mkdir(exist_ok=True)
        dataset.to_parquet(folder / "parquet" / f"{split}-00000-of-00001.parquet")
        (folder / "jsonl" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dataset))
    return {kind: folder / kind for kind in ("saved", "parquet", "jsonl")}


@pytest.fixture(autouse=True)
def no_cache() -> Iterator[None]:
    """Nothing may appear in the library's cache."""
    before = set(Path(config.HF_CACHE_HOME).rglob("*"))
    yield
    assert set(Path(config.HF_CACHE_HOME).rglob("*")) == before


@pytest.mark.parametrize("kind", ["saved", "parquet", "jsonl"])
def test_text_and_mentions_are_what_json_lines_give(tmp_path, kind):
    splits = {name: Dataset.from_list(rows, features=NOTES) for name, rows in ROWS.items()}
    place = in_every_place(splits, tmp_path)
    found, wanted = read_hf(place[kind]), read_jsonl(place["jsonl"])
    by_name = {document.name: document for document in wanted.documents}
    assert {document.name: document for document in found.documents} == by_name and len(found.documents) == 5
    assert found.counts == wanted.counts and found.counts["out_of_text"] == 1
    assert {d.name: d.split for d in found.documents} == {
        **dict.fromkeys("abc", "train"),
        "d": "tuning",
        "e": "held_out",
    }
    assert read_corpus(f"hf:{place[kind]}").counts["annotated"] == 4


@pytest.mark.parametrize("kind", ["saved", "parquet"])
def test_tokens_and_tags_are_what_iob_gives(tmp_path, kind):
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=TAGS))})
    rows = [{"tokens": tokens, "ner_tags": tags} for tokens, tags in SENTENCES]
    place = in_every_place({"train": Dataset.from_list(rows, features=features)}, tmp_path)
    (tmp_path / "iob").mkdir()
    lines = ("\n".join(f"{t}\t{TAGS[k]}" for t, k in zip(*sentence, strict=True)) for sentence in SENTENCES)
    (tmp_path / "iob" / "train.tsv").write_text("\n\n".join(lines) + "\n")
    assert read_hf(place[kind]).documents == read_iob(tmp_path / "iob").documents
    with pytest.raises(ValueError, match="ner_tags are numbers without names"):
        read_hf(place["jsonl"])


def test_bigbio_s_passages_and_pieces(tmp_path):
    title, abstract = "Skin cancer", "Cancer of skin and lung"
    passages = [
        {"id": "2", "type": "abstract", "text": [abstract], "offsets": [[12, 35]]},
        {"id": "1", "type": "title", "text": [title], "offsets": [[0, 11]]},
    ]
    entities = [
        {"id": "3", "type": "D", "text": [title], "offsets": [[0, 11]]},
        {"id": "4", "type": "D", "text": ["Cancer of", "lung"], "offsets": [[12, 21], [31, 35]]},
        {"id": "5", "type": "D", "text": ["Cancer", "of"], "offsets": [[12, 18], [19, 21]]},
        {"id": "6", "type": "D", "text": ["other"], "offsets": [[12, 17]]},
    ]
    Dataset.from_list([{"document_id": "7", "passages": passages, "entities": entities}]).save_to_disk(tmp_path / "kb")
    corpus = read_hf(tmp_path / "kb")
    [document] = corpus.documents
    assert (document.name, document.text) == ("7", f"{title} {abstract}")
    assert [(m.start, m.end, m.type) for m in document.mentions] == [(0, 11, "D"), (12, 21, "D")]
    assert corpus.counts["discontinuous"] == 1 and corpus.counts["out_of_text"] == 1


def test_refusals_say_what_was_found_and_what_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)
    (tmp_path / "other.jsonl").write_text('{"note": "secret"}\n')
    (tmp_path / "other.pkl").write_bytes(b"secret")
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "scripted.py").write_text("raise SystemExit('it was run: secret')")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("secret")
    (tmp_path / "broken.parquet").write_bytes(b"secret")
    for place, said in {
        "other.jsonl": "has the columns note; a corpus of notes has text with mentions",
        "other.pkl": r"is no data set: give a file that ends in \.parquet",
        "scripted": "cannot be read as a data set",
        "texts": "holds text files",
        "broken.parquet": "cannot be read",
        "nowhere": "there is no file or folder",
    }.items():
        with pytest.raises(ValueError, match=said) as caught:
            read_hf(tmp_path / place)
        assert "secret" not in str(caught.value)


def saved_tags(folder: Path, tags: list, feature: object, tokens: list | None = None) -> Path:
    """Sentences with these tags in a folder of save_to_disk."""
    features = Features({"tokens": List(Value("string")), "ner_tags": List(feature)})
    tokens = tokens or [["flu"] * len(row or ()) for row in tags]
    Dataset.from_dict({"tokens": tokens, "ner_tags": tags}, features=features).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("none", [-1, None, 3])
def test_a_number_that_is_no_name_s_invents_no_mention(tmp_path, none):
    names = ClassLabel(names=[*TAGS, "Disease"])  # the last, 3, is no tag
    corpus = read_hf(saved_tags(tmp_path / "saved", [[1, none, 0], [0, 1]], names))
    [document] = corpus.documents
    assert (document.text, [tuple(m) for m in document.mentions]) == ("flu flu", [(4, 7, "Disease")])
    assert corpus.counts["malformed_lines"] == 1


def test_a_missing_token_makes_a_sentence_malformed(tmp_path):
    tokens = [["No", None], ["flu", ""]]
    corpus = read_hf(saved_tags(tmp_path / "saved", [[0, 1], [1, 2]], ClassLabel(names=TAGS), tokens))
    assert [document.text for document in corpus.documents] == ["flu"] and corpus.counts["malformed_lines"] == 1


@pytest.mark.parametrize("first", [[], None, [None]])
@pytest.mark.parametrize("kind", ["int64", "float32"])
def test_numbers_without_names_are_refused_at_the_first_one(tmp_path, first, kind):
    place = saved_tags(tmp_path / "saved", [first, first, [0, 1]], Value(kind))
    with pytest.raises(ValueError, match="ner_tags are numbers without names"):
        read_hf(place)


def test_a_split_without_rows_costs_the_others_nothing(tmp_path):
    rows, none = Dataset.from_dict({"text": ["No fever"]}), Dataset.from_dict({"text": []})
    DatasetDict(train=none, validation=none, test=rows).save_to_disk(tmp_path / "saved")
    none.save_to_disk(tmp_path / "none")
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "train.jsonl").touch()
    (tmp_path / "lines" / "test.jsonl").write_text('{"text": "No fever"}\n')
    (tmp_path / "none.jsonl").touch()
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "train.jsonl").touch()
    for place in ("saved", "lines"):
        assert [(d.text, d.split) for d in read_hf(tmp_path / place).documents] == [("No fever", "held_out")]
    for place in ("none", "none.jsonl", "only"):
        with pytest.raises(ValueError, match="holds no document"):
            read_corpus(f"hf:{tmp_path / place}")


@pytest.mark.parametrize("name", ["a[1].jsonl", "a*?.JSONL", "x[1]/test.Json", "a b.NDJSON"])
def test_a_file_is_read_by_any_name(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"text": "No fever"}\n')
    (tmp_path / "a1.jsonl").write_text('{"text": "of another file"}\n')
    assert [document.text for document in read_hf(tmp_path / name).documents] == ["No fever"]


def test_what_the_library_does_not_see_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "a[1]", "capitals"):
        (tmp_path / folder).mkdir()
    Dataset.from_dict({"text": ["No fever"]}).to_parquet(tmp_path / "capitals" / "train.parquet")
    for name in ("a[1]/train.jsonl", "capitals/test.JSONL"):
        (tmp_path / name).write_text('{"text": "No fever"}\n')
    for place, said in {
        tmp_path / "empty": r"holds no file that ends in \.parquet",
        tmp_path / "a[1]": "in its name: rename the folder",
        tmp_path / "capitals": r"test\.JSONL ends in capitals",
        Path("nobody/none-such"): "nobody/none-such, and the hub cannot be reached: give the path",
        Path("nobody/none-such:part"): "the hub cannot be reached: give the path",
        Path("empty/none-such"): "there is no file or folder empty/none-such: give a path",
        Path("../none-such"): r"there is no file or folder \.\./none-such: give a path",
    }.items():
        with pytest.raises(ValueError, match=said):
            read_hf(place)
