"""What only the teacher reads is in no text of the student; permuted, it is another subject's."""

from collections import Counter
from dataclasses import replace

import polars as pl
import pytest

from ckd_dist import schema
from ckd_dist.studies.disease.prompts.knowledge import Knowledge, Treatment
from ckd_dist.studies.disease.prompts.render import lay_out
from ckd_dist.studies.disease.prompts.teacher_only import with_parts_of, without
from ckd_dist.studies.disease.prompts.write import PromptOptions, Rendering, render_samples
from tests.studies.disease.prompts.samples import LABELS, NAMES, sample

PARTS = ("history", "efficacies", "drugs")
OPTIONS = PromptOptions(efficacies=1, teacher_tokens=1024, student_tokens=512, student_instruction=False)
KNOWLEDGE = Knowledge(LABELS, 1.0, 1, (None,) * 5, ((Treatment("canary-efficacies", 0.7, 20),), (), (), (), ()))


def visits() -> pl.DataFrame:
    """Two visits of each of twelve subjects, whose number every part carries but that of the knowledge."""
    rows = []
    for n in range(24):
        who = 1000 + n // 2
        earlier = {
            "days_before": 9.0,
            "diagnoses": [f"canary-history {who}"],
            "medications": [f"canary-drugs earlier {who}"],
            "procedures": [],
        }
        own = {"diagnoses": [f"own diagnosis {who}"], "medications": [f"canary-drugs {who}"], "history": [earlier]}
        rows.append(sample(sample_id=n, subject_id=who, current=[1, 0, 0, 0, 0], labels=[n % 2, 1, 0, 0, 0], **own))
    return pl.DataFrame(rows, schema=schema.SAMPLES)


def texts(left_out=(), of_another=()) -> list[str]:
    """Every visit as text."""
    written = Rendering(
        LABELS, lambda code: NAMES.get(code, code), OPTIONS, KNOWLEDGE, left_out=left_out, of_another=of_another
    )
    return [lay_out(each.record).text for chunk in render_samples(visits(), written) for each in chunk]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_left_out_leaves_nothing_behind_and_nothing_else_goes(part):
    for whole, rest in zip(texts(), texts(left_out=[part]), strict=True):
        assert f"canary-{part}" in whole and f"canary-{part}" not in rest
        assert "None" not in rest  # an empty section would say that there was no drug
        lost = {line.strip(" .") for line in whole.replace("\n", ". ").split(". ")}
        lost -= {line.strip(" .") for line in rest.replace("\n", ". ").split(". ")}
        assert lost and all("canary" in line for line in lost)


@pytest.mark.parametrize("parts", [PARTS, ("drugs",), ("history",), ("history", "drugs")])
def test_permuted_parts_are_all_another_subjects_and_the_rest_is_the_own(parts):
    owned, given_to = texts(left_out=parts), texts(of_another=parts)
    subjects = visits()["subject_id"].to_list()
    for who, own, text in zip(subjects, owned, given_to, strict=True):
        named = {word for line in text.replace(".", " ").split("\n") for word in line.split() if word.isdigit()}
        assert str(who) in text and f"own diagnosis {who}" in text
        for part in set(parts) - {"efficacies"}:
            assert f"canary-{part}" in text and f"canary-{part} {who}" not in text
        assert len(named - {"67", "9", "10", str(who)}) <= 1  # all parts are of one other subject
        assert len(text) >= len(own)
    everything = Counter(word for text in given_to for word in text.split())
    assert everything == Counter(word for text in texts() for word in text.split())  # nothing lost, nothing twice


def test_a_record_given_its_own_parts_is_itself():
    rendered = Rendering(LABELS, lambda code: NAMES.get(code, code), OPTIONS, KNOWLEDGE)
    for chunk in render_samples(visits(), rendered):
        for each in chunk:
            assert with_parts_of(each.record, each.record, PARTS) == each.record
            assert without(each.record, ()) == each.record


def test_a_control_without_parts_is_refused():
    with pytest.raises(ValueError, match=r"prompt\.teacher_only, which names none"):
        Rendering(LABELS, str, replace(OPTIONS, teacher_permuted=True))


def test_the_short_question_is_the_instruction_and_answers_stay():
    short = Rendering(LABELS, str, replace(OPTIONS, question="short"))
    long = Rendering(LABELS, str, OPTIONS)
    assert len(short.instruction) < 60 < len(long.instruction) and not any(name in short.instruction for name in LABELS)
    of = [[each.answer for chunk in render_samples(visits(), one) for each in chunk] for one in (short, long)]
    assert of[0] == of[1] and LABELS[1] in of[0][0]
