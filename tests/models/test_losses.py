"""Losses against the plain formula, and what must be zero."""

import math

import pytest
import torch

from ckd_dist.models.losses import answer_loss, hard_loss, mixed_loss, soft_loss

U, K = 5, 3


@pytest.fixture
def draws():
    """Logits of student and teacher, labels, masks."""
    draw = torch.Generator().manual_seed(0)
    logits_UK = (4 * torch.randn(U, K, generator=draw, dtype=torch.float64)).requires_grad_()
    soft_UK = 4 * torch.randn(U, K, generator=draw, dtype=torch.float64)
    hard_UK = torch.randint(0, 2, (U, K), generator=draw).double()
    return logits_UK, hard_UK, soft_UK, torch.tensor([1.0, 1, 0, 1, 0.5]), torch.tensor([1.0, 0, 1, 1, 1])


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def plain(logits_UK, hard_UK, soft_UK, mask_U, labelled_U, w, T):
    """Number by number, from the definition."""
    total = 0.0
    for u in range(U):
        for k in range(K):
            y, p, q = hard_UK[u, k].item(), sigmoid(soft_UK[u, k].item() / T), sigmoid(logits_UK[u, k].item() / T)
            r = sigmoid(logits_UK[u, k].item())
            hard = -(y * math.log(r) + (1 - y) * math.log(1 - r))
            kl = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
            total += mask_U[u].item() * ((1 - w) * labelled_U[u].item() * hard + w * T * T * kl) / K
    return total


@pytest.mark.parametrize("w", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_against_the_plain_formula(draws, w, temperature):
    got = mixed_loss(*draws, soft_weight=w, temperature=temperature)
    assert got.item() == pytest.approx(plain(*draws, w, temperature), rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_zero_and_flat_where_student_is_teacher(draws, temperature):
    _, hard_UK, soft_UK, mask_U, _ = draws
    student_UK = soft_UK.clone().requires_grad_()
    loss = mixed_loss(student_UK, hard_UK, soft_UK, mask_U, soft_weight=1.0, temperature=temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student_UK.grad.abs().max() < 1e-12


def test_masked_units_weigh_nothing_whatever_they_hold(draws):
    logits_UK, hard_UK, soft_UK, mask_U, labelled_U = draws
    hard_UK[2], soft_UK[2], hard_UK[1] = float("nan"), float("nan"), float("nan")  # masked; masked; unlabelled
    mixed_loss(logits_UK, hard_UK, soft_UK, mask_U, labelled_U, soft_weight=0.5, temperature=2.0).backward()
    assert torch.isfinite(logits_UK.grad).all()
    assert (logits_UK.grad[2] == 0).all() and (logits_UK.grad[1] != 0).any()


def test_unlabelled_units_learn_from_the_teacher_alone(draws):
    logits_UK, hard_UK, soft_UK, mask_U, _ = draws
    nobody_U = torch.zeros(U)
    got = mixed_loss(logits_UK, hard_UK, soft_UK, mask_U, nobody_U, soft_weight=0.7, temperature=2.0)
    assert torch.equal(got, 0.7 * soft_loss(logits_UK, soft_UK, mask_U, 2.0))


def test_without_soft_labels_it_is_bce(draws):
    logits_UK, hard_UK, _, mask_U, _ = draws
    got = mixed_loss(logits_UK, hard_UK, None, mask_U, soft_weight=0.0, temperature=2.0)
    assert torch.equal(got, hard_loss(logits_UK, hard_UK, mask_U))
    with pytest.raises(ValueError, match="no soft labels"):
        mixed_loss(logits_UK, hard_UK, None, mask_U, soft_weight=0.1, temperature=2.0)


def test_temperature_scales_the_gradient_as_derived():
    """d/dz of T^2 KL = T (sigmoid(z/T) - sigmoid(t/T)) / K; for large T that tends to (z - t) / 4K, free of T."""
    z, t = torch.tensor([[0.7, -1.2]], dtype=torch.float64, requires_grad=True), torch.tensor([[-0.4, 0.9]]).double()
    one_U = torch.ones(1)
    for temperature in (1.0, 2.0, 7.0):
        (grad,) = torch.autograd.grad(soft_loss(z, t, one_U, temperature), z)
        derived = temperature * (torch.sigmoid(z / temperature) - torch.sigmoid(t / temperature)) / 2
        torch.testing.assert_close(grad, derived.detach())
    (grad,) = torch.autograd.grad(soft_loss(z, t, one_U, 1e4), z)
    torch.testing.assert_close(grad, (z - t).detach() / 8, rtol=1e-6, atol=1e-9)


def test_stable_at_extreme_logits():
    z = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = mixed_loss(z, torch.tensor([[0.0, 1.0]]), -z.detach(), torch.ones(1), soft_weight=0.5, temperature=1.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()
    assert loss.item() == pytest.approx(200.0)


def test_answers_are_cross_entropy_of_the_next_token():
    draw = torch.Generator().manual_seed(1)
    logits_UK, mask_U = torch.randn(4, 9, generator=draw, requires_grad=True), torch.tensor([1.0, 0.0, 1.0, 1.0])
    answer_U = torch.tensor([3, -100, 8, 0])
    got = answer_loss(logits_UK, answer_U, mask_U)
    by_hand = sum(-torch.log_softmax(logits_UK[u], 0)[answer_U[u]] for u in (0, 2, 3))
    torch.testing.assert_close(got, by_hand)
    got.backward()
    assert (logits_UK.grad[1] == 0).all()
