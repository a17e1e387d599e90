"""A teacher that computes its activations again learns the same, whichever name transformers has for that."""

import torch
from transformers import Qwen2Config, Qwen2ForSequenceClassification

from ckd_dist.models.teacher import recompute_activations

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}


class Earlier:
    """A model of transformers 5.17: it knows one name."""

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs):
        self.asked = gradient_checkpointing_kwargs


def gradients(recompute: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    config = Qwen2Config(intermediate_size=64, vocab_size=100, pad_token_id=0, use_cache=False, **SHAPE)
    model = Qwen2ForSequenceClassification(config).train()
    if recompute:
        recompute_activations(model)
    model(torch.arange(1, 17).reshape(2, 8)).logits.square().sum().backward()
    return [parameter.grad for parameter in model.parameters()]


def test_gradients_are_the_same():
    for kept, recomputed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(kept, recomputed)


def test_an_earlier_transformers_is_asked_by_its_own_name():
    model = Earlier()
    recompute_activations(model)
    assert model.asked == {"use_reentrant": False}
