"""Word taggers give plain transformers' logits at the words asked for; what trains; what is refused."""

from dataclasses import replace

import pytest
import torch

from ckd_dist.models.encoder import build_student
from ckd_dist.models.rows import pad
from ckd_dist.models.teacher import TeacherOptions, build_classifier
from ckd_dist.studies.ner.tagger import build_tag_teacher, build_tagger
from tests.models.small import LORA, NAMES, TAGS, random_rows, shake

FULL = TeacherOptions("full", LORA, torch.float32)
ADAPTER = TeacherOptions("lora", LORA, torch.float32)
UNITS = torch.tensor([[2, 0], [0, 3], [0, 1], [3, 5], [0, 3]])  # any order, any number a row, twice too


def build(kind, teacher_base, student_base, **more):
    if kind == "student":
        return build_tagger(student_base, TAGS, **more)
    return build_tag_teacher(teacher_base, TAGS, replace(ADAPTER if kind == "lora" else FULL, **more))


@pytest.mark.parametrize("kind", ["lora", "full", "student"])
def test_units_of_a_padded_batch_are_those_of_rows_one_by_one(kind, teacher_base, student_base):
    model = build(kind, teacher_base, student_base)
    shake(model)
    model.eval()
    rows = random_rows(4, 6, 30)
    with torch.no_grad():
        together = model(*pad(rows.ids, model.plain.config.pad_token_id), UNITS)
        alone = [model.model(input_ids=torch.as_tensor(row)[None].long()).logits[0] for row in rows.ids]
    assert together.dtype == torch.float32 and together.shape == (len(UNITS), len(TAGS))
    wanted = torch.stack([alone[row][position] for row, position in UNITS.tolist()])
    torch.testing.assert_close(together, wanted, atol=1e-5, rtol=0)


def test_columns_are_named(teacher_base, student_base):
    for kind in ("lora", "student"):
        config = build(kind, teacher_base, student_base).plain.config
        assert tuple(config.id2label[k] for k in range(len(TAGS))) == TAGS
        assert config.label2id["I-symptom"] == 4 and config.problem_type is None


def test_what_is_trainable(teacher_base, student_base):
    lora = build("lora", teacher_base, student_base)
    trained = {name for name, p in lora.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or ".score.modules_to_save." in name for name in trained)
    assert any(".score." in name for name in trained)
    for kind in ("full", "student"):
        model = build(kind, teacher_base, student_base)
        assert all(p.requires_grad for p in model.parameters())
        model(*pad(random_rows(4, 6, 9).ids, 0), UNITS).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())


def test_checkpointing_changes_no_gradient(teacher_base):
    grads = []
    for gradient_checkpointing in (False, True):
        model = build("lora", teacher_base, None, gradient_checkpointing=gradient_checkpointing)
        shake(model)
        torch.manual_seed(0)  # dropout before the head
        model(*pad(random_rows(4, 6, 9).ids, 0), UNITS).square().sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad)


def test_a_seed_fixes_fresh_weights(teacher_base, student_base):
    for kind in ("lora", "student"):
        one, same, other = (dict(build(kind, teacher_base, student_base, seed=s).named_parameters()) for s in (3, 3, 4))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert any(not torch.equal(one[name], other[name]) for name in one)


def test_one_dtype_for_all_trainables(teacher_base):
    model = build("lora", teacher_base, None, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model(*pad(random_rows(4, 6, 9).ids, 0), UNITS).dtype == torch.float32


def test_bases_that_do_not_fit(tmp_path, teacher_base, student_base, student_tokenizer):
    with pytest.raises(ValueError, match="no causal language model"):
        build_tag_teacher(student_base, TAGS, ADAPTER)
    with pytest.raises(ValueError, match="at most 1024 tokens"):
        build_tagger(student_base, TAGS, max_tokens=2000)
    with pytest.raises(ValueError, match="distinct"):
        build_tagger(student_base, ("O", "O"))


def test_a_head_of_another_kind_or_other_tags_is_refused(tmp_path, student_base, student_tokenizer):
    """A classifier of as many diseases has tensors of the same names and shapes."""
    for name, model in (("diseases", build_student(student_base, NAMES)), ("tags", build_tagger(student_base, TAGS))):
        model.model.save_pretrained(tmp_path / name)
        student_tokenizer.save_pretrained(tmp_path / name)
    with pytest.raises(ValueError, match="head of another kind"):
        build_tagger(tmp_path / "diseases", TAGS)
    with pytest.raises(ValueError, match="head of another kind"):
        build_student(tmp_path / "tags", NAMES)
    with pytest.raises(ValueError, match="head of another kind"):
        build_classifier(tmp_path / "tags", NAMES, ADAPTER)
    with pytest.raises(ValueError, match="its head has 5 labels"):
        build_tagger(tmp_path / "tags", TAGS[:3])
    again = build_tagger(tmp_path / "tags", TAGS)
    assert torch.equal(again.plain.classifier.weight, model.plain.classifier.weight)
