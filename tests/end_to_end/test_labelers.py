"""Who hands out the labels hashes each file of a model once; a labeler hashes none that is as it was then.

Labelers run in processes of their own, as on a cluster.
"""

import hashlib
import json
import os
import shutil

import pytest

from ckd_dist.models import fingerprint
from ckd_dist.studies import STUDIES
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.ner.runfolder import NerRun
from ckd_dist.study import Context, begin_jobs
from tests.end_to_end import concepts
from tests.end_to_end.labeler import counting, in_own_process
from tests.end_to_end.small import ckd, recipe_of
from tests.end_to_end.test_ner import SMALL as SMALL_NER


def until(run, last, *arguments):
    said = ckd("pipeline", "--run", run.root, "--local", "--until", last, *arguments)
    assert said.code == 0, said.err
    return run


def labelled(study, request, tmp_path_factory):
    """A run whose labels are there, the stage that made them, and the folder of the model that did."""
    if study == "disease":
        return request.getfixturevalue("finished"), "label", "teacher"
    folder = tmp_path_factory.mktemp(study) / "run"
    if study == "ner":
        arguments = ["--recipe", "ner_tiny", "--source", "synthetic:60", *SMALL_NER]
        return until(NerRun(folder), "label", *arguments), "label", "teacher"
    arguments = ["--recipe", "concepts_tiny", "--source", concepts.SYNTHETIC, *concepts.SMALL]
    return until(ConceptsRun(folder), "embed", *arguments), "embed", "base/tiny teacher"


@pytest.fixture(params=["disease", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ner", "concepts"))])
def begun(request, tmp_path, tmp_path_factory, monkeypatch):
    """A stage that has begun, with all its jobs to do, and what the driver hashed for that."""
    finished, name, place = labelled(request.param, request, tmp_path_factory)
    run = type(finished)(shutil.copytree(finished.root, tmp_path / "run"))
    shutil.rmtree(run.softlabels)
    study, hashed = STUDIES[request.param], {}
    stage = study.stages[name]
    monkeypatch.setattr(hashlib, "file_digest", counting(hashed))
    monkeypatch.setattr(fingerprint, "_hashes", {})
    context, numbers = begin_jobs(study, stage, Context(recipe_of(run), run))
    folders = [run.root / place]
    if (folders[0] / "adapter_config.json").is_file():
        folders.append(fingerprint.base_of(folders[0]))
    return stage.work, context, numbers, [file for each in folders for file in each.glob("*.safetensors")], hashed


def test_weights_are_hashed_once_by_the_driver_and_by_no_labeler(begun, tmp_path):
    work, context, numbers, weights, hashed = begun
    assert weights and {str(file): file.stat().st_size for file in weights}.items() <= hashed.items()
    done = in_own_process(work, context, numbers, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
    assert len(list(context.run.softlabels.glob("*/shard-*.safetensors"))) == len(numbers) > 1


def test_a_teacher_that_changed_is_refused_and_one_that_was_touched_is_hashed_again(begun, tmp_path):
    work, context, numbers, weights, _ = begun
    file = weights[0]
    os.utime(file, ns=(0, 0))
    touched = in_own_process(work, context, numbers[:1], tmp_path)
    assert json.loads(touched.stdout) == {str(file): file.stat().st_size}
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    changed = in_own_process(work, context, numbers, tmp_path)
    assert changed.returncode != 0
    assert "has changed since its labels were planned" in changed.stderr
    assert len(list(context.run.softlabels.glob("*/shard-*.safetensors"))) == 1
