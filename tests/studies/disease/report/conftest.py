"""A small synthetic cohort, and results to render."""

import datetime

import numpy as np
import polars as pl
import pytest

from ckd_dist import schema
from ckd_dist.report import calibrate, timing
from ckd_dist.report.bootstrap import Estimate
from ckd_dist.report.compare import Difference
from ckd_dist.report.provenance import Provenance
from ckd_dist.studies.disease.report import results, table1
from ckd_dist.studies.disease.report.validation import Validation

NUM_LABELS = 4
NAMES = ("Shock", "Chronic kidney disease", "Gout | pipe & <b>", "Rare disease")
FIRST_SUBJECT = 770_000_000  # easy to find should one leak into a report


def make_samples(num_rows: int, seed: int = 0, num_labels: int = NUM_LABELS) -> pl.DataFrame:
    """schema.SAMPLES, two visits a subject.  Drug k, given or not, decides label k; a tenth has no next visit."""
    random = np.random.default_rng(seed)
    current = (random.random((num_rows, num_labels)) < 0.4).astype(int)
    drug = (random.random((num_rows, num_labels)) < 0.5).astype(int)
    label = (random.random((num_rows, num_labels)) < np.where(drug, 0.1, 0.6)).astype(int)
    rows = [
        {
            "sample_id": i,
            "subject_id": FIRST_SUBJECT + 10_000 * seed + i // 2,
            "hadm_id": i,
            "prediction_time": datetime.datetime(2100, 1, 1) + datetime.timedelta(days=i),
            "age": None if i % 11 == 0 else float(20 + i % 70),
            "sex": (None, "F", "M")[i % 3],
            "site": ("east", "west")[i % 2],
            "gap_days": None if i % 2 == 0 else 30.0,
            "diagnoses": [f"DIAGNOSIS//ICD//9//{k}" for k in np.flatnonzero(current[i])],
            "medications": [f"drug {k}" for k in np.flatnonzero(drug[i])],
            "procedures": ["PROCEDURE//ICD//9//3961"] if i % 4 == 0 else [],
            "history": [
                {"diagnoses": ["DIAGNOSIS//ICD//9//1"], "medications": [], "procedures": [], "days_before": 9.0}
            ]
            if i % 2
            else [],
            "current": current[i].tolist(),
            "labels": label[i].tolist() if i % 10 else None,
        }
        for i in range(num_rows)
    ]
    return pl.DataFrame(rows, schema=schema.SAMPLES)


def make_results(num_rows: int, seed: int = 0) -> results.Results:
    """Models that see the true logit through more or less noise; the last label never occurs."""
    random = np.random.default_rng(seed)
    logit_NK = random.normal(-1, 1.5, (num_rows, NUM_LABELS))
    label_NK = (random.random(logit_NK.shape) < calibrate.sigmoid(logit_NK)).astype(int)
    label_NK[:, -1] = 0
    share_NK = np.tile(label_NK.mean(axis=0), (num_rows, 1))
    guesses = {
        "predict_nothing": ("baseline", np.zeros(logit_NK.shape)),
        "prevalence": ("baseline", share_NK),
        "copy_last_visit": ("baseline", np.where(random.random(logit_NK.shape) < 0.3, 0.4, 0.2)),
        "student_hard": ("student", calibrate.sigmoid(logit_NK + random.normal(0, 1.0, logit_NK.shape))),
        "student": ("student", calibrate.sigmoid(logit_NK + random.normal(0, 0.5, logit_NK.shape))),
        "teacher": ("teacher", calibrate.sigmoid(logit_NK + random.normal(0, 0.4, logit_NK.shape))),
        "oracle": ("oracle", calibrate.sigmoid(logit_NK)),
    }
    samples = make_samples(num_rows, seed=9)
    return results.Results(
        Provenance(
            title="a synthetic run",
            source="synthetic numbers",
            date="2100-01-01",
            recipe={"student.optim.epochs": 3, "select.labels": "phenotypes25"},
            versions={"torch": "2"},
            notes=("A note.",),
            was_read={"extract": ["48 admissions", "lost: 12 rows of DRUGS (no <start>)"], "select": ["44 visits"]},
        ),
        results.HeldOut(NAMES, label_NK, samples["subject_id"].to_numpy(), table1.groups_of(samples)),
        results.Cohort(
            flow=[("Visits in the source", 0, num_rows + 3), ("Ended in death", 3, num_rows)],
            table1=table1.table1({"train": make_samples(40, 1), "held_out": samples}, NAMES),
            tables=[
                {"file": "DRUGS.csv", "rows": 1219, "kept": 1200, "merged": 5, "skipped": {"no start": 12, "a | b": 2}},
                {"file": "ADMISSIONS.csv", "rows": 48, "kept": 48, "merged": 0, "skipped": {}},
            ],
        ),
        models=tuple(results.Model(name, role, p, (p > 0.3).astype(int)) for name, (role, p) in guesses.items()),
        timings=[
            timing.Timing(name, "a CPU", "torch 2", "float32", 8, 100.0, 200, 4, 1.0, 2.0, 900.0)
            for name in ("student", "teacher")
        ],
        bootstrap_draws=100,
        validation=make_validation(),
    )


def make_validation() -> Validation:
    """A teacher that is better than a regression, once its logits are divided by a temperature."""
    losses = {"raw": 0.41, "taught": 0.31, "expected": 0.38}
    scores = {
        name: {metric: Estimate(value, value - 0.02, value + 0.02) for metric in ("log_loss", "brier", "ece")}
        | {"macro_auroc": Estimate(0.75, float("nan"), float("nan"))}
        for name, value in losses.items()
    }
    return Validation(120, 48, scores, Difference(-0.07, -0.09, -0.05, "better"), "scalar")


@pytest.fixture(scope="session")
def samples():
    """make_samples(num_rows, seed=0, num_labels=4)"""
    return make_samples


@pytest.fixture(scope="session")
def synthetic_results():
    """make_results(num_rows, seed=0)"""
    return make_results
