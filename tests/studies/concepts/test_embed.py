"""Names of embeddings, and lists of phrases and synonyms: read plainly, or refused in one sentence, unquoted."""

from dataclasses import replace

import polars as pl
import pytest

from ckd_dist.studies.concepts.cases.table import CASES, CONCEPTS
from ckd_dist.studies.concepts.config import EmbeddingEndpoint, Embeddings, Encoder, TextModel
from ckd_dist.studies.concepts.embed import (
    embeddings_of,
    make_tiny_bases,
    names_of,
    read_phrases,
    read_synonyms,
    shared_phrases_of,
)
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from tests.studies.concepts.small import SMALL

SECRET = "zebra"


def refused(call, *arguments) -> str:
    """The one sentence that it says."""
    with pytest.raises(ValueError) as raised:
        call(*arguments)
    text = str(raised.value)
    assert "\n" not in text and SECRET not in text and raised.value.__cause__ is None
    return text


BAD_CSV = {
    "three columns": b"zebra,b,c\n",
    "one column": b"zebra\n",
    "ragged": b"zebra,b\nzebra,d,e\n",
    "half a line": b"zebra,\n",
    "a blank phrase": b"zebra,  \n",
    "empty": b"",
    "not UTF-8": "zebraé,b\n".encode("latin-1"),
    "an open quote": b'"zebra,b\nc,d\n',
}


@pytest.mark.parametrize("what", BAD_CSV)
def test_synonyms_that_are_no_pairs_are_refused(tmp_path, what):
    file = tmp_path / "pairs.csv"
    file.write_bytes(BAD_CSV[what])
    assert str(file) in refused(read_synonyms, str(file))


@pytest.mark.parametrize("read", [read_synonyms, read_phrases])
def test_a_list_that_cannot_be_read_is_refused(tmp_path, read):
    for place in (tmp_path, tmp_path / "none"):
        assert str(place) in refused(read, str(place))


def test_lists_of_phrases_are_read_plainly(tmp_path):
    file = tmp_path / "list"
    file.write_text('b, b2\n\n  a \nb, b2\n"c, d"\n', "utf-8")
    assert read_phrases(str(file)) == ['"c, d"', "a", "b, b2"] and read_phrases(None) == []
    file.write_bytes("zebraé".encode("latin-1"))
    assert "UTF-8" in refused(read_phrases, str(file))
    file.write_text('"a, b",c\n d , e\n')
    assert read_synonyms(str(file)) == [("a, b", "c"), ("d", "e")] and read_synonyms(None) == []
    assert read_synonyms("synthetic") and read_phrases("synthetic")


@pytest.mark.parametrize("name", ["", "one-hot", "random", "a/b", "twice", ".", "..", ".hidden"])
def test_names_of_embeddings_that_cannot_be_files_are_refused(name):
    models = (TextModel(name="twice"), TextModel(name=name))
    assert repr(name) in refused(names_of, Embeddings(models=models), Encoder())
    assert repr(name) in refused(names_of, Embeddings(models=models[:1]), Encoder(of="twice", name=name))


def test_names_are_those_of_models_endpoints_and_student():
    settings = Embeddings(models=(TextModel(name="a"),), endpoints=(EmbeddingEndpoint(name="b"),))
    assert names_of(settings, Encoder(of="b", name="c")) == ["a", "b", "c"]
    assert names_of(settings, Encoder(name="a")) == ["a", "b"]  # a student of nobody has no name
    for nobody in ("d", "c"):
        assert "give one of a, b" in refused(names_of, settings, Encoder(of=nobody, name="c"))


def test_a_patient_model_may_read_every_embedding_and_the_baselines_at_its_own_whitening():
    models, endpoints = (TextModel(name="a", whiten=5), TextModel(name="b")), (EmbeddingEndpoint(name="c", whiten=7),)
    settings = Embeddings(models=models, endpoints=endpoints, random=16)
    found = embeddings_of(settings, Encoder(of="c", name="d"))
    assert list(found.items()) == [("a", 5), ("b", None), ("c", 7), ("d", 7), ("one-hot", None), ("random", None)]
    assert list(embeddings_of(replace(settings, one_hot=False, random=None), Encoder())) == ["a", "b", "c"]


def test_synonyms_are_not_taught_to_a_model_that_somebody_pretrained(run):
    own = replace(SMALL.embed, models=(TextModel(name="m", base="some/where", synonyms="synthetic"),))
    assert "embedding m" in refused(make_tiny_bases, run, own)


@pytest.mark.parametrize("template", ["", "a finding", "{name}", "{} and {}", "{"])
def test_a_template_that_does_not_hold_the_phrase_once_is_refused(template):
    with pytest.raises(ValueError):
        TextModel(template=template)


def test_a_vocabulary_learns_phrases_of_enough_subjects_and_the_recipe_s_own(tmp_path):
    """A phrase counts once a subject, however many cases, sites and code systems say it."""
    num_subjects = {"common": 30, "eleven": 11, "ten": 10, "one": 1, "nobody's": 0}
    rows = [(n, "drug", text, str(n), False) for n, text in enumerate(num_subjects)]
    rows.append((len(rows), "ICD9", "ten", "x", False))  # the same words in another code system
    cases = [
        {"case_id": 0, "subject_id": subject, "site": "AB"[visit % 2], "split": "train", "concepts": concepts}
        for subject in range(30)
        for visit in range(14)
        for concepts in [[n for n, _, text, *_ in rows if subject < num_subjects[text]]]
    ]
    run = ConceptsRun(tmp_path)
    run.concepts.parent.mkdir()
    pl.DataFrame(rows, schema=CONCEPTS, orient="row").write_parquet(run.concepts)
    pl.DataFrame(cases, schema=CASES).write_parquet(run.cases)
    assert shared_phrases_of(run, None) == ["common", "eleven"]
    own = tmp_path / "own.txt"
    own.write_text("ten\nanother\n")
    assert shared_phrases_of(run, str(own)) == ["another", "common", "eleven", "ten"]
