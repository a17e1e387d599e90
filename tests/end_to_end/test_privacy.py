"""Words and ids planted in the source tables stay where records are kept; every file of a run is its owner's alone."""

import json
import os
import stat
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from ckd_dist.schema import FEWEST_SUBJECTS
from ckd_dist.studies.disease.runfolder import DiseaseRun
from tests.end_to_end.small import DRUG, FEW, FREE_TEXT, SMALL, SUBJECT, VISIT, ckd, files, go, write_table

RECORDS = ("events", "samples", "prompts")  # the folders that hold records, and nobody else reads


def ids(run):
    """Every subject and visit of the run, as the numbers that the tables have."""
    events = pl.concat([pl.read_parquet(file) for file in run.events.glob("data/*/*.parquet")])
    found = set(events["subject_id"].unique()) | set(events["hadm_id"].drop_nulls().unique())
    assert min(found) > SUBJECT and any(number > VISIT for number in found)
    return found


def holds_an_id(text: bytes) -> bool:
    """Ids have nine digits and start like no other number here."""
    return any(str(start)[:4].encode() in text for start in (SUBJECT, VISIT)) and any(
        text[at : at + 9].isdigit()
        for start in (SUBJECT, VISIT)
        for at in places(text, str(start)[:4].encode())
        if not text[max(at - 1, 0) : at].isdigit() and text[max(at - 1, 0) : at] not in (b".",)
    )


def places(text: bytes, word: bytes):
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def outside(run):
    """Every file of a run folder that is no record."""
    return [file for file in files(run.root) if file.relative_to(run.root).parts[0] not in RECORDS]


def test_the_planted_words_really_are_in_the_records(marked, marked_tables):
    assert FREE_TEXT in pl.read_csv(marked_tables / "ADMISSIONS.csv.gz", infer_schema=False)["DIAGNOSIS"].to_list()
    codes = pl.concat([pl.read_parquet(file) for file in marked.events.glob("data/*/*.parquet")])["code"]
    assert codes.str.contains(DRUG.lower()).any()
    train = pl.read_parquet(marked.samples("train"))
    for word, num_subjects in ((DRUG, 1), (FEW, FEWEST_SUBJECTS - 1)):  # learned from, and said often
        has = train.filter(pl.col("medications").list.contains(word.lower()))
        assert has["subject_id"].n_unique() == num_subjects
        text = "".join(pl.read_parquet(marked.prompts("train", "student"))["text"])
        assert text.lower().count(word.lower()) > 5
    assert holds_an_id(f"subject {SUBJECT + 10_001}".encode())
    assert not holds_an_id(b"0.7700123456") and not holds_an_id(b"10770000123")


def test_no_word_of_a_record_leaves_the_records(marked):
    looked = outside(marked)
    kinds = {file.relative_to(marked.root).parts[0] for file in looked}
    assert {"progress", "stages", "report", "tensorboard", "softlabels", "student", "teacher", "base"} <= kinds
    for file in looked:
        content = file.read_bytes().lower()
        for word in (DRUG, FEW, FREE_TEXT):
            assert word.lower().encode() not in content, file


def test_no_subject_or_visit_leaves_the_records(marked):
    for file in outside(marked):
        if file.suffix in {".json", ".jsonl", ".md", ".html", ".log", ".jinja"} or "tfevents" in file.name:
            assert not holds_an_id(file.read_bytes()), file


def test_free_text_is_not_read_at_all(marked):
    for file in files(marked.root):
        if file.suffix == ".parquet":
            assert FREE_TEXT.lower() not in pl.read_parquet(file).write_json().lower(), file
        else:
            assert FREE_TEXT.lower().encode() not in file.read_bytes().lower(), file


def test_tensors_hold_sample_ids_never_subjects(marked):
    known = np.array(sorted(ids(marked)))
    tensors = [file for file in files(marked.root) if file.suffix == ".safetensors"]
    assert len(tensors) > 10
    for file in tensors:
        header = json.loads(file.read_bytes()[8 : 8 + int.from_bytes(file.read_bytes()[:8], "little")])
        text = json.dumps(header.get("__metadata__", {}))
        assert DRUG not in text and not holds_an_id(text.encode()), file
        for name, values in load_file(file).items() if "bf16" not in text else ():
            if values.dtype.kind in "iu":
                assert not np.isin(values, known).any(), f"{file}: {name}"


def test_prompts_name_no_subject(marked):
    for file in marked.root.glob("prompts/*.parquet"):
        assert not holds_an_id(pl.read_parquet(file).write_json().encode()), file


@pytest.mark.parametrize("name, column", [("ADMISSIONS", "ADMITTIME"), ("DIAGNOSES_ICD", "SEQ_NUM")])
def test_a_malformed_row_is_told_without_its_content(marked_tables, tmp_path, name, column):
    for file in marked_tables.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    table = pl.read_csv(tmp_path / f"{name}.csv.gz", infer_schema=False)
    bad = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(f"{DRUG} {FREE_TEXT}")).otherwise(column)
    write_table(tmp_path, name, table.with_columns(bad.alias(column)))
    run = DiseaseRun(tmp_path / "run")
    said = ckd("extract", "--recipe", "tiny", "--source", f"mimic3:{tmp_path}", "--run", run.root, "--local")
    text = said.out + said.err + "".join(file.read_text() for file in run.root.rglob("*.log"))
    if run.stage("extract").is_file():
        text += run.stage("extract").read_text()
        assert '"rows' in text or "skipped" in text
    assert DRUG not in text and FREE_TEXT not in text and not holds_an_id(text.encode())


@pytest.mark.parametrize(
    "stage, file",
    [
        ("prompt_teacher", "samples/train.parquet"),
        ("prompt_student", "samples/train.parquet"),
        ("train_teacher", "prompts/train.teacher.parquet"),
        ("label", "prompts/train.teacher.safetensors"),
        ("distill", "samples/train.parquet"),
        ("evaluate", "samples/held_out.parquet"),
    ],
)
def test_a_stage_that_fails_quotes_no_record(marked, copier, stage, file):
    """Its input is cut in half behind its back: sentence, traceback and log stay free of what the file holds."""
    run = copier(marked)
    (run.root / file).write_bytes((run.root / file).read_bytes()[: (run.root / file).stat().st_size // 2])
    run.stage(stage).unlink()
    for shards in run.softlabels.glob("*") if stage == "label" else ():
        for shard in shards.glob("shard-*"):
            shard.unlink()
    said = go(stage, run)
    assert said.code != 0, "the fault was there"
    log = run.root / "error.log"
    text = said.out + said.err + log.read_text() + "".join(f.read_text() for f in run.root.rglob("*.error.json"))
    assert "Traceback" in log.read_text() and "Traceback" not in said.out + said.err
    assert DRUG.lower() not in text.lower() and FREE_TEXT.lower() not in text.lower()
    assert not holds_an_id(text.encode())


@pytest.mark.parametrize("which", ["finished", "marked"])
def test_files_and_folders_are_their_owner_s_alone(request, which):
    run = request.getfixturevalue(which)
    for path in [run.root, *run.root.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_the_command_line_itself_makes_files_private(tmp_path):
    command = [sys.executable, "-m", "launch.run", "extract", "--recipe", "tiny", "--source", "synthetic:20", "--local"]
    done = subprocess.run([*command, "--run", tmp_path / "run", *SMALL], preexec_fn=lambda: os.umask(0), check=False)
    assert done.returncode == 0
    for path in [tmp_path / "run", *(tmp_path / "run").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
