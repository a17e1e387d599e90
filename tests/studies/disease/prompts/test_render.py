"""A record as text: the golden text, what spans cover, what a cut takes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckd_dist.ehr.codes import ccs_name
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.studies.disease.prompts.encode import encode, teacher_role
from ckd_dist.studies.disease.prompts.render import (
    answer,
    cut,
    efficacy_line,
    lay_out,
    num_items,
    question,
    record_of,
)
from tests.studies.disease.prompts.samples import LABELS, MEDICATIONS, NAMES, byte_level_bpe, sample, samples

FAILURE = "Congestive heart failure; nonhypertensive"
GOLDEN = Path(__file__).with_name("golden_disease_prompt.txt")


def record(row: dict, efficacies: list[str] | None = None):
    return record_of(row, NAMES.__getitem__, lambda name: " ".join(name.split()), efficacies or [])


def test_golden_prompt():
    """What the teacher reads and then answers, as one file for a clinician's eye."""
    names = load_label_set("phenotypes25").names
    earlier = {
        "diagnoses": ["DIAGNOSIS//ICD//9//4019", "DIAGNOSIS//ICD//9//4280"],
        "medications": ["lisinopril", "furosemide"],
        "procedures": [],
        "days_before": 120.0,
    }
    row = sample(
        diagnoses=["DIAGNOSIS//ICD//9//4280", "DIAGNOSIS//ICD//9//42820", "DIAGNOSIS//ICD//9//5849"],
        medications=["furosemide", "insulin (human), regular", "0.9% sodium chloride"],
        procedures=["PROCEDURE//ICD//9//3995"],
        history=[earlier],
    )
    lines = [efficacy_line("furosemide", FAILURE, 0.4213), efficacy_line("dobutamine", FAILURE, 0.398)]
    whole = record_of(row, lambda code: ccs_name(code) or NAMES[code], str, lines)
    role = teacher_role(byte_level_bpe(["a"]), question(names), 10_000)
    (prompt,) = encode(role, [whole])
    labels = [int(name.startswith(("Acute and", "Chronic kidney"))) for name in names]
    assert prompt.text + answer(labels, names) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_published_wording_of_an_index_visit():
    row = sample(age=None, sex=None, medications=[])
    assert lay_out(record(row)).text == (
        "The patient-acquired disease is Congestive heart failure; nonhypertensive, "
        "Acute and unspecified renal failure. "
        "The patient had used the following medication: None. "
        "The surgical operation performed by the patient: Hemodialysis."
    )


@settings(max_examples=200, deadline=None)
@given(samples(), st.data())
def test_spans_cover_exactly_what_they_name(row, data):
    lines = ["furosemide for Shock (72%)", "é for Gout, acute (50%)"]
    whole = record(row, lines)
    shorter = cut(whole, data.draw(st.integers(0, num_items(whole))))
    page = lay_out(shorter)
    text, spans = page.text, page.spans
    named = [
        (section.kind, item, section.visit) for section in shorter for item in section.items if section.items_have_spans
    ]
    items = [span for span in spans if span.kind not in ("visit", "section")]
    assert [(span.kind, text[span.start : span.end], span.visit) for span in items] == named
    sections = [span for span in spans if span.kind == "section"]
    assert [text[s.start : s.end].endswith(".") for s in sections] == [True] * len(shorter)
    visits = [span for span in spans if span.kind == "visit"]
    assert "\n".join(text[v.start : v.end] for v in visits) == text
    assert [v.visit for v in visits] == sorted({section.visit for section in shorter})
    for span in items + sections:  # everything lies in its visit
        assert any(v.start <= span.start and span.end <= v.end and v.visit == span.visit for v in visits)
    assert "".join(page.pieces) == text
    assert len(page.ends_of_items) == num_items(shorter)


@settings(max_examples=100, deadline=None)
@given(samples(), st.integers(0, 60))
def test_a_cut_drops_items_and_nothing_else(row, num):
    whole = record(row, ["a for Shock (1%)"])
    kept = {(s.visit, s.kind, s.lead): s.items for s in cut(whole, num)}
    assert sum(map(len, kept.values())) == max(0, num_items(whole) - num)
    for section in whole:
        left = kept.get((section.visit, section.kind, section.lead), ())
        assert section.items[: len(left)] == left


def test_order_of_a_cut():
    visit = {"diagnoses": list(NAMES)[:1], "medications": ["d5w"], "procedures": list(NAMES)[-2:-1], "days_before": 9.0}
    whole = record(sample(history=[visit, visit | {"days_before": 99.0}]), ["x for Shock (9%)"])
    gone, left = [], whole
    for _ in range(num_items(whole)):
        shorter = cut(left, 1)
        before = [(s.visit, s.kind, item) for s in left for item in s.items]
        after = [(s.visit, s.kind, item) for s in shorter for item in s.items]
        ((visit_number, kind, _),) = [item for item in before if item not in after]
        gone.append((visit_number, kind))
        left = shorter
    assert gone == [
        *[(2, kind) for kind in ("procedure", "medication", "diagnosis")],
        *[(1, kind) for kind in ("procedure", "medication", "diagnosis")],
        (0, "efficacy"),
        *[(0, "medication")] * 3,
        (0, "procedure"),
        *[(0, "diagnosis")] * 2,
        (0, "section"),
    ]


def test_two_codes_of_one_name_are_named_once():
    text = lay_out(record(sample(medications=["d5w", " d5w", MEDICATIONS[0]]))).text
    assert text.count("d5w") == text.count("Congestive heart failure") == 1


def test_nothing_of_the_next_visit_is_read():
    """The labels, and whatever else a row may carry, do not change a word."""
    row = sample()
    planted = sample(labels=[1, 1, 1, 1, 1], next_diagnoses=["DIAGNOSIS//ICD//9//78552"], subject_id=1, hadm_id=1)
    assert record(row) == record(planted)


@pytest.mark.parametrize("labels", [[0] * 5, [1] * 5, [0, 1, 0, 1, 0]])
def test_answer_names_the_bits_in_label_order(labels):
    listed = answer(labels, LABELS).removeprefix("Disease that the patient may acquire: ")
    assert listed == (", ".join(n for n, bit in zip(LABELS, labels, strict=True) if bit) or "None")
