"""What is trained is what is exported: for every layer that a recipe may name, by our loader and by plain PEFT."""

from dataclasses import replace

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from ckd_dist.config import Lora
from ckd_dist.models.adapter import ADAPTER, adopt_adapter, as_saved, check_targets, trained_part
from ckd_dist.models.export import export_teacher
from ckd_dist.models.predict import load_answerer, load_classifier
from ckd_dist.models.teacher import build_answerer, build_classifier
from tests.models.small import ADAPTER as LORA
from tests.models.small import NAMES, shake

PROJECTIONS = Lora().targets
EVERY = (*PROJECTIONS, "embed_tokens")
CHOICES = [(target,) for target in EVERY] + [EVERY]
IDS = torch.arange(5, 37).reshape(2, 16)
ALL = torch.ones_like(IDS)
UNITS = torch.tensor([[0, 3], [1, 7], [1, 15]])


def on(*targets, **others):
    """Teacher options with an adapter on `targets`."""
    return replace(LORA, lora=Lora(rank=4, alpha=8, dropout=0.0, targets=targets), **others)


def exported(model, tokenizer, folder):
    """Give every trained tensor a value of its own, and export; return the model."""
    shake(model)
    export_teacher(model.eval(), tokenizer, folder)
    return model


def predicted(model, *batch):
    with torch.no_grad():
        return model(*batch)


@pytest.mark.parametrize("targets", CHOICES, ids="+".join)
def test_every_trained_tensor_of_a_classifier_is_exported(targets, tmp_path, teacher_base, teacher_tokenizer):
    model = exported(build_classifier(teacher_base, NAMES, on(*targets)), teacher_tokenizer, tmp_path)
    assert len(load_file(tmp_path / ADAPTER)) == sum(parameter.requires_grad for parameter in model.parameters())
    wanted = predicted(model, IDS, ALL)
    torch.testing.assert_close(predicted(load_classifier(tmp_path), IDS, ALL), wanted, atol=1e-5, rtol=0)
    config = AutoConfig.from_pretrained(tmp_path, subfolder="classifier")
    plain = AutoPeftModelForSequenceClassification.from_pretrained(
        str(tmp_path), num_labels=len(NAMES), pad_token_id=config.pad_token_id
    )
    torch.testing.assert_close(predicted(plain.eval(), IDS).logits, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("targets", [("q_proj",), ("embed_tokens",), EVERY], ids="+".join)
def test_an_answerer_loads_as_trained_and_its_adapter_carries_over(targets, tmp_path, teacher_base, teacher_tokenizer):
    """Its last layer is tied to the embeddings, which an adapter on them does not reach."""
    answerer = exported(build_answerer(teacher_base, on(*targets)), teacher_tokenizer, tmp_path)
    wanted = predicted(answerer, IDS, ALL, UNITS)
    torch.testing.assert_close(predicted(load_answerer(tmp_path), IDS, ALL, UNITS), wanted)
    classifier = build_classifier(teacher_base, NAMES, on(*targets))
    adopt_adapter(classifier, tmp_path)
    hidden = [model.plain.base_model(input_ids=IDS).last_hidden_state for model in (answerer, classifier)]
    torch.testing.assert_close(*hidden)


@pytest.mark.parametrize("name", ["score", "lm_head", "input_layernorm", "self_attn", "layers", "q_porj"])
@pytest.mark.parametrize("build", [build_answerer, lambda base, options: build_classifier(base, NAMES, options)])
def test_a_layer_that_cannot_be_exported_with_an_adapter_is_refused_before_training(name, build, teacher_base):
    for refused in (
        lambda: build(teacher_base, on("q_proj", name)),
        lambda: check_targets(teacher_base, None, ["q_proj", name]),
    ):
        with pytest.raises(ValueError, match=f"no projection or embedding named '{name}'.* it has .*embed_tokens"):
            refused()
    check_targets(teacher_base, None, EVERY)


def test_a_trained_tensor_that_peft_does_not_save_is_refused(tmp_path, teacher_base, teacher_tokenizer):
    """As the adapters of embeddings once were: left out without a word."""
    model = build_classifier(teacher_base, NAMES, LORA)
    model.plain.model.norm.weight.requires_grad_(True)
    with pytest.raises(ValueError, match=r"would not save 1 of the tensors that are trained, first .*norm\.weight"):
        as_saved(model.model, trained_part(model.model))
    with pytest.raises(ValueError, match="would not save 1 of the tensors"):
        export_teacher(model, teacher_tokenizer, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("load", [load_classifier, load_answerer])
def test_an_adapter_that_lost_a_tensor_is_not_loaded(load, tmp_path, teacher_base, teacher_tokenizer):
    build = build_answerer if load is load_answerer else lambda base, options: build_classifier(base, NAMES, options)
    exported(build(teacher_base, on("q_proj", "embed_tokens")), teacher_tokenizer, tmp_path)
    file = tmp_path / ADAPTER
    tensors = load_file(file)
    (lost,) = [name for name in tensors if "lora_embedding_B" in name]
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"1 tensors have no partner, first .*{lost.rpartition('.')[2]}"):
        load(tmp_path)
