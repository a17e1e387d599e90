"""Notes written and read are the same notes."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.notes.document import Document
from ckd_dist.notes.read import to_notes
from ckd_dist.studies.ner.store import read_notes, write_notes
from tests.notes.synthetic import TYPES, annotated

Made = tuple[str, tuple]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(annotated(), st.booleans(), st.one_of(st.none(), st.just("p1"))), max_size=4))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, made) -> None:
    path = tmp_path_factory.getbasetemp() / "notes" / "deep" / "train.parquet"
    documents = [
        Document(f"é{number}", text, mentions if known else None, subject)
        for number, ((text, mentions), known, subject) in enumerate(made)
    ]
    documents.append(Document("wordless", " ", ()))  # no reader gives one, but nothing may break
    notes = to_notes(documents, {kind: kind for kind in TYPES})
    write_notes(path, np.arange(len(notes)) + 5, documents, notes)
    stored = read_notes(path)
    assert stored.sample_id_N.dtype == np.int64 and stored.sample_id_N.tolist() == [5 + i for i in range(len(notes))]
    assert stored.names == [d.name for d in documents] and stored.subjects == [d.subject for d in documents]
    for one, other in zip(notes, stored.notes, strict=True):
        assert (one.text, one.mentions) == (other.text, other.mentions)
        for column in ("start_U", "end_U", "sentence_U"):
            assert getattr(other, column).dtype == np.int32
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
    assert [file.name for file in path.parent.iterdir()] == ["train.parquet"]


def test_no_notes_and_wrong_files(tmp_path: Path) -> None:
    write_notes(tmp_path / "a.parquet", [], [], [])
    assert len(read_notes(tmp_path / "a.parquet")) == 0
    with pytest.raises(ValueError, match="1 sample ids, 0 documents and 0 notes"):
        write_notes(tmp_path / "b.parquet", [1], [], [])
    assert not (tmp_path / "b.parquet").exists()
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read as notes"):
        read_notes(tmp_path / "b.parquet")
    pl.DataFrame({"sample_id": [1]}).write_parquet(tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="column 'subject' is missing"):
        read_notes(tmp_path / "c.parquet")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_notes(path, [], [], [])
    before = path.read_bytes()
    document = Document("a", "text", None)
    with pytest.raises(TypeError):
        write_notes(path, ["no number"], [document], to_notes([document], {}))
    assert path.read_bytes() == before
    (tmp_path / "b.parquet" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError):  # it cannot be renamed: the unfinished file goes
        write_notes(tmp_path / "b.parquet", [], [], [])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]
