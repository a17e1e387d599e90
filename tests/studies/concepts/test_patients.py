"""Patient models against loops that are obviously right; what is saved, and how it meets another vocabulary."""

import numpy as np
import pytest
import torch

from ckd_dist.studies.concepts.config import PatientModel
from ckd_dist.studies.concepts.patients import Codes, Vectors, build_patient, load_weights, thaw, weights_of
from tests.studies.concepts.fakes import (
    KEYS_V,
    KINDS,
    D,
    K,
    V,
    codes,
    logits,
    padded,
    random_cases,
    settings,
    trained,
    vectors,
)

READS = {"vectors": vectors, "codes": codes}


def fresh(kind: str, reads: str = "vectors", seed: int = 0, **more):
    return build_patient(settings(kind), K, READS[reads](), seed, **more)


@pytest.mark.parametrize("reads", READS)
def test_maximum_is_the_published_formula(reads):
    model, cases = fresh("max", reads), [*random_cases(30), []]
    for case, got_K in zip(cases, logits(model, cases), strict=True):
        with torch.no_grad():
            each = (
                [model.reads.first(model.reads.rows[i + 1]) for i in case]
                if reads == "vectors"
                else [model.reads.first.weight[i + 1] for i in case]
            )
            pooled_F = torch.stack([torch.relu(value_F) for value_F in each]).amax(0) if case else torch.zeros(6)
            assert torch.allclose(got_K, model.classifier(pooled_F), atol=1e-6)


def test_the_gradient_of_the_maximum_is_that_of_torch():
    model = fresh("max").eval()
    ids_BL, attention_BL = padded([*random_cases(20), []])
    model(ids_BL, attention_BL).square().sum().backward()
    got = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    value_BLF = torch.relu(model.reads.first(model.reads.rows[ids_BL])) * attention_BL.unsqueeze(2)  # relu is never < 0
    model.classifier(value_BLF.amax(1)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(got[name], parameter.grad, atol=1e-5), name


@pytest.mark.parametrize("kind", ["mean", "attention"])
def test_means_are_the_plain_loop(kind):
    model, cases = fresh(kind), random_cases(20)
    for case, got_K in zip(cases, logits(model, cases), strict=True):
        with torch.no_grad():
            value_LF = torch.relu(model.reads.first(model.reads.rows[torch.tensor(case) + 1]))
            weight_L1 = (
                model.pool.query(value_LF).softmax(0)
                if kind == "attention"
                else torch.full((len(case), 1), 1 / len(case))
            )
            assert torch.allclose(got_K, model.classifier((weight_L1 * value_LF).sum(0)), atol=1e-6)


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_case_does_not_depend_on_its_batch_or_its_padding(kind, reads):
    model, cases = trained(kind, READS[reads]()), [*random_cases(9), []]
    together_BK = logits(model, cases)
    for case, got_K in zip(cases, together_BK, strict=True):
        with torch.no_grad():
            alone_1K = model(*padded([case], length=11))
        assert torch.allclose(alone_1K[0], got_K, atol=1e-5)
    assert torch.isfinite(together_BK).all()
    assert torch.allclose(together_BK[-1], model.classifier.bias, atol=1e-6)  # no concept: nothing but the bias


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_transformer_reads_an_order(kind):
    model, cases = trained(kind, vectors()), [case for case in random_cases(30) if len(case) > 3]
    same = torch.allclose(logits(model, cases), logits(model, [case[::-1] for case in cases]), atol=1e-5)
    assert same == (kind != "transformer")


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind, reads):
    model = fresh(kind, reads, adversary_weight=0.1)
    model(*padded([list(range(V)), *random_cases(60)])).square().sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_a_model_is_a_function_of_its_seed_and_disturbs_no_other():
    before = torch.random.get_rng_state()
    one, two, other = (fresh("attention", seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=r"filters=10 .* heads=4"):
        build_patient(PatientModel("transformer", filters=10, heads=4), K, vectors(), 0)
    assert build_patient(PatientModel("transformer"), K, vectors(), 0) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_is_in_no_state_and_in_no_saved_weights(kind):
    model = trained(kind, vectors())
    for state in (model.state_dict(), weights_of(model)):
        assert all(V not in tensor.shape and V + 1 not in tensor.shape for tensor in state.values())
    assert {name: p.shape for name, p in model.named_parameters()}["reads.first.weight"] == (6, D)


# --- test 26: a table, and codes, move to a vocabulary in another order with unseen codes ----------------------------


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_meets_another_vocabulary(kind, reads):
    source, cases = trained(kind, READS[reads]()), random_cases(25)
    random = np.random.default_rng(1)
    old_of_new = np.concatenate([random.permutation(V), [-1] * 7])[random.permutation(V + 7)]  # -1: unseen
    new_of_old = {int(old): new for new, old in enumerate(old_of_new) if old >= 0}
    if reads == "vectors":
        known_VD, unseen_VD = vectors().vectors_VD, random.normal(size=(V + 7, D)).astype(np.float32)
        there = Vectors(np.where(old_of_new[:, None] >= 0, known_VD[old_of_new], unseen_VD))
    else:
        there = Codes(np.where(old_of_new >= 0, KEYS_V[old_of_new], np.arange(V + 7)), np.zeros(V + 7, bool))
    target = build_patient(settings(kind), K, there, seed=77)
    load_weights(target, weights_of(source))
    moved = [[new_of_old[row] for row in case] for case in cases]
    assert torch.allclose(logits(target, moved), logits(source, cases), atol=1e-6)
    wrong = logits(
        target, cases
    )  # the source's row numbers in the target's vocabulary: the fault of the published code
    assert not torch.allclose(wrong, logits(source, cases), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_that_no_training_case_has_is_not_there(kind):
    model = build_patient(settings(kind), K, codes(seen=[0, 1, 2, 3]), 0)
    assert torch.allclose(logits(model, [[0, 7, 2, 9, 3]]), logits(model, [[0, 2, 3]]), atol=1e-6)
    assert torch.equal(logits(model, [[7, 9]]), logits(model, [[]]))
    assert not model.reads.first.weight[5:].any()


def test_a_code_begins_the_same_in_every_vocabulary_and_keeps_what_it_learned():
    source = trained("max", codes(seen=[0, 1, 2, 3]))
    target = build_patient(settings("max"), K, Codes(KEYS_V[::-1].copy(), np.ones(V, bool)), 0)
    begun = build_patient(settings("max"), K, codes(), 0)
    load_weights(target, weights_of(source))
    rows, first = target.reads.first.weight[1:].flip(0), begun.reads.first.weight[1:]
    assert torch.equal(rows[:4], source.reads.first.weight[1:5])
    assert torch.equal(rows[4:], first[4:]) and first[4:].any()
    assert not torch.allclose(rows[:4], first[:4])  # it had learned something


def test_what_a_source_model_brings_counts_as_seen():
    source = trained("max", codes(seen=[0, 1, 2, 3]))
    target = build_patient(settings("max"), K, codes(seen=[3, 4]), 0)
    load_weights(target, weights_of(source))
    assert target.reads.seen.nonzero().squeeze(1).tolist() == [1, 2, 3, 4, 5]
    again = build_patient(settings("max"), K, codes(seen=[]), 0)
    load_weights(again, weights_of(target))
    assert torch.equal(logits(again, random_cases(9)), logits(target, random_cases(9)))


@pytest.mark.parametrize("kind", KINDS)
def test_thawed_vectors_go_back_to_their_own_table_only(kind):
    model = build_patient(settings(kind), K, vectors(), 0)
    thaw(model)
    with torch.no_grad():
        model.reads.rows[1:] += 1
    weights, cases = weights_of(model), random_cases(9)
    again, other = (build_patient(settings(kind), K, vectors(seed), 1) for seed in (0, 1))
    load_weights(again, weights)
    assert torch.equal(logits(again, cases), logits(model, cases))
    with pytest.raises(ValueError, match="another table"):
        load_weights(other, weights)


def test_saved_weights_do_not_change_when_the_model_goes_on():
    model = trained("max", codes())
    weights = weights_of(model)
    kept = {name: tensor.clone() for name, tensor in weights.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    assert all(torch.equal(weights[name], kept[name]) for name in kept)


@pytest.mark.parametrize(
    ("given", "into"),
    [
        (("max", "codes"), ("max", "vectors")),
        (("max", "vectors"), ("max", "codes")),
        (("attention", "vectors"), ("max", "vectors")),
        (("mean", "codes"), ("transformer", "codes")),
    ],
)
def test_weights_of_another_model_are_refused_and_change_nothing(given, into):
    model = build_patient(settings(into[0]), K, codes(seen=[1]) if into[1] == "codes" else vectors(), 0)
    before = weights_of(model)
    with pytest.raises(ValueError, match="another patient model"):
        load_weights(model, weights_of(trained(given[0], READS[given[1]]())))
    after = weights_of(model)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_codes_of_another_width_are_refused():
    narrow = build_patient(PatientModel("max", filters=3), K, codes(), 0)
    with pytest.raises(ValueError, match=r"reads\.first\.weight"):
        load_weights(fresh("max", "codes"), weights_of(narrow))


def test_the_adversary_turns_the_gradient_of_its_column_round():
    grads = {}
    for weight in (0.0, 0.3, 0.6):
        model = fresh("max", adversary_weight=weight).eval()
        out = model(*padded(random_cases(30)))
        assert out.shape == (30, K + 1)
        out[:, -1].sum().backward()
        grads[weight] = model.reads.first.weight.grad.clone(), model.site[0].weight.grad.clone()
    assert not grads[0.0][0].any()
    assert torch.allclose(2 * grads[0.3][0], grads[0.6][0])
    assert torch.equal(grads[0.3][1], grads[0.6][1])  # the adversary itself learns as fast as ever
    plain = fresh("max", adversary_weight=1.0).eval()
    case_BF = plain.pool(plain.reads(torch.arange(V + 1)), torch.tensor([[i + 1 for i in range(V)]]))
    plain.site(case_BF).sum().backward()
    direct = plain.reads.first.weight.grad.clone()
    plain.zero_grad()
    plain(*padded([list(range(V))]))[:, -1].sum().backward()
    assert torch.allclose(plain.reads.first.weight.grad, -direct) and direct.any()
