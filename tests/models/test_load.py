"""Weights, configs and tokenizers are read in one place each; what is drawn depends on the seed alone."""

import ast
import doctest
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from ckd_dist.models import base
from ckd_dist.models.base import CLASS_HEAD, HEADS, classifier_config, head_of
from ckd_dist.models.encoder import build_student
from ckd_dist.models.load import FRESH, LoadOptions, load_model, meta_model
from ckd_dist.models.seeded import seeded
from tests.models.small import NAMES

PACKAGE = Path(base.__file__).parents[1]

READERS = {  # whose from_pretrained is called where
    "auto": {"models/load.py"},  # a model's class
    "AutoConfig": {"models/base.py"},
    "AutoTokenizer": {"models/base.py"},
    "PeftConfig": {"models/adapter.py"},
    "PeftModel": {"models/saved.py"},
    "nn.Embedding": {"studies/concepts/patients.py"},  # torch's own, of a tensor
}


def test_each_kind_of_file_has_one_reader():
    found = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "from_pretrained":
                found[ast.unparse(node.value)].add(file.relative_to(PACKAGE).as_posix())
    assert found == READERS


def test_heads_are_told_apart_by_their_classes():
    assert [head_of(f"Qwen2{head.architecture}") for head in HEADS] == list(HEADS)
    assert head_of("BertModel") is None
    assert doctest.testmod(base).failed == 0


def test_what_the_folder_lacks_is_refused_but_for_what_may_be_fresh(student_base):
    config = classifier_config(student_base, NAMES)
    with seeded(3):
        whole = load_model(student_base, config, CLASS_HEAD, LoadOptions(fresh=FRESH))
    assert whole.config._name_or_path == str(student_base) and whole.classifier.out_features == len(NAMES)
    with pytest.raises(ValueError, match="lack 2 tensors of the model, first classifier"), seeded(3):
        load_model(student_base, config, CLASS_HEAD, LoadOptions(fresh=("bert.pooler.",)))


def test_fresh_weights_are_the_seed_s_and_the_process_draws_as_before(student_base):
    torch.manual_seed(1)
    undisturbed = torch.rand(3)
    heads = []
    for seed in (5, 6, 5):
        torch.manual_seed(1)
        heads.append(build_student(student_base, NAMES, seed=seed).model.classifier.weight.detach())
        assert torch.equal(torch.rand(3), undisturbed)
    assert torch.equal(heads[0], heads[2]) and not torch.equal(heads[0], heads[1])


def test_a_model_on_the_meta_device_has_shapes_alone():
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)
    shapes = {name: tensor.shape for name, tensor in meta_model(config).state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in BertModel(config).state_dict().items()}
    assert all(tensor.is_meta for tensor in meta_model(config).state_dict().values())


def test_weights_go_to_their_device_and_not_by_way_of_the_cpu(student_base):
    """The meta device stands for a GPU: a model that is made on the CPU would have to be moved there."""
    config = classifier_config(student_base, NAMES)
    with seeded(3):
        model = load_model(student_base, config, CLASS_HEAD, LoadOptions(device="meta", fresh=FRESH))
    assert all(parameter.is_meta for parameter in model.parameters())
