"""What a token adds to a logit: a linear model's own terms, nothing on padding, the same alone and in a batch."""

import pytest
import torch

from ckd_dist.models.attribution import gradient_times_input
from ckd_dist.models.encoder import build_student
from ckd_dist.models.wrapper import Wrapper
from tests.models.small import NAMES


class Linear(torch.nn.Module):
    """A model whose logits are sums of its tokens' own terms."""

    def __init__(self):
        super().__init__()
        self.embedding, self.weight_DK = torch.nn.Embedding(7, 4), torch.randn(4, 3)

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, attention_mask):
        class Output:
            logits = (self.embedding(input_ids) * attention_mask.unsqueeze(-1)).sum(1) @ self.weight_DK

        return Output


def test_of_a_linear_model_it_is_each_token_s_own_term():
    model = Linear()
    ids_BL, attention_BL = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    scores_CBL = gradient_times_input(Wrapper(model, "encoder"), ids_BL, attention_BL, [2, 0])
    terms_BLK = model.embedding(ids_BL) @ model.weight_DK * attention_BL.unsqueeze(-1)
    torch.testing.assert_close(scores_CBL, terms_BLK.permute(2, 0, 1)[[2, 0]].detach())
    torch.testing.assert_close(scores_CBL.sum(2), model(ids_BL, attention_BL).logits.T[[2, 0]].detach())


@pytest.fixture
def student(student_base):
    return build_student(student_base, NAMES, seed=1).eval()


def test_padding_changes_nothing_and_gets_nothing(student):
    ids_1L = torch.tensor([[2, 9, 8, 7, 3]])
    alone = gradient_times_input(student, ids_1L, torch.ones_like(ids_1L), [0, 1])
    padded = torch.cat([ids_1L, torch.zeros(1, 2, dtype=torch.int64)], 1)
    attention = (padded > 0).long()
    both = gradient_times_input(student, torch.cat([padded, padded]), torch.cat([attention, attention]), [0, 1])
    torch.testing.assert_close(both[:, 1, :5], alone[:, 0], atol=1e-5, rtol=1e-4)
    assert (both[:, :, 5:] == 0).all()


def test_it_is_the_slope_of_the_logit_along_each_embedding(student):
    """Against a finite difference: the embedding of one token made a little longer."""
    ids_1L = torch.tensor([[2, 9, 8, 7, 3]])
    mask, place, step = torch.ones_like(ids_1L), 2, 1e-3
    score = gradient_times_input(student, ids_1L, mask, [1])[0, 0, place]
    table = student.plain.get_input_embeddings()

    def longer(by):
        def hook(module, inputs, out):
            out = out.clone()
            out[:, place] *= 1 + by
            return out

        handle = table.register_forward_hook(hook)
        with torch.no_grad():
            logit = student(ids_1L, mask)[0, 1]
        handle.remove()
        return logit

    torch.testing.assert_close((longer(step) - longer(-step)) / (2 * step), score, atol=2e-4, rtol=2e-2)


def test_it_leaves_the_model_as_it_was(student):
    ids_1L = torch.tensor([[2, 9, 8]])
    before = student(ids_1L, torch.ones_like(ids_1L))
    gradient_times_input(student, ids_1L, torch.ones_like(ids_1L), [0])
    assert all(p.grad is None for p in student.parameters()) and not student.training
    torch.testing.assert_close(student(ids_1L, torch.ones_like(ids_1L)), before)
