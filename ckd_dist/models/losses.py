"""Losses are sums over units, never means: the loop divides a step's sum by the step's weight, once, over all ranks.

    U units, K columns.  mask_U: 0 leaves a unit out, a fraction weighs it.

Diseases may all be true at once: a unit's loss is the mean over its K columns of the stable
BCE(z, y) = max(z, 0) - z y + log(1 + exp(-|z|)).  Of tags exactly one is true: cross-entropy over the columns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    log_softmax,
    normalize,
    softmax,
)


@dataclass(frozen=True)
class Mixing:
    """How much soft labels weigh beside hard ones, 0 to 1, and the temperature T that softens both sides."""

    soft_weight: float
    temperature: float


HARD_ALONE = Mixing(soft_weight=0.0, temperature=1.0)


def hard_loss(logits_UK: Tensor, hard_UK: Tensor, weight_U: Tensor) -> Tensor:
    """Sum over units of BCE against 0/1 labels.  Labels of a unit whose weight is 0 may be anything, NaN included."""
    known_U1 = (weight_U > 0).unsqueeze(1)
    per_column_UK = binary_cross_entropy_with_logits(logits_UK, hard_UK.where(known_U1, 0), reduction="none")
    return (per_column_UK.mean(1) * weight_U).sum()


def soft_loss(logits_UK: Tensor, soft_UK: Tensor, weight_U: Tensor, temperature: float) -> Tensor:
    """Sum over units of T^2 * KL(teacher at T || student at T), column by column: 0, and flat, where they agree.

    soft_UK: the teacher's raw logits.  KL = BCE(z/T, p) - H(p) with p = sigmoid(t/T); H is constant, so the
    gradients are BCE's.
    T^2 undoes the 1/T^2 by which T shrinks them: Hinton et al. 2015, sec. 2.
    """
    known_U1 = (weight_U > 0).unsqueeze(1)
    teacher_UK = soft_UK.where(known_U1, 0) / temperature
    probability_UK = torch.sigmoid(teacher_UK)
    cross_UK = binary_cross_entropy_with_logits(logits_UK / temperature, probability_UK, reduction="none")
    entropy_UK = binary_cross_entropy_with_logits(teacher_UK, probability_UK, reduction="none")
    return temperature**2 * ((cross_UK - entropy_UK).mean(1) * weight_U).sum()


def mixed_loss(
    logits_UK: Tensor,
    hard_UK: Tensor,
    soft_UK: Tensor | None,
    mask_U: Tensor,
    labelled_U: Tensor | None = None,
    *,
    soft_weight: float,
    temperature: float,
) -> Tensor:
    """Sum over units of (1 - w) * BCE(hard) + w * T^2 * KL(teacher at T || student at T).

    logits_UK, soft_UK: raw logits; soft_UK may be None where w is 0.  hard_UK: 0 or 1.  labelled_U: where 0, only the
    teacher's term counts.  Returns a scalar sum, not a mean.
    """
    hard_weight_U = mask_U if labelled_U is None else mask_U * labelled_U
    loss = (1 - soft_weight) * hard_loss(logits_UK, hard_UK, hard_weight_U)
    if soft_weight > 0:
        if soft_UK is None:
            raise ValueError(f"soft_weight is {soft_weight}, but the batch has no soft labels")
        loss = loss + soft_weight * soft_loss(logits_UK, soft_UK, mask_U, temperature)
    return loss


def answer_loss(logits_UK: Tensor, answer_U: Tensor, mask_U: Tensor) -> Tensor:
    """Sum over units of the cross-entropy of the next token.  A unit is an answer's token; K, the vocabulary.

    answer_U: int64, the token that should come; anything where mask_U is 0.
    """
    known_U = answer_U.where(mask_U > 0, 0)
    return (cross_entropy(logits_UK.float(), known_U, reduction="none") * mask_U).sum()


def tag_hard_loss(logits_UK: Tensor, hard_UK: Tensor, weight_U: Tensor) -> Tensor:
    """Sum over units of the cross-entropy against a distribution over tags, such as one-hot rows.

    hard_UK of a unit whose weight is 0 may be anything, NaN included.
    """
    target_UK = hard_UK.where((weight_U > 0).unsqueeze(1), 0)
    return -((target_UK * log_softmax(logits_UK, 1)).sum(1) * weight_U).sum()


def tag_soft_loss(logits_UK: Tensor, soft_UK: Tensor, weight_U: Tensor, temperature: float) -> Tensor:
    """Sum over units of T^2 * KL(softmax(soft / T) || softmax(logits / T)): 0, and flat, where they agree.

    soft_UK: raw logits or log-probabilities.  T^2 as in `soft_loss`.
    """
    teacher_UK = softmax(soft_UK.where((weight_U > 0).unsqueeze(1), 0) / temperature, 1)
    apart_UK = kl_div(log_softmax(logits_UK / temperature, 1), teacher_UK, reduction="none")
    return temperature**2 * (apart_UK.sum(1) * weight_U).sum()


def mixed_tag_loss(
    logits_UK: Tensor,
    hard_UK: Tensor,
    soft_UK: Tensor | None,
    mask_U: Tensor,
    labelled_U: Tensor,
    *,
    soft_weight: float,
    temperature: float,
) -> Tensor:
    """Sum over units of (1 - w) * CE(hard) + w * T^2 * KL(soft at T || student at T); of KL alone where not labelled.

    So a unit without a human tag weighs as much as one with.  soft_UK may be None where w is 0: only labelled units
    count then.  Returns a scalar sum, not a mean.
    """
    loss = tag_hard_loss(logits_UK, hard_UK, mask_U * labelled_U * (1 - soft_weight))
    if soft_UK is None and soft_weight > 0:
        raise ValueError(f"soft_weight is {soft_weight}, but the batch has no soft tags")
    if soft_UK is not None:
        soft_weight_U = mask_U * (1 - labelled_U * (1 - soft_weight))
        loss = loss + tag_soft_loss(logits_UK, soft_UK, soft_weight_U, temperature)
    return loss


def space_loss(
    student_UK: Tensor,
    teacher_UK: Tensor,
    mask_U: Tensor,
    anchors_AK: Tensor,
    *,
    cosine_weight: float,
    relation_weight: float,
) -> Tensor:
    """Sum over units of cosine_weight * (1 - cos(s, t)) + relation_weight * mean of (cos(s, a) - cos(t, a))^2 over a.

    A unit is a phrase, K the width of a vector; s is the student's vector, t the teacher's, a the teacher's of one of A
    fixed phrases, the anchors, so a unit's loss does not depend on which others are in its batch.  Lengths of vectors
    play no part.  Both terms and their gradients are 0 where directions agree: 1 - cos is half the squared distance of
    the unit vectors.  teacher_UK of a unit whose weight is 0 may be anything, NaN included.
    """
    known_U1 = (mask_U > 0).unsqueeze(1)
    student_UK, anchors_AK = normalize(student_UK.float(), dim=1), normalize(anchors_AK.float(), dim=1)
    apart_UK = student_UK - normalize(teacher_UK.float().where(known_U1, 0), dim=1)
    loss_U = cosine_weight * apart_UK.square().sum(1) / 2
    if relation_weight > 0:
        loss_U = loss_U + relation_weight * (apart_UK @ anchors_AK.T).square().mean(1)
    return (loss_U * mask_U).sum()
