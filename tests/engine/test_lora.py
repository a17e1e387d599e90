"""A real, tiny causal language model with LoRA under ZeRO-3 on two ranks: the teacher's own combination."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Step, train_step
from ckd_dist.engine.sharding import read_sharding
from ckd_dist.engine.zero import ZeroEngine, sharded_loading
from ckd_dist.world import World
from tests.engine.fakes import COLUMNS, VOCABULARY, collate, loss_fn, planned, run_ranks

OPTIM = Optim(learning_rate=1e-2, head_learning_rate=3e-2, weight_decay=0.1, clip_norm=0.1)


class Called(nn.Module):
    """Calls a Hugging Face classifier the way an engine calls."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids_BL, attention_BL, units_U2=None):
        return self.model(input_ids=input_ids_BL, attention_mask=attention_BL).logits


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A two-layer Qwen2 in a folder; one that a ZeRO-3 rank can load its slices of."""
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    torch.manual_seed(0)
    shape = {"hidden_size": 24, "intermediate_size": 36, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen2Config(vocab_size=VOCABULARY, num_key_value_heads=2, num_labels=COLUMNS, pad_token_id=0, **shape)
    folder = tmp_path_factory.mktemp("qwen")
    Qwen2ForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


def adapted(folder, *, checkpointing=False):
    """LoRA on every projection and a head of its own; rank 3 leaves odd sizes."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2ForSequenceClassification

    model = Qwen2ForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(task_type="SEQ_CLS", r=3, lora_alpha=6, target_modules=targets, modules_to_save=["score"])
    torch.manual_seed(1)
    model = get_peft_model(model, lora, autocast_adapter_dtype=False)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return Called(model)


def steps_of(engine, world, first, last):
    """Losses and norms of some steps."""
    seen = []
    for plan in islice(planned(first, world), last - first):
        loss = train_step(engine, Step([collate(rows) for rows in plan.slots], plan.total_weight), loss_fn)
        seen.append((world.total(loss).item(), engine.gradient_norm()))
    return seen


def sliced(world, base, sharding, checkpointing):
    settings = read_sharding(sharding)
    with sharded_loading(settings, world, dtype="float32"):
        module = adapted(base, checkpointing=checkpointing)
    return ZeroEngine(module, OPTIM, world, sharding=settings)


def teacher(world, base, folder, sharding):
    """Train, predict, save and export under ZeRO-3; resume in a fresh engine."""
    engine = sliced(world, base, sharding, checkpointing=False)
    seen = steps_of(engine, world, 0, 3)
    logits_UK = engine.predict(collate(np.arange(4)))
    if world.is_leader:
        Path(folder).mkdir()
    world.barrier()
    engine.begin_save(Path(folder))()
    with engine.gathered(p for p in engine.module.parameters() if p.requires_grad):
        engine.module.model.save_pretrained(f"{folder}/rank{world.rank}")
    seen += steps_of(engine, world, 3, 5)
    weights = {name: w.numpy() for name, w in engine.full_weights().items()}
    again = sliced(world, base, sharding, checkpointing=True)  # recomputed activations change nothing
    again.load(Path(folder))
    resumed = steps_of(again, world, 3, 5)
    return seen, resumed, logits_UK.numpy(), weights


@pytest.fixture(scope="module")
def plain(base):
    """The same on one rank, without DeepSpeed."""
    engine = DdpEngine(adapted(base), OPTIM, World())
    seen = steps_of(engine, World(), 0, 3)
    logits_UK = engine.predict(collate(np.arange(4)))
    seen += steps_of(engine, World(), 3, 5)
    return seen, logits_UK.numpy(), {name: w.numpy() for name, w in engine.full_weights().items()}


@pytest.mark.parametrize("sharding", ["zero3_lora", pytest.param("zero3_offload", marks=pytest.mark.slow)])
def test_zero3_is_plain_training(base, plain, tmp_path, sharding):
    seen, resumed, logits_UK, weights = run_ranks(2, teacher, base, str(tmp_path / "saved"), sharding)[0]
    np.testing.assert_allclose(seen, plain[0], atol=2e-5)
    np.testing.assert_allclose(logits_UK, plain[1], atol=2e-5)
    np.testing.assert_allclose(resumed, seen[3:], atol=1e-6)
    assert weights.keys() == plain[2].keys()
    for name, wanted in plain[2].items():
        np.testing.assert_allclose(weights[name], wanted, atol=1e-4, err_msg=name)
    exported(tmp_path / "saved" / "rank0", base, logits_UK)


def exported(folder, base, logits_UK):
    """Plain PEFT reads what was saved under ZeRO-3; no tensor is empty."""
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import Qwen2ForSequenceClassification

    assert all(tensor.numel() for tensor in load_file(folder / "adapter_model.safetensors").values())
    model = Called(PeftModel.from_pretrained(Qwen2ForSequenceClassification.from_pretrained(base), folder)).eval()
    batch = collate(np.arange(4))
    with torch.no_grad():
        np.testing.assert_allclose(model(batch.input_ids_BL, batch.attention_BL), logits_UK, atol=2e-5)
