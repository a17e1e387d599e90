"""A user's mistake: one sentence that says what, where and what to do, exit code not 0; what was finished stands."""

import json
import os
import shutil
import subprocess
import sys

import polars as pl
import pytest

from ckd_dist import record
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.runfolder import DiseaseRun
from tests.data import ROOT
from tests.end_to_end.small import SMALL, ckd, go, hashes, hospital, passed, write_table


def refused(said, *words, code=2):
    """Nothing but one sentence with these words; none of them Python's."""
    assert said.code == code, said
    assert len(said.err.strip().splitlines()) == 1, said.err
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err + said.out
    assert "fault of the program" not in said.err


def start(folder, source, *overrides, command="select"):
    """Extract and then `command` from tables, as far as it goes; what the command said."""
    run = DiseaseRun(folder)
    said = ckd("extract", "--recipe", "tiny", "--source", source, "--run", folder, "--local", *SMALL, *overrides)
    return run, said if said.code else go(command, run)


# --- the recipe ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mistake, words",
    [
        ("student.optim.epoch=3", "did you mean 'student.optim.epochs'"),
        ("student.loss.temperature=0", "student.loss.temperature"),
        ("student.loss.soft_weight=1.5", "student.loss.soft_weight"),
        ("extract.train_fraction=0.95", "train_fraction"),
        ("select.labels=phenotypes26", "phenotypes26"),
        ("select.labels=/no/such/labels.yaml", "/no/such/labels.yaml"),
        ("extract.source=mimic5:tables", "mimic5"),
        ("extract.source=synthetic:many", "give synthetic:N"),
        ("extract.source=synthetic:0", "synthetic"),
        ("extract.source=mimic3:/no/such/folder", "/no/such/folder"),
        ("teacher.tiny.hidden=30", "hidden"),
        ("teacher.base=/no/such/model", "model"),
        ("student.base=/no/such/model", "model"),
        ("label.import_from=/no/such/file.json", "/no/such/file.json"),
        ("prompt.teacher_tokens=80", "teacher_tokens"),
        ("prompt.student_tokens=9999", "at most 1024 tokens"),
    ],
)
def test_a_bad_field_on_a_finished_run(copy, mistake, words):
    before = hashes(copy)
    said = go("pipeline", copy, mistake)
    refused(said, words)
    assert record.verify(copy) == [], "what has a record holds"
    kept = {name: digest for name, digest in before.items() if name.startswith(("events/", "samples/", "tables/"))}
    assert kept.items() <= hashes(copy).items(), "no mistake spoils what is finished"
    said_of = {line.split()[0] for line in said.out.splitlines() if line.startswith("train_")}
    assert said_of <= set(passed(said.out)), "refused before anybody trained"
    assert go("pipeline", copy, *good(mistake)).code == 0
    assert record.verify(copy) == []


def good(mistake):
    """The value that the run was made with: the mistake is taken back."""
    field = mistake.partition("=")[0]
    values = {"select.labels": "phenotypes25", "extract.source": "synthetic:300"}
    values |= {"student.loss.temperature": "2.0", "student.loss.soft_weight": "0.7", "extract.train_fraction": "0.7"}
    values |= {"teacher.tiny.hidden": "32", "teacher.base": "tiny", "student.base": "tiny", "label.import_from": "null"}
    values |= {"prompt.teacher_tokens": "384", "prompt.student_tokens": "128"}
    return [f"{field}={values[field]}"] if field in values else []


def test_an_unknown_recipe(tmp_path):
    refused(ckd("pipeline", "--recipe", "small", "--run", tmp_path / "run", "--local"), "'small'", "tiny")
    assert not (tmp_path / "run").exists()


# --- the tables ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "tables"
    return folder, hospital(folder, 40)


def test_a_table_without_its_key_column(tables, tmp_path):
    folder, found = tables
    write_table(folder, "ADMISSIONS", found["ADMISSIONS"].drop("HADM_ID"))
    run, said = start(tmp_path / "run", f"mimic3:{folder}")
    refused(said, "hadm_id", "ADMISSIONS")
    assert not run.stage("extract").exists()


def test_a_table_that_is_not_there(tables, tmp_path):
    folder, _ = tables
    (folder / "DIAGNOSES_ICD.csv.gz").unlink()
    refused(start(tmp_path / "run", f"mimic3:{folder}")[1], "DIAGNOSES_ICD")


def test_a_table_that_is_cut_short(tables, tmp_path):
    folder, _ = tables
    file = folder / "PRESCRIPTIONS.csv.gz"
    file.write_bytes(file.read_bytes()[:1000])
    refused(start(tmp_path / "run", f"mimic3:{folder}")[1], "PRESCRIPTIONS")


def test_everybody_died_at_the_first_visit(tables, tmp_path):
    folder, found = tables
    first = found["ADMISSIONS"].unique("SUBJECT_ID", keep="first", maintain_order=True)
    died = first.with_columns(
        HOSPITAL_EXPIRE_FLAG=pl.lit("1"), DEATHTIME=pl.col("DISCHTIME"), DISCHARGE_LOCATION=pl.lit("DEAD/EXPIRED")
    )
    write_table(folder, "ADMISSIONS", died)
    run, said = start(tmp_path / "run", f"mimic3:{folder}")
    refused(said, "no labelled visit in train")
    assert run.stage("extract").is_file() and record.verify(run) == []


def test_nobody_came_back(tables, tmp_path):
    folder, found = tables
    write_table(folder, "ADMISSIONS", found["ADMISSIONS"].unique("SUBJECT_ID", keep="first", maintain_order=True))
    run, said = start(tmp_path / "run", f"mimic3:{folder}")
    refused(said, "no labelled visit in train")
    assert run.stage("extract").is_file() and record.verify(run) == []


def test_nobody_is_held_out(copy):
    """There is nothing to report on; student and teacher stand."""
    pl.read_parquet(copy.samples("held_out")).clear().write_parquet(copy.samples("held_out"))
    for name in list(STUDY.stages)[2:]:
        copy.stage(name).unlink(missing_ok=True)  # of experiments there are none
    refused(go("pipeline", copy), "held_out has no labelled visit")
    assert copy.stage("distill").is_file()


def test_nobody_to_tune_on_is_no_mistake(copy):
    pl.read_parquet(copy.samples("tuning")).clear().write_parquet(copy.samples("tuning"))
    for name in list(STUDY.stages)[2:]:
        copy.stage(name).unlink(missing_ok=True)  # of experiments there are none
    said = go("pipeline", copy)
    assert said.code == 0, said.err


def test_a_sharding_that_is_not_there(copy):
    copy.stage("train_teacher").unlink()
    refused(go("train_teacher", copy, "teacher.sharding=zero9"), "zero9")


def test_a_label_that_never_occurs(tmp_path):
    labels = tmp_path / "labels.yaml"
    labels.write_text(
        "Heart failure: {use_in_benchmark: true, type: chronic, id: 108}\n"
        'Cholera: {use_in_benchmark: true, type: acute, codes: ["0010"]}\n'
    )
    overrides = [f"select.labels={labels}", "select.absent_labels=refuse"]
    run, said = start(tmp_path / "run", "synthetic:100", *overrides)
    refused(said, "'Cholera'", "select.absent_labels=allow")
    assert run.stage("extract").is_file() and record.verify(run) == []


# --- teacher, shards, student ----------------------------------------------------------------------------------------


def shard_of_train(run):
    return next(run.root.glob(f"softlabels/{record.read(run, 'label').numbers['train']}/shard-*.safetensors"))


def test_a_truncated_shard(copy):
    shard = shard_of_train(copy)
    shard.write_bytes(shard.read_bytes()[:-100])
    refused(go("distill", copy, "student.optim.epochs=2"), shard.name, "bytes")
    others = [problem for problem in record.verify(copy) if shard.name not in problem]
    assert others == []
    manifest = next(shard.parent.glob(f"{shard.name[:11]}.json"))
    manifest.unlink()  # as the sentence says
    assert go("label", copy).code == 0
    assert go("distill", copy).code == 0
    assert record.verify(copy) == []


def test_a_foreign_teacher(copy, marked):
    shutil.rmtree(copy.teacher)
    shutil.copytree(marked.teacher, copy.teacher)
    refused(go("distill", copy, "student.optim.epochs=2"), "was labelled by teacher")


def test_labels_that_do_not_match_the_shards(copy):
    kept = json.loads(copy.labels.read_text())
    copy.labels.write_text(json.dumps({key: values[:-1] for key, values in kept.items()}))
    refused(go("distill", copy, "student.optim.epochs=2"), "25 columns", "has 24")


def test_stages_in_the_wrong_order(tmp_path):
    run, said = start(tmp_path / "run", "synthetic:30", command="distill")
    refused(said, "distill", "run select first")
    assert record.verify(run) == []


# --- the disk --------------------------------------------------------------------------------------------------------

FULL = """
import sys
from tests.end_to_end.small import ckd
said = ckd(*sys.argv[1:])
sys.stderr.write(said.err)
sys.exit(said.code)
"""


@pytest.mark.parametrize(
    "stage, room_kb",
    [
        ("prompt_teacher", 60),
        pytest.param("prompt_student", 60, marks=pytest.mark.slow),
        ("label", 40),
        ("distill", 60),
        pytest.param("evaluate", 40, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk(finished, tmp_path, stage, room_kb):
    """A real one: a small tmpfs in a namespace of its own, with the run on it and little room beside."""
    disk, keep = tmp_path / "disk", tmp_path / "after"
    disk.mkdir()
    enter = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*enter, f"mount -t tmpfs none {disk}"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs in a namespace")
    run = DiseaseRun(shutil.copytree(finished.root, tmp_path / "before"))
    gone = {
        "prompt_teacher": ["prompts", "base"],
        "prompt_student": ["base/student"],
        "label": ["softlabels"],
        "distill": ["student", "student_hard"],
    }
    for name in [name for name in STUDY.stages if name == stage or run.stage(name).is_file()]:
        if list(STUDY.stages).index(name) >= list(STUDY.stages).index(stage):
            run.stage(name).unlink()
    validation = set(record.read(run, "validate_teacher").files) if stage == "label" else set()
    for folder in gone.get(stage, ["report"]):
        for path in (run.root / folder).rglob("*"):
            if path.is_file() and str(path.relative_to(run.root)) not in validation:
                path.unlink()
    size_kb = sum(-(-path.stat().st_size // 4096) * 4 for path in run.root.rglob("*") if path.is_file()) + room_kb
    script = tmp_path / "go.py"
    script.write_text(FULL)
    command = f"{sys.executable} {script} {stage} --run {disk}/run --local"
    steps = [
        f"mount -t tmpfs -o size={size_kb}k none {disk}",
        f"cp -r {run.root} {disk}/run",
        f"{{ {command}; echo $? > {tmp_path}/code; }}",
        f"df {disk} > {tmp_path}/df",
        f"cp -r {disk}/run {keep}",
    ]
    done = subprocess.run(
        [*enter, " && ".join(steps)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    err = [line for line in done.stderr.splitlines() if "No space left" in line or "make room" in line]
    assert (tmp_path / "code").read_text().strip() == "1", done.stderr
    assert err and "make room" in err[-1], done.stderr
    assert "Traceback" not in done.stderr
    after = DiseaseRun(keep)
    assert not after.stage(stage).exists()
    assert record.verify(after) == []
    for split in SPLITS:
        assert after.samples(split).read_bytes() == finished.samples(split).read_bytes()
