"""What a tagger's folder says of how it reads is read back, or refused in a sentence."""

import json

import pytest

from ckd_dist.studies.ner.predict import READING, pack, unpack


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
