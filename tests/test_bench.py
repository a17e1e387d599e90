"""Benchmarks run, at their smallest; and why ours is faster is asserted on counts, which no busy machine can change."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "tests" / "bench"
DATA = Path(os.environ.get("CKD_DATA", ROOT.parent / "shared" / "data"))
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}  # as make has it: no path to the checkout

WITHOUT = """
import importlib.machinery, runpy, sys

class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ("ray", "datasets") else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if f is importlib.machinery.PathFinder else f for f in sys.meta_path]
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*command):
    """What `python command` printed; it must end well."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bench(name, *arguments):
    return run(str(BENCH / name), *arguments)


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """The benchmarks' folder on the path, as it is for a script in it."""
    monkeypatch.syspath_prepend(str(BENCH))


# --- they run ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_gpu_bench_passes_its_checks_on_a_cpu_without_ray_or_datasets():
    said = run("-c", WITHOUT, str(BENCH), str(BENCH / "gpu.py"), "--small", "--date", "2026-01-02")
    assert "2026-01-02" in said and "tiny models: no measurement" in said
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| ") and "---" not in line]
    timed = [row for row in rows if row[0].startswith(("| student", "| teacher"))]
    assert [row[0].partition(":")[0] for row in timed] == ["| student of 64 x 2"] + 4 * ["| teacher"]
    assert ["recomputed" in row[0] for row in timed] == [False, False, False, True, False]
    assert all(float(row[1].replace(",", "")) > 0 for row in timed)
    assert said.count("| passed |") == 3 and "FAILED" not in said


def test_gpu_bench_without_a_gpu_says_so():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert "no GPU here" in bench("gpu.py")


@pytest.mark.parametrize("study", ["disease", "ner"])
def test_engine_step_ends_in_the_plain_loops_weights(study):
    said = bench("engine_step.py", "--study", study, "--hidden", "32", "--layers", "1", "--steps", "2", "--rounds", "1")
    apart = [float(line.rpartition(": ")[2]) for line in said.splitlines() if "largest difference" in line]
    assert len(apart) == 2 and max(apart) < 1e-6
    assert said.count("our engine / plain PyTorch") == 2


def test_student_epoch_runs():
    said = bench("student_epoch.py", "--rows", "16", "--hidden", "32", "--layers", "1", "--rounds", "1")
    assert "published / ours, float32" in said and "published / ours, bfloat16" in said


@pytest.mark.slow
def test_tagger_inference_runs_and_every_tag_is_the_pipelines():
    said = bench(
        "tagger_inference.py", "--sentences", "40", "--hidden", "32", "--layers", "1", "--rounds", "1", "--bf16"
    )
    assert "all tags equal" in said and "in bfloat16" in said
    assert said.count("pipeline / ours") == 2 and "GFLOP a sentence" in said


@pytest.mark.slow
def test_soft_labels_runs_and_both_ways_agree():
    said = bench("soft_labels.py", "--rows", "2", "--rounds", "1")
    apart = [float(line.rpartition(" ")[2]) for line in said.splitlines() if "largest difference" in line]
    assert apart[0] < 1e-5 and apart[1] < 0.05  # probabilities, float32 and bfloat16
    assert said.count("published / ours") == 2


@pytest.mark.parametrize("real_length", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_extraction_runs(real_length):
    said = bench("extraction.py", "--subjects", "600", *["--real-length"] * real_length)
    for word in ("extract", "select", "prompt", "total", "peak", "teacher", "student"):
        assert f"  {word}" in said
    tokens = next(line for line in said.splitlines() if line.startswith("  student"))
    mean = float(tokens.partition("prompts of ")[2].partition(" ")[0])
    assert 380 < mean < 510 if real_length else mean < 250  # real records: 445


# --- causes, not clocks -----------------------------------------------------------------------------------------------


class Work:
    """Counts, over every module that runs within it, what costs."""

    def __init__(self, vocabulary, width):
        self.vocabulary, self.width = vocabulary, width
        self.projections = self.positions = self.rows = self.kept = self.maps = 0

    def __enter__(self):
        self.hook = torch.nn.modules.module.register_module_forward_hook(self.see)
        return self

    def __exit__(self, *_):
        self.hook.remove()

    def see(self, module, inputs, output):
        if isinstance(module, torch.nn.Linear) and module.out_features == self.vocabulary:
            self.projections += 1
        if isinstance(module, torch.nn.Embedding):
            self.rows += len(inputs[0])
            self.positions += inputs[0].numel()
        self.kept += getattr(output, "hidden_states", None) is not None
        self.maps += getattr(output, "attentions", None) is not None


def test_labelling_reads_a_row_once_projects_no_vocabulary_and_keeps_nothing():
    from published import label
    from soft_labels import SHARED, Records, models

    from ckd_dist.models.predict import predict_logits

    causal, linear, model = models(torch.float32)
    records = Records(5, 152_064)
    with Work(152_064, 256) as theirs:
        probabilities = label(causal, linear, records.rows, collect=False)
    with Work(152_064, 256) as ours:
        logits = predict_logits(model, records, np.arange(5), micro_tokens=4096, pad_id=0)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), probabilities, atol=1e-5)

    assert (theirs.rows, theirs.projections) == (5, 5) and theirs.kept > 0  # the fault that is counted exists
    assert ours.rows == 5 + 1  # one forward a row, and one of the prefix
    assert ours.projections == ours.kept == ours.maps == 0
    assert ours.positions < theirs.positions  # the instruction is read once
    own = records.lengths - SHARED
    assert SHARED + own.sum() <= ours.positions <= SHARED + 5 * own.max()


@pytest.mark.parametrize("num_rows", [160, 1000])
def test_students_read_little_padding(num_rows):
    from padding import padding_share
    from published import pad_all
    from student_epoch import Records

    from ckd_dist.softlabels.stream import Order, steps

    records = Records(num_rows)
    _, attention = pad_all(records.rows, 0)
    theirs = 1 - attention.float().mean().item()
    epoch = steps(records.lengths, np.ones(num_rows), Order(batch_samples=8, micro_tokens=8192, seed=0, epochs=1))
    slots = [slot for step in epoch for slot in step.slots]
    assert sorted(np.concatenate(slots)) == list(range(num_rows))  # nothing is saved by leaving rows out
    ours = padding_share(records.lengths, slots)
    assert ours < 0.05 < 0.15 < theirs


def test_a_student_epoch_reads_each_row_once_in_few_positions():
    from published import student_epoch
    from student_epoch import NUM_LABELS, Records, model

    from ckd_dist.config import Optim
    from ckd_dist.engine.ddp import DdpEngine
    from ckd_dist.engine.loop import Step, train_step
    from ckd_dist.models.losses import Mixing
    from ckd_dist.models.wrapper import Wrapper
    from ckd_dist.softlabels.stream import Order, steps
    from ckd_dist.studies.disease.task import DiseaseTask
    from ckd_dist.world import World

    records, ones = Records(64), np.ones(64)
    labels = np.zeros((64, NUM_LABELS), np.float32)
    engine = DdpEngine(Wrapper(model(32, 1), "encoder"), Optim(batch_samples=8), World())
    task = DiseaseTask(records, 0, labels, ones, labels, Mixing(0.7, 2.0))
    peer, shapes = model(32, 1), {"ours": [], "theirs": []}
    for who, bert in (("ours", engine.module.plain), ("theirs", peer)):
        words = bert.base_model.embeddings.word_embeddings
        words.register_forward_hook(lambda _, inputs, output, who=who: shapes[who].append(inputs[0].shape))

    for step in steps(records.lengths, ones, Order(batch_samples=8, micro_tokens=8192, seed=0, epochs=1)):
        train_step(engine, Step([task.collate(rows) for rows in step.slots], step.total_weight), task.loss)
    for _ in student_epoch(peer, records.rows, labels, labels, 0):
        pass

    rows = {who: sum(size for size, _ in seen) for who, seen in shapes.items()}
    positions = {who: sum(size * length for size, length in seen) for who, seen in shapes.items()}
    assert rows == {"ours": 64, "theirs": 64}
    assert positions["theirs"] == 64 * 512
    assert records.lengths.sum() <= positions["ours"] < 1.1 * records.lengths.sum() < positions["theirs"]


# --- the arithmetic of MFU --------------------------------------------------------------------------------------------


def test_flops_of_a_7b_teacher():
    """Published shape: 6.525 B parameters in the backbone, 13.05 GFLOP a token and 0.13 for attention at 640."""
    from flops import Backbone
    from gpu import QWEN_7B
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    with torch.device("meta"):
        backbone = Backbone.of(Qwen2ForSequenceClassification(Qwen2Config(**QWEN_7B, num_labels=25)), causal=True)
    assert backbone.parameters == pytest.approx(6.525e9, rel=1e-3)
    assert backbone.forward([640]) / 640 == pytest.approx(13.05e9 + 0.13e9, rel=1e-3)
    assert backbone.training([640], frozen=False) / 640 == pytest.approx(3 * 13.18e9, rel=1e-3)
    assert backbone.training([640], frozen=True) / 640 == pytest.approx(2 * 13.05e9 + 3 * 0.13e9, rel=1e-3)


@pytest.mark.parametrize("prefix", [0, 1, 7])
def test_flops_with_a_prefix_are_those_of_the_tokens_one_by_one(prefix):
    """A causal token at position i attends to i others on average over its row: 4 L h (i + 1/2)."""
    from flops import Backbone

    backbone = Backbone(parameters=11, layers=3, width=5, causal=True)
    lengths = [8, 12, 9]

    def token(i):
        return 2 * 11 + 4 * 3 * 5 * (i + 0.5)

    by_hand = sum(token(i) for i in range(prefix)) + sum(token(i) for n in lengths for i in range(prefix, n))
    assert backbone.forward(lengths, prefix) == pytest.approx(by_hand)


def test_only_known_cards_have_a_peak():
    from flops import peak_of

    assert peak_of("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_of("NVIDIA H100 80GB HBM3") == peak_of("NVIDIA H200") == 989e12
    assert peak_of("NVIDIA H100 PCIe") is None and peak_of("CPU") is None


def test_ranking_runs_and_is_scikit_learns_where_nothing_ties():
    untied, *tied = [
        line for line in bench("ranking.py", "--rows", "2000", "--rounds", "1").splitlines() if "AUPRC" in line
    ]
    ours, theirs = (
        float(part.split()[0].strip(";")) for part in untied.partition("AUPRC ")[2].split(", scikit-learn ")
    )
    assert ours == theirs and len(tied) == 2
    assert all("ours / scikit-learn" in line for line in (untied, *tied))


def test_gazetteer_runs():
    said = bench("gazetteer.py", "--terms", "300", "--words", "5000")
    assert "words a minute" in said


@pytest.mark.slow
def test_saves_run():
    """Steps went on while checkpoints were written: each was whole before its block of steps ended."""
    said = run("-m", "tests.bench.saves", "--small", "--rounds", "1", "--steps", "20")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("| ")][1:]
    assert [(row[0], row[3]) for row in rows] == [
        (role, kind) for role in ("teacher", "student") for kind in ("in line", "background")
    ]
    assert [row[7] for row in rows if row[3] == "background"] == ["100%"] * 2


@pytest.mark.slow
def test_grid_experiments_run():
    said = bench("grid_experiment.py", "--small", "--kinds", "max")
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| ") and "embedding" not in line]
    assert [row[0].strip("| ") for row in rows] == ["tiny teacher", "one-hot"]
    assert all(float(cell.strip(" |")) < 20 for row in rows for cell in row[2:])


@pytest.mark.slow
def test_vectors_are_those_of_sentence_transformers():
    pytest.importorskip("sentence_transformers", reason="pip install -e .[measure]")
    assert "cosine" in bench("embedding.py", "--phrases", "100", "--rounds", "1", "--threads", "1")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_map_of_labels_is_drawn(tmp_path):
    said = run("-m", "tests.bench.labels_map", "--small", "--run", str(tmp_path))
    assert [f"{budget} labelled patients" in said for budget in (20, 40)] == [True] * 2
    assert "Exact probabilities, labelled visits" in said
    alone = json.loads((tmp_path / "map_300" / "report" / "metrics.json").read_text())["experiments"]
    assert [table["subjects"] for table in alone["budgets"]] == [40]
    assert {line["name"] for line in alone["budgets"][0]["variants"]} >= {"distilled", "hard", "own_crossfit"}
