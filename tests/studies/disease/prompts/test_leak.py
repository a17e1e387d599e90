"""From events to prompts: what lies after a sample's prediction_time is in nothing that is read."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest

from ckd_dist import schema
from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.samples import build_samples
from ckd_dist.studies.disease.prompts.write import PromptOptions, Rendering, texts_of
from tests.studies.disease.prompts.samples import LABELS

DISCHARGE = datetime(2150, 1, 6)
OPTIONS = PromptOptions(efficacies=0, teacher_tokens=1024, student_tokens=512, student_instruction=False)


def event(days_after: float, code: str, hadm: int) -> dict:
    """One event of the patient, counted from the discharge of the index visit."""
    time = DISCHARGE + timedelta(days=days_after)
    return {"subject_id": 1, "time": time, "code": code, "numeric_value": None, "hadm_id": hadm}


def visit(hadm: int, start: float, end: float, diagnosis: str, drug: str) -> list[dict]:
    return [
        event(start, "HOSPITAL_ADMISSION//EMERGENCY", hadm),
        event(start, f"MEDICATION//{drug}", hadm),
        event(end, f"DIAGNOSIS//ICD//9//{diagnosis}", hadm),
        event(end, "HOSPITAL_DISCHARGE//HOME", hadm),
    ]


def read_of_index_visit(planted: list[dict]) -> str:
    """All that teacher and student read of the first sample: index visit 10, next visit 11."""
    events = [*visit(10, -5, 0, "old", "aspirin"), *visit(11, 30, 35, "new", "heparin"), *planted]
    frame = pl.DataFrame(events, schema=schema.EVENTS).sort("time", maintain_order=True)
    samples, _ = build_samples(
        frame.lazy(),
        SimpleNamespace(names=LABELS),
        Criteria(),
        lambda code: (0,) if code.endswith("new") else (),
    )
    first = samples.filter(pl.col("hadm_id") == 10)
    assert first["labels"].to_list() == [[1, 0, 0, 0, 0]]
    name_of = {"DIAGNOSIS//ICD//9//old": "old disease"}.get
    rendering = Rendering(LABELS, lambda code: name_of(code, code), OPTIONS)
    read = [text for role in ("teacher", "student") for text in texts_of(first, rendering, role)]
    lines = [line for text in read for line in text.splitlines()]
    return "\n".join(line for line in lines if not line.startswith("Disease that"))


@pytest.mark.parametrize("days", [0.01, 3, 31])
@pytest.mark.parametrize("code", ["DIAGNOSIS//ICD//9//planted", "MEDICATION//planted", "PROCEDURE//ICD//9//planted"])
@pytest.mark.parametrize("hadm", [10, 11])
def test_a_code_after_discharge_is_not_read(days, code, hadm):
    read = read_of_index_visit([event(days, code, hadm)])
    assert "old disease" in read and "aspirin" in read
    assert "planted" not in read and "new" not in read and "heparin" not in read


def test_the_plant_is_read_where_it_belongs():
    """The same code before discharge is in the text: the test above looks for something that can be found."""
    assert "planted" in read_of_index_visit([event(-1, "MEDICATION//planted", 10)])
