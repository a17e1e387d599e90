"""On the synthetic law, distilling helps where the teacher knows more, and not where it does not.  Slow.

One-layer students, 500 updates of 16; 400 CPU seconds in all on a busy machine.  The teacher is the law itself, so what
is shown is that the distillation works, not that a teacher is good.
"""

import numpy as np
import polars as pl
import pytest

from ckd_dist.config import Optim
from ckd_dist.engine.experiments import path_of
from ckd_dist.models.losses import Mixing
from ckd_dist.report.bootstrap import resample
from ckd_dist.schedule import steps_per_epoch
from ckd_dist.studies.disease.evaluate import read_held_out
from ckd_dist.studies.disease.experiment import LEARNED, ExperimentWorker, Material
from ckd_dist.studies.disease.experiment_result import Result
from ckd_dist.studies.disease.experiment_stage import labelled_subjects
from ckd_dist.studies.disease.experiments import ExperimentOptions, StudentOptions, plan_experiments
from ckd_dist.studies.disease.report.experiments import ExperimentTables, compare_variants
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import Seen
from ckd_dist.studies.disease.soft_sources import exact
from tests.end_to_end.small import ckd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FEW, SEEDS, UPDATES, BATCH = 80, 3, 500, 16
INPUTS = {"student": "", "teacher": ""}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> DiseaseRun:
    folder = tmp_path_factory.mktemp("law") / "run"
    asked = ["--recipe", "tiny", "--source", "synthetic:3000", "--run", folder, "--local", "--until", "prompt_student"]
    said = ckd("pipeline", *asked, "prompt.efficacies=0", "student.tiny.layers=1", "teacher.tiny.layers=1")
    assert said.code == 0, said.err
    return DiseaseRun(folder)


@pytest.fixture(scope="module")
def tables(run) -> ExperimentTables:
    """Everything on few labels; hard labels and exact probabilities on all as well."""
    samples = {split: pl.read_parquet(run.samples(split)) for split in LEARNED}
    per_epoch, subjects = steps_per_epoch(samples["train"].height, BATCH), labelled_subjects(run)
    optim = Optim(epochs=UPDATES / per_epoch, learning_rate=3e-3, batch_samples=BATCH, evaluate_every=UPDATES // 2)
    student = StudentOptions(str(run.base("student")), None, 256, "float32", optim, Mixing(1.0, 1.0), 1.0, "none")
    sides = [(("exact", "hard", "permuted", "own"), FEW), (("exact", "hard"), subjects["train"])]
    plans = []
    for variants, budget in sides:
        options = ExperimentOptions(variants, (budget,), SEEDS)
        plans += plan_experiments(options, student, Seen("student"), subjects, INPUTS)
    law = {split: exact(frame, run.label_names()) for split, frame in samples.items()}
    worker = ExperimentWorker(run, plans, Material(law), "cpu")
    for number in range(len(plans)):
        worker.do(number)
    results = [Result.read(path) for path in {path_of(run.experiments, plan.experiment) for plan in plans}]
    held_out = read_held_out(run)
    draws, costs = resample(held_out.subject_N, 300, 0), {"idle_share": 0.0, "seconds": 0.0}
    budgets = [budget for _, budget in sides]
    return compare_variants(results, budgets, held_out.labels_NK, draws, costs, enough=True)


@pytest.mark.parametrize("side", [0, 1], ids=["labels hidden", "the same rows"])
def test_exact_probabilities_beat_hard_labels_clearly_in_every_seed(tables, side):
    hard = tables.budgets[side].variant("hard")
    assert tables.reference == "exact" and len(hard.minus["macro_auroc"].seeds) == SEEDS
    for metric in ("macro_auroc", "macro_auprc", "log_loss"):
        assert hard.minus[metric].verdict == "better", hard.minus[metric]
    least = 0.1 if side == 0 else 0.0
    assert min(seed.low for seed in hard.minus["macro_auroc"].seeds) > least


def test_soft_labels_of_another_patient_teach_no_ranking(tables):
    """At least 0.2 below, in every seed, and no better than a coin."""
    permuted = tables.budgets[0].variant("permuted")
    assert min(seed.low for seed in permuted.minus["macro_auroc"].seeds) > 0.2
    assert np.abs(np.array(permuted.seeds["macro_auroc"]) - 0.5).max() < 0.1


def test_a_teacher_of_the_same_few_labels_teaches_nothing(tables):
    few = tables.budgets[0]
    own, hard = (np.array(few.variant(name).seeds["macro_auroc"]) for name in ("own", "hard"))
    assert np.abs(own - hard).max() <= 0.01, (own, hard)


def test_a_student_of_soft_labels_makes_all_updates_and_no_student_makes_more(tables, run):
    found = [Result.read(path) for path in run.experiments.iterdir()]
    updates = {result.experiment.variant: result.numbers["updates"] for result in found}
    assert updates["exact"] == updates["permuted"] == updates["own"] == UPDATES >= updates["hard"]
