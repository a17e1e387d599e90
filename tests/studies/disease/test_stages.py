"""The first stages on a synthetic hospital: the prompts of teacher and student are written, and done again, apart."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ckd_dist.config import dump
from ckd_dist.recipefile import load
from ckd_dist.record import read
from ckd_dist.schedule import num_steps
from ckd_dist.schema import EVENTS, SPLITS
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.distill import as_many_updates
from ckd_dist.studies.disease.rows import read_hard
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import ALL
from ckd_dist.studies.disease.size import of_student
from ckd_dist.study import Context, run_stage

STAGES = ("extract", "select", "prompt_teacher", "prompt_student")
SMALL = ("extract.source=synthetic:60", "select.absent_labels=allow", "prompt.min_support=2")


def recipe_with(*overrides: str) -> DiseaseRecipe:
    return load(DiseaseRecipe, dump(STUDY.recipes["tiny"]()), [*SMALL, *overrides])


def run_stages(run: DiseaseRun, recipe: DiseaseRecipe) -> None:
    for name in STAGES:
        run_stage(STUDY, STUDY.stages[name], Context(recipe, run))


def written(run: DiseaseRun, role: str) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file that only `role` reads."""
    files = [*run.root.glob(f"prompts/*.{role}.*"), *(path for path in run.base(role).rglob("*") if path.is_file())]
    return {str(path.relative_to(run.root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def prompted(tmp_path_factory) -> DiseaseRun:
    run = DiseaseRun(tmp_path_factory.mktemp("run"))
    run_stages(run, recipe_with())
    return run


@pytest.mark.parametrize(
    ("role", "other", "change"),
    [
        ("teacher", "student", "teacher.tiny.vocabulary=400"),
        ("teacher", "student", "prompt.teacher_tokens=480"),
        ("student", "teacher", "student.tiny.vocabulary=400"),
        ("student", "teacher", "prompt.student_tokens=200"),
    ],
)
def test_prompts_of_a_role_do_not_depend_on_the_others_base(prompted, role, other, change):
    """Another base or budget of one role: its prompts are done again, and not a file of the other role is touched."""
    run_stages(prompted, recipe_with())
    before = {each: written(prompted, each) for each in (role, other)}
    assert len(before[role]) > 6 < len(before[other])
    run_stages(prompted, recipe_with(change))
    assert written(prompted, other) == before[other]
    after = written(prompted, role)
    assert after.keys() == before[role].keys()
    assert any(after[name][0] != content for name, (content, _) in before[role].items())


def test_the_student_starts_from_the_same_bytes_whatever_the_teacher(prompted, tmp_path):
    """A run that never had the first teacher has the same prompts of the student."""
    run_stages(prompted, recipe_with())
    fresh = DiseaseRun(tmp_path)
    run_stages(fresh, recipe_with("teacher.tiny.hidden=32", "teacher.tiny.vocabulary=400"))
    contents = [{name: content for name, (content, _) in written(run, "student").items()} for run in (prompted, fresh)]
    assert contents[0] == contents[1]


def test_plan_announces_the_steps_of_the_student_and_of_its_hard_label_baseline(prompted):
    run_stages(prompted, recipe := recipe_with("student.optim.batch_samples=7"))
    num_train = pl.read_parquet(prompted.samples("train")).height
    longer = as_many_updates(prompted, recipe.student.optim, num_train, ALL)
    _, known_N = read_hard(prompted, "train", ALL)
    student, baseline = num_steps(num_train, 7, recipe.student.optim.epochs), num_steps(known_N.sum(), 7, longer.epochs)
    assert student != baseline  # one cannot stand for the other
    text = of_student(recipe, prompted).text
    assert f" {student} steps," in text and text.endswith(f" and a hard-label baseline of {baseline} steps")


def snomed_site(folder: Path) -> Path:
    """A MEDS data set of 40 subjects with two visits each: SNOMED codes, which its codes.parquet describes."""
    described = {"84114007": "Heart failure", "195967001": "Asthma", "40055000": "Chronic sinusitis"}
    rows = []
    for subject in range(1, 41):
        for visit in (1, 2):
            hadm, begin = 10 * subject + visit, datetime(2100, visit, 1, 8)
            codes = [code for k, code in enumerate(described) if (subject + visit * k) % 3 != 1]
            events = [(begin, "HOSPITAL_ADMISSION//EMERGENCY"), (begin + timedelta(days=2), "HOSPITAL_DISCHARGE//HOME")]
            events += [(begin + timedelta(days=2), f"DIAGNOSIS//SNOMED//{code}") for code in codes]
            events += [(begin, "MEDICATION//aspirin"), (begin, "PROCEDURE//SNOMED//18286008")]
            rows += [(subject, time, code, None, hadm) for time, code in events]
    (folder / "data").mkdir(parents=True)
    (folder / "metadata").mkdir()
    pl.DataFrame(rows, schema=EVENTS, orient="row").write_parquet(folder / "data" / "0.parquet")
    codes = {f"DIAGNOSIS//SNOMED//{code}": name for code, name in described.items()}
    codes |= {"PROCEDURE//SNOMED//18286008": "Catheter ablation"}
    table = pl.DataFrame({"code": list(codes), "description": list(codes.values())})
    table.write_parquet(folder / "metadata" / "codes.parquet")
    return folder


def test_a_snomed_site_needs_no_disguise(tmp_path):
    """Field test F11: from its codes to labels that pandas would count, and prompts in its own words."""
    source = snomed_site(tmp_path / "meds")
    (tmp_path / "labels.yaml").write_text(
        'Failing heart: {codes: {SNOMED: ["84114007"]}}\n'
        'Asthma or sinusitis: {codes: {snomed: ["195967001", "40055000", "1"], ICD9: ["49390"]}}\n'
    )
    run = DiseaseRun(tmp_path / "run")
    recipe = recipe_with(f"extract.source=meds:{source}", f"select.labels={tmp_path / 'labels.yaml'}")
    run_stages(run, recipe)
    assert "80 admissions" in read(run, "extract").said and "160 diagnoses" in read(run, "extract").said
    assert "1 of 4 codes of DIAGNOSIS//SNOMED// in the label set occur in no event" in read(run, "select").said
    assert read(run, "select").numbers["codes"]["num_unknown"] == 0, "there is no table of SNOMED to be unknown in"
    samples = pl.concat([pl.read_parquet(run.samples(split)) for split in SPLITS])
    assert len(samples) == 80 - samples["diagnoses"].list.len().eq(0).sum()
    has_heart = samples["diagnoses"].list.contains("DIAGNOSIS//SNOMED//84114007")
    assert samples["current"].list.get(0).cast(pl.Boolean).equals(has_heart, check_names=False)
    first = samples.filter(pl.col("labels").is_not_null())
    expected = [int(subject % 3 != 1) for subject in first["subject_id"]]
    assert first["labels"].list.get(0).to_list() == expected
    text = " ".join(pl.read_parquet(run.prompts("train", "teacher"))["text"])
    assert all(
        name in text for name in ("Heart failure", "Asthma", "Chronic sinusitis", "Catheter ablation", "aspirin")
    )
    assert "84114007" not in text and "SNOMED" not in text


def test_a_label_set_for_another_vocabulary_is_refused_before_anything_long(tmp_path):
    (tmp_path / "labels.yaml").write_text('heart: {codes: ["428"]}\n')
    run, recipe = DiseaseRun(tmp_path / "run"), recipe_with(f"select.labels={tmp_path / 'labels.yaml'}")
    run_stage(STUDY, STUDY.stages["extract"], Context(recipe, run))
    with pytest.raises(ValueError, match=r"of 'heart': 428 \(under codes\) is a heading"):
        run_stage(STUDY, STUDY.stages["select"], Context(recipe, run))
