"""What `make demo` promises, by its own commands: Ray, two workers, ZeRO-3; and the law itself as teacher.  Minutes."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiment_stage import labelled_subjects
from ckd_dist.studies.disease.recipes import few_labels
from ckd_dist.studies.disease.runfolder import DiseaseRun
from tests.end_to_end.on_ray import ENVIRONMENT, on_ray
from tests.end_to_end.small import copy_of

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The run of `make demo`, and what it printed last: a finished run in CKD_DEMO_RUN, else run now."""
    root = Path(os.environ.get("CKD_DEMO_RUN") or tmp_path_factory.mktemp("demo") / "run")
    listed = subprocess.run(["make", "-n", "demo", f"RUN={root}"], cwd=ROOT, capture_output=True, text=True, check=True)
    commands = [line.lstrip("@") for line in listed.stdout.splitlines() if " -m launch.run " in line]
    assert len(commands) == 3
    for command in commands:
        _, *arguments = shlex.split(command)
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done.stderr
    return DiseaseRun(root), done.stdout


def test_every_pass_figure_is_reached_and_printed(demo):
    run, said = demo
    experiments = json.loads((run.report / "metrics.json").read_text())["experiments"]
    assert experiments["num_seeds"] >= 3 and experiments["may_claim"]
    checked = {each["claim"]: each for each in experiments["checked"]}
    assert len(checked) == len(few_labels().experiments.claims) >= 7
    assert [claim for claim, each in checked.items() if not each["holds"]] == []
    for claim in checked:
        assert claim in said


def test_workers_are_busy_until_the_last_experiment_is_handed_out(demo):
    run, _ = demo
    assert json.loads((run.report / "metrics.json").read_text())["experiments"]["idle_share"] < 0.01


def test_the_planted_law_is_recovered(demo):
    run, _ = demo
    report = json.loads((run.report / "metrics.json").read_text())
    assert not report["held_out"]["too_small"]
    difference = {(pair["first"], pair["second"]): pair["metrics"] for pair in report["differences"]}
    for metric in ("macro_auroc", "macro_auprc"):
        for model in ("teacher", "student"):
            for baseline in ("prevalence", "copy_last_visit"):
                interval = difference[model, baseline][metric]
                assert interval["low"] > 0, f"{model} - {baseline}: {metric} {interval}"
            assert difference["oracle", model][metric]["value"] > 0, "nobody beats the law itself"


# --- the law itself as teacher: what distilling can bring -------------------------------------------------------------

SIDES = {"labels hidden": "exact", "the same rows": "exact_labelled"}


@pytest.fixture(scope="module", params=SIDES)
def law(demo, tmp_path_factory, request):
    """Hard labels and the student of exact probabilities, with labels hidden and, all labels seen, on the same rows."""
    run = copy_of(demo[0], tmp_path_factory.mktemp("law") / "run")
    few, everybody = few_labels().experiments.budgets[0], labelled_subjects(run)["train"]
    budget = few if request.param == "labels hidden" else everybody
    asked = [f"experiments.variants=[{SIDES[request.param]}, hard]", f"experiments.budgets=[{budget}]"]
    for stage in ("experiment", "evaluate"):
        on_ray(stage, run, *asked, "experiments.claims=[]")
    (table,) = json.loads((run.report / "metrics.json").read_text())["experiments"]["budgets"]
    return table | {"side": request.param}


def test_exact_probabilities_beat_hard_labels_clearly_in_every_seed(law):
    (hard,) = (line for line in law["variants"] if line["name"] == "hard")
    for metric in ("macro_auroc", "macro_auprc", "log_loss"):
        assert len(hard["minus"][metric]["seeds"]) == 3 and hard["minus"][metric]["verdict"] == "better", hard
    least = 0.1 if law["side"] == "labels hidden" else 0.0
    assert min(seed["low"] for seed in hard["minus"]["macro_auroc"]["seeds"]) > least


def test_soft_labels_of_another_patient_teach_no_ranking(demo):
    run, _ = demo
    first = json.loads((run.report / "metrics.json").read_text())["experiments"]["budgets"][0]
    (permuted,) = (line for line in first["variants"] if line["name"] == "permuted")
    assert max(abs(auroc - 0.5) for auroc in permuted["seeds"]["macro_auroc"]) < 0.1


def test_a_student_of_soft_labels_makes_all_updates_and_no_student_makes_more(demo):
    run, _ = demo
    found = [Result.read(path) for path in run.experiments.iterdir()]
    updates = {result.experiment.variant: result.numbers["updates"] for result in found if "updates" in result.numbers}
    assert updates["distilled"] == updates["permuted"] == updates["own"] >= updates["hard"] > 0
