"""A teacher whose embeddings have an adapter too, trained under ZeRO-3 on two ranks, is exported as it was trained."""

import numpy as np
import pytest
from safetensors.torch import load_file

from ckd_dist.config import dump
from ckd_dist.engine.group import join
from ckd_dist.models.adapter import ADAPTER
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.predict import load_classifier, predict_logits
from ckd_dist.recipefile import load
from ckd_dist.record import read
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.config import DiseaseRecipe
from ckd_dist.studies.disease.rows import disease_task
from ckd_dist.studies.disease.runfolder import DiseaseRun
from ckd_dist.studies.disease.seen import Seen
from ckd_dist.study import Context, run_stage
from tests.end_to_end.small import SMALL
from tests.engine.fakes import run_ranks

TARGETS = '["q_proj", "v_proj", "down_proj", "embed_tokens"]'
LEARNING = (
    f"teacher.lora.targets={TARGETS}",
    "teacher.labels.learning_rate=1e-2",
    "teacher.labels.epochs=3",
    "teacher.sft_tuning=lora",
)


def recipe_with(*overrides):
    tiny = dump(STUDY.recipes["tiny"]())
    return load(DiseaseRecipe, tiny, ["extract.source=synthetic:120", *SMALL, "teacher.dtype=float32", *overrides])


def train(world, root, overrides):
    """One rank's share of the stage."""
    join(world)
    run_stage(STUDY, STUDY.stages["train_teacher"], Context(recipe_with(*overrides), DiseaseRun(root), world=world))


@pytest.fixture(scope="module")
def prompted(tmp_path_factory):
    run = DiseaseRun(tmp_path_factory.mktemp("run"))
    for name in ("extract", "select", "prompt_teacher"):
        run_stage(STUDY, STUDY.stages[name], Context(recipe_with(), run))
    return run


@pytest.mark.slow
def test_an_adapter_of_embeddings_trained_on_two_ranks_scores_as_trained(prompted):
    run_ranks(2, train, prompted.root, LEARNING)
    for folder, heads in ((prompted.teacher / "sft", 0), (prompted.teacher, 1)):
        names = load_file(folder / ADAPTER)
        assert len(names) == 2 * 4 + heads and sum("lora_embedding_" in name for name in names) == 2
    pad_id = load_tokenizer(prompted.base("teacher")).pad_token_id
    tuning = disease_task(prompted, "tuning", "teacher", pad_id, Seen("teacher"))
    rows = np.arange(len(tuning.lengths))
    logits_NK = predict_logits(load_classifier(prompted.teacher), tuning.tokens, rows, micro_tokens=4096, pad_id=pad_id)
    trained = read(prompted, "train_teacher").numbers["tuning"]
    assert tuning.metrics(rows, logits_NK)["macro_auroc"] == pytest.approx(trained["macro_auroc"], abs=1e-3)


@pytest.mark.parametrize("target", ["lm_head", "score", "q_porj"])
def test_a_target_that_cannot_be_exported_is_refused_before_the_first_phase(prompted, target):
    """Also where supervised fine-tuning, which comes first, trains all weights and gets no adapter."""
    overrides = (f'teacher.lora.targets=["{target}"]', "teacher.sft_tuning=full")
    before = sorted(prompted.teacher.rglob("*"))
    with pytest.raises(ValueError, match=f"no projection or embedding named '{target}', which lora.targets asks for"):
        run_stage(STUDY, STUDY.stages["train_teacher"], Context(recipe_with(*overrides), prompted))
    assert sorted(prompted.teacher.rglob("*")) == before
