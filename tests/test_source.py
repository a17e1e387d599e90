"""One table of sources a room: every kind has a reader and a title, and what is no kind is refused at once."""

import doctest

import pytest

from ckd_dist import source
from ckd_dist.config import walk
from ckd_dist.ehr import sources as ehr
from ckd_dist.notes import read as notes
from ckd_dist.source import (
    Source,
    find_source,
    is_synthetic,
    num_subjects,
    split_source,
    split_sources,
    title_of,
    written,
)
from ckd_dist.studies import STUDIES
from ckd_dist.studies.concepts import describe as concepts_describe
from ckd_dist.studies.concepts.cases import sources as concepts
from ckd_dist.studies.ner import sources as ner
from ckd_dist.studies.ner.describe import source_in_words
from tests.end_to_end.small import ckd

TABLES = {"disease": ehr.SOURCES, "ner": ner.SOURCES, "concepts": concepts.SOURCES}
FIELDS = {"disease": "extract.source", "ner": "notes.source", "concepts": "sites.sources"}

TITLES = {
    "mimic3": "MIMIC-III tables",
    "mimic4": "MIMIC-IV tables",
    "eicu": "eICU tables",
    "meds": "a MEDS data set",
    "synthetic": "a synthetic hospital of 1,200 subjects, whose law is known",
}
CORPORA = {
    "brat": "a brat corpus",
    "iob": "an IOB corpus",
    "pubtator": "a PubTator corpus",
    "jsonl": "notes in JSON lines",
    "hf": "a Hugging Face data set",
    "text": "a folder of texts",
    "mimic3": "MIMIC-III notes",
    "mimic4": "MIMIC-IV discharge notes",
}


def test_titles():
    assert {kind: title_of(f"{kind}:1200", ehr.SOURCES) for kind in ehr.SOURCES} == TITLES
    own = {"findings": "tables of findings", "synthetic": "two synthetic emergency departments"}
    assert {kind: title_of(f"{kind}:1200", concepts.SOURCES) for kind in concepts.SOURCES} == TITLES | own
    assert {kind: title_of(f"{kind}:1200", notes.FORMS) for kind in notes.FORMS} == CORPORA
    synthetic = {"synthetic": "notes of a synthetic hospital of 1,200 patients"}
    assert {kind: title_of(f"{kind}:1200", ner.SOURCES) for kind in ner.SOURCES} == CORPORA | synthetic
    for place in ("/data/ncbi_disease", "/data/ncbi_disease/", "ncbi_disease"):
        assert source_in_words(f"pubtator:{place}") == "a PubTator corpus (ncbi_disease)"
    assert source_in_words("synthetic:1200") == "notes of a synthetic hospital of 1,200 patients"


@pytest.mark.parametrize(("study", "kind"), [(study, kind) for study, table in TABLES.items() for kind in table])
def test_a_title_names_no_path_and_the_help_text_names_the_kind(study, kind):
    table = TABLES[study]
    place = "7" if table[kind].make else "/data/secret"
    assert title_of(f"{kind}:{place}", table) and "secret" not in title_of(f"{kind}:{place}", table)
    assert is_synthetic(f"{kind}:{place}") == (table[kind].make is not None)
    help_text = next(info.description for name, _, info in walk(STUDIES[study].recipe()) if name == FIELDS[study])
    assert f"{kind}:{table[kind].place}" in help_text


@pytest.mark.parametrize("source", ["mimic5:/data", "mimic3", "", ":x", "A=mimic3:/data"])
def test_what_is_no_kind_is_refused_and_all_kinds_are_named(source):
    for table in (ehr.SOURCES, notes.FORMS):
        with pytest.raises(ValueError, match="is none of") as refused:
            find_source(source, table)
        assert repr(source) in str(refused.value) and ", ".join(written(table)) in str(refused.value)


def test_a_kind_without_a_place_is_refused():
    with pytest.raises(ValueError, match="'mimic3:' names no place: give mimic3:DIR"):
        find_source("mimic3:", ehr.SOURCES)
    for none in ("synthetic:many", "synthetic:-3", "synthetic:1.5"):
        with pytest.raises(ValueError, match="no number of subjects"):
            find_source(none, ehr.SOURCES)
    assert num_subjects("synthetic:12") == 12


def test_a_path_without_its_kind_is_told_what_it_lacks(tmp_path):
    folder = tmp_path / "dir12:30"
    folder.mkdir()
    with pytest.raises(ValueError, match=f"write its kind before it: mimic3:{folder}"):
        find_source(str(folder), ehr.SOURCES)
    assert find_source(f"mimic3:{folder}", ehr.SOURCES)[1] == str(folder)


@pytest.mark.parametrize("place", ["/data/dir12:30", "C:\\notes", "/a,b", "a=b", "/x=1:2,3", "notes", "/a b", "/é:ü"])
@pytest.mark.parametrize("kind", ["mimic3", "jsonl"])
def test_a_place_may_hold_any_mark_of_ours(kind, place):
    """Colons, commas and equals signs are marks between names, kinds and sources only where those stand."""
    table = ehr.SOURCES if kind == "mimic3" else notes.FORMS
    assert find_source(f"{kind}:{place}", table)[1] == place
    assert split_source(f"A={kind}:{place}") == ("A=", f"{kind}:", place)
    assert split_sources(f"A={kind}:{place},B={kind}:{place}") == (f"A={kind}:{place}", f"B={kind}:{place}")


def test_a_source_without_a_number_has_its_title_as_it_is():
    assert title_of("a:{0}", {"a": Source(print, "{braces}")}) == "{braces}"


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("command", ["pipeline", "plan"])
def test_every_study_refuses_an_unknown_kind_before_it_begins(study, command, tmp_path):
    recipe = next(name for name in STUDIES[study].recipes if name.endswith("tiny"))
    where = ["--recipe", recipe, "--source", "mimic5:/data", "--run", tmp_path / "run"]
    said = ckd(command, *where, *(["--local"] if command == "pipeline" else []))
    assert said.code != 0 and len(said.err.strip().splitlines()) == 1
    assert "'mimic5:/data' is none of" in said.err and ", ".join(written(TABLES[study])) in said.err
    assert not list((tmp_path / "run").glob("stages/*.json"))


@pytest.mark.parametrize(
    ("study", "source", "wanted"),
    [
        ("disease", "mimic3:", "source 'mimic3:' names no place: give mimic3:DIR"),
        ("ner", "hf:", "source 'hf:' names no place: give hf:PATH_OR_NAME"),
        ("ner", "brat:", "source 'brat:' names no place: give brat:PATH"),
        ("concepts", "A=mimic3:", "source 'mimic3:' names no place: give mimic3:DIR"),
        *((study, "", "source '' is none of ") for study in STUDIES),
    ],
)
@pytest.mark.parametrize("command", ["pipeline", "stage", "plan"])
def test_no_place_is_not_the_current_folder_and_no_source_not_the_recipe_s_own(
    study, source, wanted, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    recipe = next(name for name in STUDIES[study].recipes if name.endswith("tiny"))
    first = next(iter(STUDIES[study].stages)) if command == "stage" else command
    local = [] if command == "plan" else ["--local"]
    said = ckd(first, "--recipe", recipe, "--source", source, "--run", tmp_path / "run", *local)
    assert said.code == 2 and said.err.startswith(wanted) and len(said.err.strip().splitlines()) == 1
    assert not list((tmp_path / "run").glob("stages/*.json"))


def test_concepts_refuses_an_unknown_kind_before_it_reads_the_first_source(tmp_path):
    both = f"A=mimic3:{tmp_path},B=mimic5:{tmp_path}"
    said = ckd("pipeline", "--recipe", "concepts_tiny", "--source", both, "--run", tmp_path / "run", "--local")
    assert "is none of" in said.err and "ADMISSIONS" not in said.err  # which the first source lacks


def test_ner_refuses_another_corpus_before_it_trains(tmp_path):
    where = ["--recipe", "ner_tiny", "--source", "synthetic:5", "--run", tmp_path / "run", "--local"]
    said = ckd("pipeline", *where, "evaluate.other_corpora=[conll:x]")
    assert "'conll:x' is none of brat:PATH" in said.err and not list((tmp_path / "run").glob("stages/*.json"))


def test_examples():
    assert doctest.testmod(concepts).failed == doctest.testmod(source).failed == 0
    assert doctest.testmod(concepts_describe).failed == 0
