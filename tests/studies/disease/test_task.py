"""The disease task: collation, empty slots, losses, metrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, log_loss, roc_auc_score
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from ckd_dist.models.losses import HARD_ALONE, Mixing
from ckd_dist.studies.disease.task import DiseaseTask


class Rows:
    """Rows of token ids in memory, as a TokenTable gives them."""

    def __init__(self, lengths):
        self.ids = [np.arange(3, 3 + length, dtype=np.int32) for length in lengths]
        self.lengths = np.array(lengths)

    def row(self, i):
        return self.ids[i]


HARD = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
KNOWN = np.array([1, 1, 0, 1])
SOFT = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)


def task(soft=SOFT, soft_weight=0.7, temperature=2.0):
    return DiseaseTask(Rows([4, 2, 7, 1]), 0, HARD, KNOWN, soft, Mixing(soft_weight, temperature))


def test_rows_are_padded_to_the_longest_and_keep_their_labels():
    batch = task().collate([1, 2])
    assert batch.input_ids_BL.tolist() == [[3, 4, 0, 0, 0, 0, 0], [3, 4, 5, 6, 7, 8, 9]]
    assert batch.attention_BL.sum(1).tolist() == [2, 7]
    assert batch.hard_UK.tolist() == [[1, 0], [1, 1]] and batch.labelled_U.tolist() == [1, 0]
    torch.testing.assert_close(batch.soft_UK, torch.from_numpy(SOFT[[1, 2]]))
    assert batch.units_U2 is None and batch.to("cpu").mask_U.tolist() == [1, 1]


@pytest.mark.parametrize("soft", [SOFT, None])
def test_the_empty_slot_has_no_loss_and_no_gradient(soft):
    this, model = task(soft), nn.Linear(1, 2)
    batch = this.collate([])
    loss = this.loss(model(batch.input_ids_BL.float()), batch)
    loss.backward()
    assert loss.item() == 0
    assert all(
        p.grad is not None and not p.grad.any() for p in model.parameters()
    )  # zero, yet there: engines wait for it
    assert batch.attention_BL.sum() == 1


def test_loss_is_a_sum_over_units_of_both_terms():
    this = task(soft_weight=0.7, temperature=2.0)
    batch = this.collate([0, 2])  # labelled, unlabelled
    logits = torch.randn(2, 2, requires_grad=True)
    this.loss(logits, batch).backward()
    reference = logits.detach().requires_grad_()
    teacher = torch.sigmoid(batch.soft_UK / 2)
    hard = 0.3 * bce(reference[:1], batch.hard_UK[:1])
    soft = 0.7 * 4 * bce(reference / 2, teacher, reduction="none").mean(1).sum()
    (hard + soft).backward()
    torch.testing.assert_close(logits.grad, reference.grad)


def test_without_a_teacher_it_is_bce_on_labelled_rows():
    this, logits = task(None), torch.randn(4, 2)
    rows = [0, 1, 2, 3]
    wanted = bce(logits[KNOWN > 0], torch.tensor(HARD[KNOWN > 0]).float(), reduction="none").mean(1).sum()
    torch.testing.assert_close(this.loss(logits, this.collate(rows)), wanted)
    assert this.weights.tolist() == [1, 1, 0, 1] and task().weights.tolist() == [1, 1, 1, 1]


def test_slots_add_up_to_the_whole():
    this, logits = task(), torch.randn(4, 2)
    whole = this.loss(logits, this.collate([0, 1, 2, 3]))
    parts = [this.loss(logits[rows], this.collate(rows)) for rows in ([0, 1, 2], [3])]
    torch.testing.assert_close(sum(parts), whole)


def test_metrics_agree_with_scikit_learn_over_labelled_rows():
    rng = np.random.default_rng(1)
    hard, logits = rng.integers(0, 2, (50, 3)), rng.normal(size=(50, 3))
    hard[:, 2] = 0  # one class only: left out of the macros
    known = rng.integers(0, 2, 50)
    this = DiseaseTask(Rows([1] * 50), 0, hard, known, None, HARD_ALONE)
    rows = rng.permutation(50)[:40]
    got = this.metrics(rows, logits[rows])
    keep = rows[known[rows] > 0]
    assert got["macro_auroc"] == pytest.approx(np.mean([roc_auc_score(hard[keep, k], logits[keep, k]) for k in (0, 1)]))
    assert got["macro_auprc"] == pytest.approx(
        np.mean([average_precision_score(hard[keep, k], logits[keep, k]) for k in (0, 1)])
    )
    assert got["micro_f1"] == pytest.approx(f1_score(hard[keep].ravel(), logits[keep].ravel() > 0))
    probabilities = 1 / (1 + np.exp(-logits[keep]))
    assert got["log_loss"] == pytest.approx(
        np.mean([log_loss(hard[keep, k], probabilities[:, k], labels=(0, 1)) for k in range(3)])
    )
    assert all(np.isnan(value) for value in this.metrics(rows[:0], logits[:0]).values())


def test_log_loss_of_a_sure_and_wrong_model_stays_a_number():
    this = DiseaseTask(Rows([1] * 2), 0, np.array([[1], [0]]), np.ones(2), None, HARD_ALONE)
    got = this.metrics(np.arange(2), np.array([[-1000.0], [-1000.0]], np.float32))
    assert got["log_loss"] == pytest.approx(500)


def test_a_model_that_has_diverged_is_refused():
    with pytest.raises(ValueError, match="diverged"):
        task().metrics(np.arange(4), np.full((4, 2), np.nan))


def test_tables_of_another_length_are_refused():
    with pytest.raises(ValueError, match="soft_NK has 3 rows, the token table 4"):
        task(SOFT[:3])


@pytest.mark.parametrize("soft", [SOFT, None])
def test_mean_loss_is_that_of_batches(soft):
    """It is what training lowers: the loss of batches over their weight, with and without soft labels."""
    this, logits_NK = task(soft), np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    batches = [[0, 2], [1], [3]]
    loss = sum(float(this.loss(torch.as_tensor(logits_NK[rows]), this.collate(rows))) for rows in batches)
    assert this.mean_loss(logits_NK) == pytest.approx(loss / this.weights.sum(), rel=1e-5)


def test_mean_loss_weighs_rows_as_training_does():
    """A row that weighs nothing chooses no checkpoint; where none weighs anything there is no loss."""
    hard_NK, soft_NK = np.zeros((4, 1), np.float32), np.full((4, 1), 3.0, np.float32)
    rows, labelled_N = Rows([4, 2, 7, 1]), np.array([1, 0, 0, 0], np.float32)
    of_labelled = DiseaseTask(rows, 0, hard_NK, labelled_N, soft_NK, Mixing(1.0, 1.0), unlabelled_weight=0.0)
    right, wrong = np.array([[3.0], [-9], [-9], [-9]]), np.array([[-3.0], [3], [3], [3]])
    assert of_labelled.mean_loss(right) < of_labelled.mean_loss(wrong)
    nobody = DiseaseTask(rows, 0, hard_NK, np.zeros(4, np.float32), soft_NK, Mixing(1.0, 1.0), unlabelled_weight=0.0)
    assert np.isnan(nobody.mean_loss(right))
