"""The chain's marginals against a sum over every tag sequence; steps that cannot be; padding; gradients."""

import itertools
import math

import pytest
import torch

from ckd_dist.models.crf import BARRED, LinearChain, barred_steps, log_marginals
from ckd_dist.models.losses import mixed_tag_loss
from ckd_dist.models.rows import pad
from ckd_dist.studies.ner.tagger import build_tagger
from tests.models.small import TAGS, random_rows, shake

SMALL = ("O", "B-x", "I-x")


def chain(names=SMALL, seed=0):
    made = LinearChain(names).double()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return made


def by_enumeration(emission_WK, start_K, step_KK):
    """Every word's log-marginals from every sequence there is."""
    num_words, num_columns = emission_WK.shape
    mass = [[0.0] * num_columns for _ in range(num_words)]
    for tags in itertools.product(range(num_columns), repeat=num_words):
        score = start_K[tags[0]] + sum(emission_WK[w, tag] for w, tag in enumerate(tags))
        weight = math.exp(score + sum(step_KK[a, b] for a, b in itertools.pairwise(tags)))
        for w, tag in enumerate(tags):
            mass[w][tag] += weight
    return torch.tensor([[math.log(m / sum(row)) for m in row] for row in mass], dtype=torch.float64)


def test_steps_that_cannot_be():
    pairs = {
        ("O", "I-disease"),
        ("O", "I-symptom"),
        ("B-disease", "I-symptom"),
        ("I-disease", "I-symptom"),
        ("B-symptom", "I-disease"),
        ("I-symptom", "I-disease"),
    }
    barred = barred_steps(TAGS)
    assert {(TAGS[a], TAGS[b]) for a, b in (barred == BARRED).nonzero().tolist()} == pairs
    assert (barred != 0).sum() == len(pairs)


@pytest.mark.parametrize("names", [SMALL, TAGS])
def test_marginals_are_sums_over_every_sequence(names):
    """Rows of 1 to 4 words, their units shuffled among each other; row 2 has none."""
    crf, units = chain(names), [(0, 4), (1, 2), (1, 3), (1, 9), (3, 1), (3, 2), (4, 0), (4, 5), (4, 6), (4, 7)]
    units_U2 = torch.tensor(units)[torch.randperm(len(units), generator=torch.Generator().manual_seed(0))]
    emission_UK = 2 * torch.randn(len(units), len(names), dtype=torch.float64)
    got_UK = crf(emission_UK, units_U2)
    step_KK = (crf.step_KK + crf.barred_KK).detach()
    for row in (0, 1, 3, 4):
        here = sorted((u for u in range(len(units)) if units_U2[u, 0] == row), key=lambda u: units_U2[u, 1])
        wanted = by_enumeration(emission_UK[here], crf.start_K.detach(), step_KK)
        torch.testing.assert_close(got_UK[here], wanted)
    torch.testing.assert_close(got_UK.logsumexp(1), torch.zeros(len(units), dtype=torch.float64))


def test_without_steps_it_is_the_softmax():
    emission_BWK = torch.randn(2, 3, 4)
    got = log_marginals(emission_BWK, torch.ones(2, 3, dtype=torch.bool), torch.zeros(4), torch.zeros(4, 4))
    torch.testing.assert_close(got, emission_BWK.log_softmax(2))


def test_what_came_before_decides():
    """ "O I O" cannot be: where the middle word is surely inside, the word before must be the beginning."""
    emission_UK = torch.tensor([[2.0, 0, 0], [0, -20, 9], [5, 0, 0]], dtype=torch.float64)
    got = LinearChain(SMALL).double()(emission_UK, torch.tensor([[0, 1], [0, 2], [0, 3]])).exp()
    assert emission_UK[0].argmax() == 0 and got[0, 0] < 0.01 and got[0, 1:].sum() > 0.99


def test_gradients():
    crf, units_U2 = chain(), torch.tensor([[0, 1], [1, 1], [0, 2], [1, 5], [1, 2]])
    emission_UK = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)

    def marginals(emission_UK, start_K, step_KK):
        return torch.func.functional_call(crf, {"start_K": start_K, "step_KK": step_KK}, (emission_UK, units_U2))

    assert torch.autograd.gradcheck(marginals, (emission_UK, crf.start_K, crf.step_KK))


def test_one_word_rows_give_every_parameter_a_gradient_and_no_words_are_no_trouble():
    crf = chain()
    crf(torch.randn(2, 3).double(), torch.tensor([[0, 1], [1, 1]])).exp().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in crf.parameters())
    assert crf(torch.zeros(0, 3), torch.zeros(0, 2, dtype=torch.long)).shape == (0, 3)


def test_long_rows_and_surprising_tags_stay_finite_in_float32():
    crf = LinearChain(TAGS)
    emission_UK = (30 * torch.randn(400, len(TAGS))).requires_grad_()
    units_U2 = torch.stack([torch.arange(400) // 300, torch.arange(400)], 1)
    got_UK = crf(emission_UK, units_U2)
    inside_UK = torch.zeros(400, len(TAGS)).index_fill(1, torch.tensor([2]), 1.0)  # all I
    loss = mixed_tag_loss(got_UK, inside_UK, inside_UK, *torch.ones(2, 400), soft_weight=0.5, temperature=2.0)
    loss.backward()
    assert torch.isfinite(got_UK).all() and torch.isfinite(loss) and torch.isfinite(emission_UK.grad).all()


def test_a_tagger_with_a_chain(student_base):
    """Rows padded together equal rows alone; every parameter trains, at a rate of its own where `crf` is a head."""
    model = build_tagger(student_base, TAGS, crf=True)
    shake(model)
    rows, units = random_rows(3, 6, 9), torch.tensor([[0, 1], [0, 2], [0, 4], [2, 1], [2, 5]])
    together = model.eval()(*pad(rows.ids, 0), units)
    alone = torch.cat(
        [model(*pad([rows.ids[row]], 0), units[units[:, 0] == row] * torch.tensor([0, 1])) for row in (0, 2)]
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    together.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert {name for name, _ in model.named_parameters() if name.startswith("crf.")} == {"crf.start_K", "crf.step_KK"}
    assert build_tagger(student_base, TAGS).crf is None
