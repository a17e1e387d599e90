"""What a tagger's folder says of how it reads is read back, or refused in a sentence."""

import json

import pytest

from ckd_dist.studies.ner.predict import READING, pack, unpack
from ckd_dist.studies.ner.sources import source_of_notes


def test_it_is_read_back(tmp_path):
    pack(tmp_path, ["disease", "symptom"], 256, 32)
    assert unpack(tmp_path) == {"types": ["disease", "symptom"], "max_tokens": 256, "context_tokens": 32}


@pytest.mark.parametrize("lost", ["types", "max_tokens", "context_tokens"])
def test_a_tagger_that_does_not_say_how_it_reads_is_refused(tmp_path, lost):
    pack(tmp_path, ["disease"], 256, 32)
    reading = json.loads((tmp_path / READING).read_text())
    del reading[lost]
    (tmp_path / READING).write_text(json.dumps(reading))
    with pytest.raises(ValueError, match="does not say how this tagger reads: export it again"):
        unpack(tmp_path)


@pytest.mark.parametrize(("content", "sentence"), [("{", "does not say how"), ('{"select": {}}', "of another study")])
def test_another_file_is_refused(tmp_path, content, sentence):
    (tmp_path / READING).write_text(content)
    with pytest.raises(ValueError, match=sentence):
        unpack(tmp_path)


@pytest.mark.parametrize(
    "name", ["dir12:30", "C:\\notes", "a:b:c", "notes", "text", "brst:x", "text:notes", "~", "a b"]
)
def test_a_path_that_is_there_is_a_folder_of_texts(tmp_path, monkeypatch, name):
    """field/notes_concepts.md, section 4: "/data/dir12:30" was an unknown source."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert source_of_notes(name) == f"text:{name}"
    assert source_of_notes(str(tmp_path / name)) == f"text:{tmp_path / name}"


@pytest.mark.parametrize("source", ["jsonl:/no/such.jsonl", "hf:owner/name", "text:/no/such", "mimic3:C:\\x:y"])
def test_a_form_is_read_as_one(source):
    assert source_of_notes(source) == source


def test_two_readings_or_none_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("brat:notes", "notes"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"both a path of this name and notes: give text:brat:notes or \./brat:notes"):
        source_of_notes("brat:notes")
    assert source_of_notes("text:brat:notes") == "text:brat:notes" and source_of_notes("./brat:notes")[:5] == "text:"
    with pytest.raises(ValueError, match=r"/no/dir12:30: there is no such path, and '/no/dir12' is none of brat:PATH"):
        source_of_notes("/no/dir12:30")
    assert source_of_notes("/no/such") == "text:/no/such"  # which its reader refuses
