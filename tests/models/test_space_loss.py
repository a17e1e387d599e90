"""The loss of a space: 0 and flat where directions agree, a sum over units, the formula of its docstring."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from ckd_dist.models.losses import space_loss

WEIGHTS = {"cosine_weight": 0.7, "relation_weight": 3.0}


@pytest.fixture
def vectors():
    """Student, teacher and anchors: [7, 12], [7, 12], [5, 12], of lengths far from 1."""
    made = torch.Generator().manual_seed(0)
    return tuple(4 * torch.randn(rows, 12, generator=made, dtype=torch.float32) for rows in (7, 7, 5))


def by_hand(student_UK, teacher_UK, mask_U, anchors_AK, cosine_weight, relation_weight):
    whole = torch.zeros(())
    for student_K, teacher_K, weight in zip(student_UK, teacher_UK, mask_U, strict=True):
        near = cosine_similarity(student_K, teacher_K, dim=0)
        apart = [cosine_similarity(student_K, a, dim=0) - cosine_similarity(teacher_K, a, dim=0) for a in anchors_AK]
        whole = whole + weight * (cosine_weight * (1 - near) + relation_weight * torch.stack(apart).square().mean())
    return whole


@pytest.mark.parametrize("weights", [(0.7, 3.0), (1.0, 0.0), (0.0, 1.0)])
def test_it_is_the_formula(vectors, weights):
    student_UK, teacher_UK, anchors_AK = vectors
    mask_U = torch.tensor([1.0, 0.5, 0.0, 1.0, 1.0, 2.0, 1.0])
    how = dict(zip(WEIGHTS, weights, strict=True))
    ours = space_loss(student_UK, teacher_UK, mask_U, anchors_AK, **how)
    torch.testing.assert_close(ours, by_hand(student_UK, teacher_UK, mask_U, anchors_AK, *weights))
    assert ours > 0.1


def test_it_is_0_and_flat_where_the_directions_agree(vectors):
    student_UK, _, anchors_AK = vectors
    student_UK.requires_grad_()
    length_U1 = torch.linspace(0.5, 4, 7).unsqueeze(1)
    loss = space_loss(student_UK, length_U1 * student_UK.detach(), torch.ones(7), anchors_AK, **WEIGHTS)
    loss.backward()
    assert loss.abs() < 1e-10
    assert student_UK.grad.abs().max() < 1e-6


def test_a_units_loss_does_not_depend_on_its_batch(vectors):
    student_UK, teacher_UK, anchors_AK = vectors
    parts = [
        space_loss(student_UK[part], teacher_UK[part], torch.ones(len(student_UK[part])), anchors_AK, **WEIGHTS)
        for part in (slice(0, 1), slice(1, 5), slice(5, 7))
    ]
    whole = space_loss(student_UK, teacher_UK, torch.ones(7), anchors_AK, **WEIGHTS)
    torch.testing.assert_close(sum(parts), whole)


def test_what_is_masked_gives_no_gradient_whatever_it_is(vectors):
    student_UK, teacher_UK, anchors_AK = vectors
    student_UK.requires_grad_()
    mask_U = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    broken_UK = teacher_UK.where((mask_U > 0).unsqueeze(1), torch.nan)
    loss = space_loss(student_UK, broken_UK, mask_U, anchors_AK, **WEIGHTS)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student_UK.grad).all()
    moved_U = student_UK.grad.abs().sum(1) > 0
    assert moved_U.tolist() == (mask_U > 0).tolist()


def test_descent_brings_relations_together_even_without_the_cosine(vectors):
    """With at least as many anchors as columns, relations alone pin the direction."""
    student_UK, teacher_UK, _ = vectors
    anchors_AK = torch.randn(40, 12, generator=torch.Generator().manual_seed(1))
    student_UK.requires_grad_()
    how = {"cosine_weight": 0.0, "relation_weight": 1.0}
    steps = torch.optim.Adam([student_UK], lr=0.1)
    for _ in range(600):
        steps.zero_grad()
        space_loss(student_UK, teacher_UK, torch.ones(7), anchors_AK, **how).backward()
        steps.step()
    assert cosine_similarity(student_UK, teacher_UK).min() > 0.99
