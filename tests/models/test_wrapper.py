"""Wrapped models against plain transformers: padding, units, what is trainable."""

from dataclasses import replace

import pytest
import torch

from ckd_dist.models.encoder import build_student
from ckd_dist.models.rows import pad
from ckd_dist.models.teacher import build_answerer, build_classifier
from tests.models.small import ADAPTER, FULL, NAMES, random_rows, shake


@pytest.mark.parametrize("kind", ["lora", "full", "student"])
def test_padded_batch_equals_rows_one_by_one_in_plain_transformers(kind, teacher_base, student_base):
    model = build_student(student_base, NAMES) if kind == "student" else None
    model = model or build_classifier(teacher_base, NAMES, replace(FULL, tuning=kind))
    shake(model)
    model.eval()
    rows = random_rows(7, 1, 40)
    pad_id = model.plain.config.pad_token_id
    with torch.no_grad():
        together = model(*pad(rows.ids, pad_id))
        alone = torch.cat([model.model(input_ids=torch.as_tensor(row)[None].long()).logits for row in rows.ids])
        plain = model.model(*pad(rows.ids, pad_id)).logits
    assert together.dtype == torch.float32 and together.shape == (7, len(NAMES))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [FULL, ADAPTER], ids=["full", "lora"])
def test_answer_logits_are_the_causal_models_own_at_the_units(options, teacher_base):
    model = build_answerer(teacher_base, options)
    shake(model)
    ids_BL, attention_BL = pad(random_rows(3, 6, 12).ids, 0)
    units_U2 = torch.tensor([[0, 2], [2, 5], [0, 3], [1, 0]])
    whole_BLV = model.model(input_ids=ids_BL, attention_mask=attention_BL).logits
    torch.testing.assert_close(
        model(ids_BL, attention_BL, units_U2), whole_BLV[units_U2[:, 0], units_U2[:, 1]], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("build", [build_classifier, build_answerer])
def test_checkpointing_changes_no_gradient(build, teacher_base):
    grads = []
    for gradient_checkpointing in (False, True):
        names = [NAMES] if build is build_classifier else []
        model = build(teacher_base, *names, replace(ADAPTER, gradient_checkpointing=gradient_checkpointing))
        shake(model)
        units = None if names else torch.tensor([[0, 1]])
        model(*pad(random_rows(2, 5, 9).ids, 0), units).square().sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert grads[0].keys() == grads[1].keys() and all(g is not None for g in grads[1].values())
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad)


def test_what_is_trainable(teacher_base):
    def trained(model):
        return {name for name, p in model.named_parameters() if p.requires_grad}

    lora = trained(build_classifier(teacher_base, NAMES, ADAPTER))
    assert all(".lora_" in name or ".score.modules_to_save." in name for name in lora)
    assert len([name for name in lora if ".lora_" in name]) == 2 * 7 * 2  # A and B, projections, layers
    assert all(".lora_" in name for name in trained(build_answerer(teacher_base, ADAPTER)))
    full = build_classifier(teacher_base, NAMES, FULL)
    assert trained(full) == {name for name, _ in full.named_parameters()}


def test_one_dtype_for_all_trainables(teacher_base):
    model = build_classifier(teacher_base, NAMES, replace(ADAPTER, dtype=torch.bfloat16))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model(*pad(random_rows(2, 5, 9).ids, 0)).dtype == torch.float32


def test_a_seed_fixes_fresh_weights_and_touches_no_other_randomness(teacher_base, student_base):
    before = torch.get_rng_state()
    for build in (
        lambda seed: build_classifier(teacher_base, NAMES, replace(ADAPTER, seed=seed)),
        lambda seed: build_student(student_base, NAMES, seed=seed),
    ):
        one, same, other = (dict(build(seed).named_parameters()) for seed in (3, 3, 4))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert any(not torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.get_rng_state())
