"""Supervised fine-tuning: only answer tokens are units, and the loss is the causal model's own."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from ckd_dist.config import Lora, Tiny
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.teacher import TeacherOptions, build_answerer
from ckd_dist.models.tiny import make_tiny_teacher
from ckd_dist.studies.disease.sft import AnswerTask, encode_answers

PROMPTS = ["Visit one. Answer:", "A longer record of a visit. Answer:", "No label here. Answer:"]
ANSWERS = ["asthma, shock", "gout", None]


class Rows:
    """Rows of token ids in memory, as a TokenTable gives them."""

    def __init__(self, ids):
        self.ids = [np.array(row, np.int32) for row in ids]
        self.lengths = np.array([len(row) for row in ids])

    def row(self, i):
        return self.ids[i]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(answerer, task, tokenizer)"""
    folder = tmp_path_factory.mktemp("answers") / "base"
    make_tiny_teacher(folder, PROMPTS, Tiny(hidden=32, layers=2, heads=4, vocabulary=300), seed=0)
    tokenizer = load_tokenizer(folder)
    tokens = Rows([tokenizer(text).input_ids for text in PROMPTS])
    model = build_answerer(folder, TeacherOptions(tuning="full", lora=Lora(), dtype=torch.float32))
    return model, AnswerTask(tokens, encode_answers(tokenizer, ANSWERS), tokenizer.pad_token_id), tokenizer


def test_answers_end_the_turn(made):
    _, task, tokenizer = made
    assert [tokenizer.decode(answer) for answer in task.answers] == ["asthma, shock<|im_end|>", "gout<|im_end|>", ""]


def test_loss_is_the_causal_models_over_answer_tokens(made):
    model, task, _ = made
    batch = task.collate([0, 1])
    got = task.loss(model(batch.input_ids_BL, batch.attention_BL, batch.units_U2), batch)
    wanted = 0
    for row in (0, 1):
        ids = torch.as_tensor(np.concatenate([task.tokens.row(row), task.answers[row]])).long()[None]
        labels = ids.clone()
        labels[:, : task.tokens.lengths[row]] = -100
        wanted += model.model(input_ids=ids, labels=labels).loss * len(task.answers[row])
    torch.testing.assert_close(got, wanted)


def test_weights_are_known_from_lengths_alone(made):
    _, task, _ = made
    assert task.weights.tolist() == [len(answer) for answer in task.answers] and task.weights[2] == 0
    for rows in ([0], [1], [0, 1], [0, 2]):
        batch = task.collate(rows)
        assert batch.mask_U.sum() == task.weights[rows].sum()
        assert batch.input_ids_BL.shape[1] == task.lengths[rows].max()


@pytest.mark.parametrize("rows", [[], [2]])
def test_the_empty_slot_has_no_loss_and_no_gradient(rows, made):
    model, task, _ = made
    model.zero_grad()
    batch = task.collate(rows)
    loss = task.loss(model(batch.input_ids_BL, batch.attention_BL, batch.units_U2), batch)
    loss.backward()
    assert loss.item() == 0 and not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_metrics_are_means_over_answer_tokens(made):
    _, task, _ = made
    targets = torch.as_tensor(np.concatenate(task.answers[:2])).long()
    logits = torch.randn(len(targets), 300)
    logits[0, targets[0]] = 50
    got = task.metrics(np.array([0, 1]), logits.numpy())
    assert got["answer_loss"] == pytest.approx(cross_entropy(logits, targets).item(), rel=1e-5)
    assert got["answer_accuracy"] == pytest.approx((logits.argmax(1) == targets).float().mean().item())


def test_tables_of_another_length_are_refused(made):
    with pytest.raises(ValueError, match="answers have 1 rows"):
        AnswerTask(made[1].tokens, made[1].answers[:1], 0)
