"""What a student's folder says of how it reads new patients is read back, or refused in a sentence."""

import json

import pytest

from ckd_dist.config import dump
from ckd_dist.studies.disease.predict import LABEL_SET, pack, predict
from ckd_dist.studies.disease.prompts.knowledge import Knowledge, Treatment
from ckd_dist.studies.disease.recipes import RECIPES
from ckd_dist.studies.disease.runfolder import CALIBRATION, KNOWLEDGE, READING


def reading_of(*labels):
    """How a student of the recipe `tiny` reads."""
    recipe = dump(RECIPES["tiny"]())
    return {"labels": labels, "synthetic_codes": "icd9"} | {part: recipe[part] for part in ("select", "prompt")}


@pytest.fixture
def student(tmp_path):
    pack(tmp_path, reading_of("a", "b"), None)
    (tmp_path / CALIBRATION).write_text("{}")
    return tmp_path


def test_what_another_recipe_packed_is_taken_away(student):
    """An earlier knowledge.json may name few patients' drugs; a label set that is no longer read misleads."""
    reading = reading_of("a")
    knowledge = Knowledge(("a",), 20.0, 11, (None,), ((Treatment("aspirin", 0.64, None),),))
    pack(student, reading, knowledge)
    assert Knowledge.load(student / KNOWLEDGE) == knowledge
    (student / LABEL_SET).write_text("a: {}")
    pack(student, reading, None)
    assert sorted(path.name for path in student.iterdir()) == sorted([CALIBRATION, READING])


@pytest.mark.parametrize(
    "lost",
    [("labels",), ("synthetic_codes",), ("select",), ("select", "history_visits"), ("prompt", "efficacies")],
)
def test_a_student_that_does_not_say_how_it_reads_is_refused(student, tmp_path, lost):
    reading = json.loads((student / READING).read_text())
    part = reading
    for name in lost[:-1]:
        part = part[name]
    del part[lost[-1]]
    (student / READING).write_text(json.dumps(reading))
    with pytest.raises(ValueError, match=f"{READING} does not say how this student reads .'{lost[-1]}'.: export it"):
        predict(str(student), "mimic3:nowhere", str(tmp_path / "out"), lambda *_: None)


def test_damaged_json_is_refused_likewise(student, tmp_path):
    (student / READING).write_text("{")
    with pytest.raises(ValueError, match="does not say how this student reads"):
        predict(str(student), "mimic3:nowhere", str(tmp_path / "out"), lambda *_: None)
