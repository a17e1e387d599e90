"""Real tables, through to a report: the open MIMIC-III demo with tiny models.  Too small for claims, and it says so."""

import json

import pytest

from ckd_dist import record
from tests.data import DATA
from tests.end_to_end.small import ledger_of, run_pipeline

DEMO = DATA / "mimic_iii_demo"


@pytest.mark.skipif(not DEMO.is_dir(), reason="no mimic_iii_demo in $CKD_DATA or ../shared/data")
def test_the_mimic_iii_demo_goes_through_to_a_report(tmp_path):
    run = run_pipeline(tmp_path / "run", f"mimic3:{DEMO}", "extract.train_fraction=0.5", "extract.tuning_fraction=0.25")
    assert {state.state for state in ledger_of(run).status()} == {"done"}
    assert record.verify(run) == []
    report = json.loads((run.report / "metrics.json").read_text())
    assert report["held_out"]["too_small"]
    flow = {step["reason"]: step["left"] for step in report["flow"]}
    assert flow["visits"] == 129  # of the demo's ADMISSIONS
    models = {model["name"] for model in report["models"]}
    assert {"student", "teacher", "student_hard", "copy_last_visit"} <= models and "oracle" not in models
    for page in ("report.md", "report.html"):
        text = (run.report / page).read_text()
        assert "too small for claims" in text.lower()
        assert str(DEMO.parent) not in text, "a report names no place"
