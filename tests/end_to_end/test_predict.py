"""What a user does next: a student meets patients it never saw, labels of their own, somebody else's soft labels."""

import itertools
import json
import shutil
from datetime import datetime

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ckd_dist import record
from ckd_dist.ehr.events import read_events
from ckd_dist.report.calibrate import Calibration
from ckd_dist.report.predictions import PREDICTIONS
from ckd_dist.schema import DEATH, SPLITS, check_columns
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies.disease.evaluate import score_models
from ckd_dist.studies.disease.from_run import teachers_of
from ckd_dist.studies.disease.prompts.exchange import export_soft_labels
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import ALL
from ckd_dist.studies.disease.soft_sources import is_law_known
from tests.ehr.small import write
from tests.end_to_end.small import SMALL, ckd, files, go, hashes, hospital, ledger_of, recipe_of, run_pipeline

MEDS_COLUMNS = ["subject_id", "prediction_time", "predicted_boolean_value", "predicted_boolean_probability"]


@pytest.fixture(scope="module")
def second_hospital(tmp_path_factory):
    folder = tmp_path_factory.mktemp("second")
    hospital(folder, 60, seed=5)
    return folder


def predicted(model, source, out):
    said = ckd("predict", "--model", model, "--source", source, "--out", out)
    assert said.code == 0, said.err
    return check_columns(pl.read_parquet(out / "predictions.parquet"), PREDICTIONS, "predictions")


def test_the_dead_are_left_out_and_counted(finished, tmp_path):
    """Two visits each; the second of one subject ended in death, and its first had a prediction before that."""
    tables = {
        "PATIENTS": [{"SUBJECT_ID": subject, "GENDER": "F", "DOB": "2050-01-01", "DOD": None} for subject in (1, 2, 3)],
        "ADMISSIONS": [],
        "DIAGNOSES_ICD": [],
    }
    for subject, visit in itertools.product((1, 2, 3), (1, 2)):
        hadm = {"SUBJECT_ID": subject, "HADM_ID": 10 * subject + visit}
        died = f"2100-0{visit}-05 12:00:00" if (subject, visit) == (1, 2) else None
        times = {
            "ADMITTIME": f"2100-0{visit}-01 08:00:00",
            "DISCHTIME": f"2100-0{visit}-05 12:00:00",
            "DEATHTIME": died,
        }
        said = {"ADMISSION_TYPE": "URGENT", "DISCHARGE_LOCATION": "HOME", "HOSPITAL_EXPIRE_FLAG": int(died is not None)}
        tables["ADMISSIONS"].append(hadm | times | said)
        if (subject, visit) != (2, 2):  # nothing coded yet
            tables["DIAGNOSES_ICD"].append(hadm | {"SEQ_NUM": 1, "ICD9_CODE": "4280"})
    source = f"mimic3:{write(tmp_path / 'tables', tables)}"
    said = ckd("predict", "--model", finished.student, "--source", source, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    table = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert table["subject_id"].to_list() == [3]
    assert table["prediction_time"].to_list() == [datetime(2100, 2, 5, 12)]
    assert "1 subjects; 1 subject died in hospital: nobody to predict for; 1 subject came last for a visit" in said.out
    assert "read: 6 admissions, 5 diagnoses" in said.out
    few = tables | {name: [row for row in tables[name] if row["SUBJECT_ID"] < 3] for name in tables}
    source = f"mimic3:{write(tmp_path / 'few', few)}"
    said = ckd("predict", "--model", finished.student, "--source", source, "--out", tmp_path / "none")
    assert said.code == 2 and "nobody to predict for: 1 subject died in hospital" in said.err
    assert not (tmp_path / "none" / "predictions.parquet").exists()


def test_a_second_hospital_by_the_command_line(finished, second_hospital, tmp_path):
    out, names = tmp_path / "out", finished.label_names()
    table = predicted(finished.student, f"mimic3:{second_hospital}", out)
    assert table["subject_id"].is_unique().all()
    assert 40 < len(table) <= 60  # those who died are left out
    probabilities_NK = table["probabilities"].list.to_array(len(names)).to_numpy()
    assert np.isfinite(probabilities_NK).all() and (probabilities_NK > 0).all() and (probabilities_NK < 1).all()
    assert probabilities_NK.std(axis=0).max() > 0, "patients differ"

    calibration = Calibration.load(finished.student / "calibration.json", names)
    of_label = json.loads((out / "meds" / "labels.json").read_text())
    assert list(of_label) == names
    for k, name in enumerate(names):
        meds = pl.read_parquet(out / "meds" / of_label[name])
        assert meds.columns == MEDS_COLUMNS, "nobody knows the future: there is no truth"
        assert meds["subject_id"].to_list() == table["subject_id"].to_list()
        probability_N = meds["predicted_boolean_probability"].to_numpy()
        np.testing.assert_allclose(probability_N, probabilities_NK[:, k], atol=1e-6)
        assert meds["predicted_boolean_value"].to_list() == (probability_N >= calibration.threshold_K[k]).tolist()
    assert pl.read_csv(out / "predictions.csv").columns[3:] == names


def test_a_run_leaves_its_held_out_predictions_and_meds_evaluation_scores_them_as_the_report_does(finished):
    """Row 38 of the list of tests; a file that is readable for its owner alone."""
    evaluate = pytest.importorskip("meds_evaluation.evaluate", reason="meds-evaluation is not installed")
    reported = json.loads((finished.report / "metrics.json").read_text())
    models = {model["name"]: model for model in reported["models"] if model["role"] in ("student", "teacher")}
    assert {folder.name for folder in finished.predictions.iterdir()} == set(models) >= {"student", "teacher"}
    num_scored = 0
    for model, scores in models.items():
        folder = finished.predictions / model
        for name, file in json.loads((folder / "labels.json").read_text()).items():
            table = pl.read_parquet(folder / file)
            assert (folder / file).stat().st_mode & 0o777 == 0o600
            if table["boolean_value"].n_unique() < 2:
                continue
            theirs = evaluate.evaluate_binary_classification(table)["samples_equally_weighted"]
            ours = scores["per_label"][name]
            assert ours["auroc"]["value"] == pytest.approx(theirs["roc_auc_score"], abs=2e-3)
            assert ours["auprc"]["value"] == pytest.approx(theirs["average_precision_score"], abs=2e-3)
            num_scored += 1
    assert num_scored > 30


def test_the_run_s_own_events_give_what_plain_transformers_give(finished, tmp_path):
    names = finished.label_names()
    table = predicted(finished.student, f"meds:{finished.events}", tmp_path / "out")
    # `sample_id` is another number here: the same visit is the same subject at the same time.
    samples = pl.concat([pl.read_parquet(finished.samples(split)) for split in SPLITS])
    texts = pl.concat([pl.read_parquet(finished.prompts(split, "student")) for split in SPLITS])
    known = samples.select("sample_id", "subject_id", "prediction_time").join(texts, on="sample_id")
    both = table.drop("sample_id").join(known, on=["subject_id", "prediction_time"], maintain_order="left")
    events = pl.concat([read_events(finished.events, split) for split in SPLITS])
    dead = events.filter(pl.col("code") == DEATH).collect()["subject_id"]
    alive = samples.filter(~pl.col("subject_id").is_in(dead.implode()))
    assert len(both) == len(table) == alive["subject_id"].n_unique() < samples["subject_id"].n_unique()

    few = both.sample(15, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(finished.student)
    model = AutoModelForSequenceClassification.from_pretrained(finished.student).eval()
    with torch.no_grad():
        logits_NK = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in few["text"]])
    wanted_NK = Calibration.load(finished.student / "calibration.json", names).probabilities(logits_NK.numpy())
    np.testing.assert_allclose(few["probabilities"].list.to_array(len(names)).to_numpy(), wanted_NK, atol=1e-4)


def test_a_student_needs_nothing_but_its_own_folder(copy, second_hospital, tmp_path):
    before = predicted(copy.student, f"mimic3:{second_hospital}", tmp_path / "before")
    away = shutil.copytree(copy.student, tmp_path / "elsewhere" / "student")
    shutil.rmtree(copy.root)
    assert predicted(away, f"mimic3:{second_hospital}", tmp_path / "away").equals(before)


def test_a_synthetic_hospital_and_a_place_that_is_no_student(finished, tmp_path):
    assert len(predicted(finished.student, "synthetic:30", tmp_path / "out")) > 15
    said = ckd("predict", "--model", finished.teacher, "--source", "synthetic:30", "--out", tmp_path / "no")
    assert said.code == 2
    assert "no student of this project" in said.err and len(said.err.strip().splitlines()) == 1
    said = ckd("annotate", "--model", finished.student, "--notes", tmp_path, "--out", tmp_path / "no")
    assert said.code == 2
    assert "is a student of another study" in said.err and len(said.err.strip().splitlines()) == 1


def test_a_user_s_own_label_set_goes_through_to_a_report(marked, marked_tables, tmp_path):
    names = ["Heart failure", "High blood pressure", "Kidney failure, acute"]
    assert marked.label_names() == names
    assert {state.state for state in ledger_of(marked).status()} == {"done"}
    assert [label["name"] for label in json.loads((marked.report / "metrics.json").read_text())["labels"]] == names
    away = shutil.copytree(marked.student, tmp_path / "student")  # the label set goes with it
    table = predicted(away, f"mimic3:{marked_tables}", tmp_path / "out")
    assert set(table["probabilities"].list.len()) == {3}
    assert len(files(tmp_path / "out" / "meds")) == 4


def test_the_law_s_oracle_is_no_judge_of_a_user_s_own_labels(marked):
    """As after a synthetic hospital with own labels: everybody is scored but the oracle."""
    recipe, plans = recipe_of(marked), record.read(marked, "label").numbers
    students = {"student": marked.student}
    teachers = teachers_of(recipe, marked)
    law_known = is_law_known("synthetic:300", recipe.select.labels, recipe.select.history_visits)
    models = score_models(marked, students, teachers, plans, law_known=law_known, seen=ALL)
    names = {model.name for model in models}
    assert {"student", "teacher"} <= names and "oracle" not in names


def test_somebody_else_s_soft_labels_need_no_teacher(finished, tmp_path):
    names = finished.label_names()
    num_train = len(pl.read_parquet(finished.samples("train")))
    probabilities_NK = np.random.default_rng(0).uniform(0.05, 0.95, (num_train, len(names))).round(4)
    theirs = tmp_path / "soft_labels.json"
    export_soft_labels(theirs, probabilities_NK, names)

    run = DiseaseRun(tmp_path / "run")
    for folder in ("events", "samples", "prompts", "base", "stages", "tables"):
        shutil.copytree(finished.root / folder, run.root / folder)
    for name in ("train_teacher", "label", "distill", "evaluate"):
        run.stage(name).unlink()
    arguments = ["--recipe", "tiny", "--source", "synthetic:300", "--run", run.root, "--local", *SMALL]
    said = ckd("pipeline", *arguments, f"label.import_from={theirs}")
    assert said.code == 0, said.err
    assert not run.teacher.exists()

    sample_id_N, logits_NK = read_labels(run.softlabels, record.read(run, "label").numbers["train"], names)
    in_order = 1 / (1 + np.exp(-logits_NK[np.argsort(sample_id_N)]))
    np.testing.assert_allclose(in_order, probabilities_NK, atol=1e-6)
    models = {model["name"] for model in json.loads((run.report / "metrics.json").read_text())["models"]}
    assert "student" in models and "teacher" not in models
    weights = "student/model.safetensors"
    assert hashes(run)[weights] != hashes(finished)[weights], "another teacher, another student"

    export_soft_labels(theirs, probabilities_NK[:, ::-1], names)  # other numbers under the same name
    assert "label.import_from_files changed" in ledger_of(run).state("label").why
    export_soft_labels(theirs, probabilities_NK[1:], names)
    said = go("label", run)
    assert said.code == 2
    assert f"has {num_train - 1} rows, train has {num_train}" in said.err


@pytest.mark.slow
def test_a_student_of_icd10_reads_a_synthetic_hospital_that_writes_it(tmp_path):
    few = ["student.hard_baseline=false", "prompt.diagnosis_names=title", "extract.synthetic_codes=icd10"]
    run = run_pipeline(tmp_path / "run", "synthetic:200", *few)
    oracle = json.loads((run.root / "report" / "metrics.json").read_text())["models"][-1]
    assert oracle["name"] == "oracle" and oracle["overall"]["macro_auroc"]["value"] > 0.75  # the law reads ICD-10
    predicted(run.student, "synthetic:30", tmp_path / "out")
    codes = pl.read_csv(tmp_path / "out" / "tables" / "diagnoses_icd.csv.gz")
    assert set(codes["icd_version"]) == {9, 10} and codes["icd_version"].mean() > 9.8
    trained_on = pl.read_csv(run.root / "tables" / "diagnoses_icd.csv.gz")
    assert set(codes["icd_code"]) <= set(trained_on["icd_code"])
