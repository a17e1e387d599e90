"""The run's student and teacher, loaded by people who have transformers and peft and nothing of ours."""

import re

import numpy as np
import polars as pl
import pytest
import torch
from peft import AutoPeftModelForSequenceClassification
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from ckd_dist import record
from ckd_dist.report.calibrate import Calibration
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies.disease.evaluate import predictor

NUM = 12  # visits of held_out to compare on
WEIGHTS = re.compile(r"\.(bin|pt|pth|pkl|pickle|ckpt|npy|npz|h5|msgpack|onnx|safetensors)$")


@pytest.fixture(scope="module")
def texts(finished):
    """Of either role."""
    return {
        role: pl.read_parquet(finished.prompts("held_out", role)).head(NUM)["text"] for role in ("teacher", "student")
    }


@pytest.fixture(scope="module")
def student_logits(finished):
    """The project's own: from the token table through its own batching."""
    return predictor(finished, finished.student, "student")(np.arange(NUM))


def logits_of(model, tokenizer, texts):
    """One text at a time, as a person would."""
    with torch.no_grad():
        return np.concatenate([model.eval()(**tokenizer(text, return_tensors="pt")).logits.numpy() for text in texts])


def columns_of(answers, names):
    """What a text-classification pipeline returned, as logits in the order of `names`."""
    found = [{answer["label"]: answer["score"] for answer in row} for row in answers]
    return np.array([[row[name] for name in names] for row in found])


def test_student_gives_the_same_logits_with_plain_transformers(finished, texts, student_logits):
    model = AutoModelForSequenceClassification.from_pretrained(finished.student)
    tokenizer = AutoTokenizer.from_pretrained(finished.student)
    assert list(model.config.id2label.values()) == finished.label_names()
    assert model.config.problem_type == "multi_label_classification"
    np.testing.assert_allclose(logits_of(model, tokenizer, texts["student"]), student_logits, atol=1e-4)


def test_student_works_in_a_text_classification_pipeline(finished, texts, student_logits):
    classify = pipeline("text-classification", model=str(finished.student), top_k=None, function_to_apply="none")
    answers = classify(texts["student"].to_list())
    np.testing.assert_allclose(columns_of(answers, finished.label_names()), student_logits, atol=1e-4)


def shard_logits(run, num):
    """What the label stage stored for the first `num` visits of held_out."""
    plan = record.read(run, "label").numbers["held_out"]
    sample_id_N, logits_NK = read_labels(run.softlabels, plan, run.label_names())
    return logits_NK[np.argsort(sample_id_N)][:num]


def test_teacher_with_plain_peft_gives_the_logits_of_the_shards(finished, texts):
    tokenizer = AutoTokenizer.from_pretrained(finished.teacher)
    model = AutoPeftModelForSequenceClassification.from_pretrained(
        str(finished.teacher), num_labels=len(finished.label_names()), pad_token_id=tokenizer.pad_token_id
    )
    found = logits_of(model, tokenizer, texts["teacher"])
    np.testing.assert_allclose(found, shard_logits(finished, NUM), atol=1e-4)


def test_teacher_with_plain_transformers_gives_the_logits_of_the_shards(finished, texts):
    config = AutoConfig.from_pretrained(finished.teacher, subfolder="classifier")
    model = AutoModelForSequenceClassification.from_pretrained(finished.teacher, config=config)
    tokenizer = AutoTokenizer.from_pretrained(finished.teacher)
    found = logits_of(model, tokenizer, texts["teacher"])
    np.testing.assert_allclose(found, shard_logits(finished, NUM), atol=1e-4)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, function_to_apply="none")
    answers = classify(texts["teacher"].to_list())
    np.testing.assert_allclose(columns_of(answers, finished.label_names()), shard_logits(finished, NUM), atol=1e-4)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_texts_encode_to_the_token_tables(finished, texts, role):
    from ckd_dist.studies.disease.prompts.tokens import TokenTable

    table = TokenTable.open(finished.tokens("held_out", role))
    tokenizer = AutoTokenizer.from_pretrained(getattr(finished, role))
    for row, text in enumerate(texts[role]):
        assert tokenizer(text).input_ids == table.row(row).tolist()


def test_exported_weights_are_safetensors_and_whole(finished):
    for folder in (finished.student, finished.hard_student, finished.teacher, finished.teacher / "sft"):
        exported = [file for file in folder.iterdir() if file.is_file() and WEIGHTS.search(file.name)]
        assert exported and {file.suffix for file in exported} == {".safetensors"}
        for file in exported:
            with safe_open(file, "pt") as weights:
                tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
            assert tensors and all(tensor.numel() and tensor.isfinite().all() for tensor in tensors.values())


def test_thresholds_and_temperatures_are_beside_the_weights(finished):
    calibration = Calibration.load(finished.student / "calibration.json", finished.label_names())
    assert (calibration.temperature_K > 0).all()
    assert ((calibration.threshold_K >= 0) & (calibration.threshold_K <= 1)).all()
