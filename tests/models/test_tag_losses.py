"""Losses of tags against the plain formula and torch's own, and what must be zero."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from ckd_dist.models.losses import mixed_tag_loss, tag_hard_loss, tag_soft_loss

U, K = 6, 5


@pytest.fixture
def draws():
    """Logits, one-hot tags, soft logits, mask, labelled."""
    draw = torch.Generator().manual_seed(0)
    logits_UK = (4 * torch.randn(U, K, generator=draw, dtype=torch.float64)).requires_grad_()
    soft_UK = 4 * torch.randn(U, K, generator=draw, dtype=torch.float64)
    hard_UK = one_hot(torch.randint(0, K, (U,), generator=draw), K).double()
    mask_U = torch.tensor([1.0, 1, 0, 1, 0.5, 0.25], dtype=torch.float64)
    return logits_UK, hard_UK, soft_UK, mask_U, torch.tensor([1.0, 0, 1, 1, 1, 0], dtype=torch.float64)


def distribution(row, T):
    weights = [math.exp(z / T) for z in row.tolist()]
    return [w / sum(weights) for w in weights]


def plain(logits_UK, hard_UK, soft_UK, mask_U, labelled_U, w, T):
    """Unit by unit, from the definition."""
    total = 0.0
    for u in range(U):
        r, q, p = distribution(logits_UK[u], 1), distribution(logits_UK[u], T), distribution(soft_UK[u], T)
        hard = -sum(hard_UK[u, k].item() * math.log(r[k]) for k in range(K))
        soft = T * T * sum(p[k] * math.log(p[k] / q[k]) for k in range(K))
        total += mask_U[u].item() * ((1 - w) * hard + w * soft if labelled_U[u] else soft)
    return total


@pytest.mark.parametrize("w", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_against_the_plain_formula(draws, w, temperature):
    got = mixed_tag_loss(*draws, soft_weight=w, temperature=temperature)
    assert got.item() == pytest.approx(plain(*draws, w, temperature), rel=1e-9)


def test_one_hot_rows_are_torchs_cross_entropy_and_any_distribution_will_do(draws):
    logits_UK, hard_UK, soft_UK, _, _ = draws
    one_U = torch.ones(U)
    torch.testing.assert_close(
        tag_hard_loss(logits_UK, hard_UK, one_U), cross_entropy(logits_UK, hard_UK.argmax(1), reduction="sum")
    )
    spread_UK = torch.softmax(soft_UK, 1)
    torch.testing.assert_close(
        tag_hard_loss(logits_UK, spread_UK, one_U), cross_entropy(logits_UK, spread_UK, reduction="sum")
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_zero_and_flat_where_student_is_teacher(draws, temperature):
    """A constant on all of a unit's logits is the same teacher."""
    _, hard_UK, soft_UK, mask_U, labelled_U = draws
    student_UK = (soft_UK + torch.arange(U).unsqueeze(1)).requires_grad_()
    loss = mixed_tag_loss(student_UK, hard_UK, soft_UK, mask_U, labelled_U, soft_weight=1.0, temperature=temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student_UK.grad.abs().max() < 1e-12


def test_masked_units_weigh_nothing_whatever_they_hold(draws):
    logits_UK, hard_UK, soft_UK, mask_U, labelled_U = draws
    hard_UK[2], soft_UK[2], hard_UK[1] = float("nan"), float("nan"), float("nan")  # masked; masked; unlabelled
    mixed_tag_loss(logits_UK, hard_UK, soft_UK, mask_U, labelled_U, soft_weight=0.5, temperature=2.0).backward()
    assert torch.isfinite(logits_UK.grad).all()
    assert (logits_UK.grad[2] == 0).all() and (logits_UK.grad[1] != 0).any()


def test_an_unlabelled_unit_is_not_discounted(draws):
    logits_UK, hard_UK, soft_UK, mask_U, _ = draws
    got = mixed_tag_loss(logits_UK, hard_UK, soft_UK, mask_U, torch.zeros(U), soft_weight=0.2, temperature=2.0)
    assert torch.equal(got, tag_soft_loss(logits_UK, soft_UK, mask_U, 2.0))


def test_without_soft_tags_only_labelled_units_count(draws):
    logits_UK, hard_UK, _, mask_U, labelled_U = draws
    got = mixed_tag_loss(logits_UK, hard_UK, None, mask_U, labelled_U, soft_weight=0.0, temperature=2.0)
    assert torch.equal(got, tag_hard_loss(logits_UK, hard_UK, mask_U * labelled_U))
    with pytest.raises(ValueError, match="no soft tags"):
        mixed_tag_loss(logits_UK, hard_UK, None, mask_U, labelled_U, soft_weight=0.1, temperature=2.0)


def test_temperature_scales_the_gradient_as_derived():
    """d/dz of T^2 KL = T (softmax(z/T) - softmax(t/T)); for large T that tends to (z - t less their means) / K."""
    z = torch.tensor([[0.7, -1.2, 0.1]], dtype=torch.float64, requires_grad=True)
    t, one_U = torch.tensor([[-0.4, 0.9, 0.3]]).double(), torch.ones(1)
    for temperature in (1.0, 2.0, 7.0):
        (grad,) = torch.autograd.grad(tag_soft_loss(z, t, one_U, temperature), z)
        derived = temperature * (torch.softmax(z / temperature, 1) - torch.softmax(t / temperature, 1))
        torch.testing.assert_close(grad, derived.detach())
    (grad,) = torch.autograd.grad(tag_soft_loss(z, t, one_U, 1e4), z)
    apart = (z - t).detach()
    torch.testing.assert_close(grad, (apart - apart.mean()) / 3, rtol=1e-3, atol=1e-6)


def test_stable_at_extreme_logits_and_at_impossible_soft_tags():
    z = torch.tensor([[200.0, -200.0], [3.0, 1.0]], requires_grad=True)
    hard_UK, soft_UK = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[-200.0, 200.0], [0.0, -math.inf]])
    loss = mixed_tag_loss(z, hard_UK, soft_UK, torch.ones(2), torch.ones(2), soft_weight=0.5, temperature=1.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()
    assert loss.item() == pytest.approx(400 + math.log1p(math.exp(-2)), rel=1e-6)
