"""The two tasks of the third study: an update is the same whatever the micro-batches, and losses are plain formulas."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Step, train_step
from ckd_dist.studies.concepts.config import SpaceLoss
from ckd_dist.studies.concepts.task import CaseTask, SpaceTask
from ckd_dist.world import World


class Rows:
    """Rows of token ids in memory."""

    def __init__(self, lengths):
        self.ids = [np.arange(3, 3 + length) for length in lengths]

    def row(self, i):
        return self.ids[i]


class Bag(nn.Module):
    """The sum of a vector for every token."""

    def __init__(self, width, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(500, width)

    def forward(self, input_ids_BL, attention_BL, units_U2=None):
        return (self.table(input_ids_BL) * attention_BL.unsqueeze(2)).sum(1)


def space_task() -> SpaceTask:
    random = np.random.default_rng(0)
    vectors_NK, anchors_AK = random.normal(size=(7, 5)), random.normal(size=(4, 5))
    return SpaceTask(Rows([4, 2, 7, 1, 3, 9, 5]), 0, vectors_NK.astype(np.float32), anchors_AK, SpaceLoss())


def case_task(adversary: bool) -> CaseTask:
    class Cases:
        """Seven cases of two sites and two outcomes."""

        ids_NL = np.where(np.arange(6) < np.array([3, 1, 6, 0, 2, 4, 5])[:, None], np.arange(1, 43).reshape(7, 6), 0)
        length_N = (ids_NL > 0).sum(1)
        outcomes_NK = np.random.default_rng(1).integers(0, 2, (7, 2)).astype(np.float32)
        site_N = np.array(["a", "b", "b", "a", "a", "b", "a"])
        names = ("x", "y")

    return CaseTask(Cases(), "b" if adversary else None)


TASKS = {"space": (space_task, 5), "cases": (lambda: case_task(False), 2), "adversary": (lambda: case_task(True), 3)}


@pytest.mark.parametrize("which", TASKS)
@pytest.mark.parametrize("parts", [[[0], [1, 2, 3, 4, 5, 6]], [[6, 2], [0, 5, 1], [4], [3]]])
def test_an_update_is_the_same_whatever_the_micro_batches(which, parts):
    make, width = TASKS[which]
    task, moved = make(), []
    for micro in ([[0, 1, 2, 3, 4, 5, 6]], parts):
        model = Bag(width)
        engine = DdpEngine(model, Optim(clip_norm=0.0), World(0, 1))
        gradients = []
        model.table.weight.register_hook(gradients.append)
        loss = train_step(engine, Step([task.collate(rows) for rows in micro], 7.0), task.loss)
        moved.append((loss, sum(gradients)))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-4, atol=1e-6)
    assert moved[0][1].abs().sum() > 0


def test_the_empty_slot_of_phrases_weighs_nothing():
    task, model = space_task(), Bag(5)
    batch = task.collate([])
    loss = task.loss(model(batch.input_ids_BL, batch.attention_BL), batch)
    loss.backward()
    assert loss.item() == 0 and not model.table.weight.grad.any()
    assert batch.mask_U.tolist() == [0] and task.weights.tolist() == [1] * 7


def test_a_space_is_scored_by_its_angles_and_nearest_anchors():
    task = space_task()
    rows = np.array([4, 1, 6])
    assert task.metrics(rows, 3 * task.vectors_NK[rows]) == pytest.approx({"cosine": 1, "nearest": 1})
    got = np.random.default_rng(5).normal(size=(3, 5))
    teacher, anchors = torch.tensor(task.vectors_NK[rows]), task.anchors_AK.float()
    near = [
        cosine_similarity(vectors.float()[:, None], anchors[None], dim=2).argmax(1)
        for vectors in (torch.tensor(got), teacher)
    ]
    found = task.metrics(rows, got)
    assert found["cosine"] == pytest.approx(
        cosine_similarity(torch.tensor(got).float(), teacher).mean().item(), rel=1e-5
    )
    assert found["nearest"] == pytest.approx((near[0] == near[1]).float().mean().item())


def test_the_adversarys_loss_is_the_plain_formula():
    task, logits = case_task(True), torch.randn(7, 3)
    batch = task.collate(range(7))
    foreign = torch.tensor([0.0, 1, 1, 0, 0, 1, 0])
    outcomes = torch.from_numpy(task.cases.outcomes_NK)[foreign == 0]
    own = binary_cross_entropy_with_logits(logits[foreign == 0, :2], outcomes, reduction="none").mean(1).sum()
    sites = binary_cross_entropy_with_logits(logits[:, 2], foreign, reduction="none").sum()
    torch.testing.assert_close(task.loss(logits, batch), own + sites)
    plain = case_task(False)
    wanted = binary_cross_entropy_with_logits(
        logits[:, :2], torch.from_numpy(plain.cases.outcomes_NK), reduction="none"
    )
    torch.testing.assert_close(plain.loss(logits[:, :2], plain.collate(range(7))), wanted.mean(1).sum())
