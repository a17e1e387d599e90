"""CKD-EHR's files: export then import is the identity; a foreign file is read by name or refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.studies.disease.prompts.exchange import (
    SHORT_NAMES,
    Row,
    export_jsonl,
    export_soft_labels,
    import_jsonl,
    import_soft_labels,
    labels_of,
    published_names,
)
from tests.studies.disease.prompts.samples import LABELS

bits = st.tuples(*[st.integers(0, 1)] * len(LABELS))
rows = st.builds(Row, st.text(), st.text(), st.none() | bits)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(rows, max_size=6))
def test_export_then_import_is_the_identity(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("exchange") / "name_train.json"
    assert export_jsonl(path, rows, LABELS) == len(rows)
    assert import_jsonl(path, LABELS) == rows


def test_the_answer_none_is_kept_and_is_not_unlabelled(tmp_path):
    rows = [Row("q", "a", (0,) * 5), Row("q", "b", None)]
    export_jsonl(tmp_path / "rows.jsonl", rows, LABELS)
    first, second = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert first["output"] == "Disease that the patient may acquire: None" and "output" not in second
    assert import_jsonl(tmp_path / "rows.jsonl", LABELS) == rows


def test_a_json_list_is_read_too(tmp_path):
    row = {"instruction": "q", "input": "a", "output": "Disease that the patient may acquire: Gout, Gout, acute, Shock"}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    assert import_jsonl(tmp_path / "rows.json", LABELS) == [Row("q", "a", (1, 1, 1, 0, 0))]


def test_names_may_hold_commas():
    """Longest name first, and back where that leads nowhere."""
    assert labels_of("Disease that the patient may acquire: A, B, C", ["A", "A, B", "B, C"]) == (1, 0, 1)


def test_an_answer_that_reads_two_ways_is_not_exported(tmp_path):
    with pytest.raises(ValueError, match="row 1 cannot be exported"):
        export_jsonl(tmp_path / "rows.json", [Row("q", "a", (1, 1, 0))], ["A", "B", "A, B"])
    assert not list(tmp_path.iterdir())


def test_their_shorter_names_are_known(tmp_path):
    names = (*SHORT_NAMES.values(), "Shock")
    assert published_names(names) == (*SHORT_NAMES, "Shock")
    listed = "Disease that the patient may acquire: " + ", ".join(SHORT_NAMES)
    assert labels_of(listed, names) == (1,) * len(SHORT_NAMES) + (0,)
    export_soft_labels(tmp_path / "soft.json", np.full((1, len(names)), 0.25), published_names(names))
    assert import_soft_labels(tmp_path / "soft.json", names).tolist() == [[0.25] * len(names)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"instruction": "q", "input": "secret", "output": "Disease that the patient may acquire: Plague"}',
            "row 1: the output",
        ),
        ('{"instruction": "q", "input": "secret"}\n{"instruction": "q"}', "row 2: expected an object"),
        ('{"instruction": "q", "input": "secret"}\n\nnonsense', "line 3: not JSON"),
        ('[{"instruction": "q", "input": "secret"}', "not JSON"),
        ("17", "row 1: expected an object"),
    ],
)
def test_a_malformed_row_is_named_and_not_shown(content, message, tmp_path):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(ValueError, match=message) as refusal:
        import_jsonl(tmp_path / "rows.json", LABELS)
    assert "secret" not in str(refusal.value) and "Plague" not in str(refusal.value)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(*[st.floats(0, 1)] * len(LABELS)), max_size=5), data=st.data())
def test_soft_labels_go_by_name(rows, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("soft") / "hands_name_train.json"
    export_soft_labels(path, np.array(rows).reshape(-1, len(LABELS)), LABELS)
    assert import_soft_labels(path, LABELS).tolist() == [list(row) for row in rows]
    order = data.draw(st.permutations(range(len(LABELS))))
    other = import_soft_labels(path, [LABELS[k] for k in order])
    assert other.tolist() == [[row[k] for k in order] for row in rows]


@pytest.mark.parametrize(
    "row",
    [
        dict.fromkeys(LABELS[1:], 0.5),
        dict.fromkeys((*LABELS, "Plague"), 0.5),
        dict.fromkeys(LABELS, 1.5),
        dict.fromkeys(LABELS, None),
        dict.fromkeys(LABELS, float("nan")),
        [0.5] * len(LABELS),
    ],
)
def test_soft_labels_that_do_not_fit_are_refused(row, tmp_path):
    (tmp_path / "soft.json").write_text(json.dumps([dict.fromkeys(LABELS, 0.5), row]))
    with pytest.raises(ValueError, match=r"soft\.json, row 2: "):
        import_soft_labels(tmp_path / "soft.json", LABELS)
