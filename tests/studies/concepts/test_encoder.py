"""The student of a space: rows do not see each other or padding, it learns, and its folder reads back as it was."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity

from ckd_dist.config import Optim
from ckd_dist.engine.optim import parameter_groups
from ckd_dist.models.card import Card
from ckd_dist.models.embed import load_embedder
from ckd_dist.models.losses import space_loss
from ckd_dist.models.pooling import mean
from ckd_dist.studies.concepts.encoder import build_concept_student, export_concept_student
from tests.models.small import PHRASES, shake

WIDTH = 24


@pytest.fixture
def student(student_base):
    made = build_concept_student(student_base, WIDTH, seed=3)
    shake(made)
    return made.eval()


def vectors(student, tokenizer, phrases=PHRASES):
    batch = tokenizer(list(phrases), padding=True, return_tensors="pt")
    return student(batch.input_ids, batch.attention_mask)


def test_a_row_is_the_same_alone_and_beside_longer_ones(student, student_tokenizer):
    with torch.no_grad():
        together = vectors(student, student_tokenizer)
        alone = torch.cat([vectors(student, student_tokenizer, [phrase]) for phrase in PHRASES])
    assert together.shape == (len(PHRASES), WIDTH) and together.dtype == torch.float32
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_mean_is_taken_in_float32_under_autocast_too(student, student_tokenizer):
    hidden_BLD, attention_BL = torch.randn(3, 200, 8), torch.ones(3, 200, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mean(hidden_BLD.bfloat16(), attention_BL), mean(hidden_BLD.bfloat16().float(), attention_BL))
        assert vectors(student, student_tokenizer).dtype == torch.float32
    torch.testing.assert_close(mean(hidden_BLD, attention_BL), hidden_BLD.mean(1))


def test_the_seed_decides_what_is_fresh_and_nothing_else_is_drawn(student_base):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    weights = [build_concept_student(student_base, WIDTH, seed=seed).classifier.weight for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_every_weight_learns_and_the_new_layer_at_the_heads_rate(student_base, student_tokenizer):
    """DDP waits for ever for a weight that gets no gradient."""
    student = build_concept_student(student_base, WIDTH)
    vectors(student, student_tokenizer).square().sum().backward()
    assert [name for name, p in student.named_parameters() if p.grad is None or not p.requires_grad] == []
    groups = parameter_groups(student, Optim(learning_rate=1e-4, head_learning_rate=1e-2))
    fast = {id(p) for group in groups if group["lr"] == 1e-2 for p in group["params"]}
    assert fast == {id(student.classifier.weight), id(student.classifier.bias)}


def test_it_learns_a_space(student_base, student_tokenizer):
    made = torch.Generator().manual_seed(0)
    phrases = sorted({phrase.lower() for phrase in PHRASES})  # the tokenizer lower-cases
    teacher_UK, anchors_AK = torch.randn(len(phrases), WIDTH, generator=made), torch.randn(9, WIDTH, generator=made)
    student = build_concept_student(student_base, WIDTH)
    steps, losses = torch.optim.AdamW(student.parameters(), lr=3e-3), []
    for _ in range(60):
        loss = space_loss(
            vectors(student, student_tokenizer, phrases),
            teacher_UK,
            torch.ones(len(phrases)),
            anchors_AK,
            cosine_weight=1.0,
            relation_weight=1.0,
        )
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert cosine_similarity(vectors(student.eval(), student_tokenizer, phrases), teacher_UK).min() > 0.9


def test_the_folder_reads_back_to_the_same_vectors(student, student_tokenizer, tmp_path):
    export_concept_student(student, student_tokenizer, tmp_path)
    embedder = load_embedder(tmp_path)
    with torch.no_grad():
        wanted = vectors(student, student_tokenizer).numpy()
    np.testing.assert_allclose(embedder.embed(PHRASES, micro_tokens=100), wanted, atol=1e-5)
    assert (embedder.width, embedder.max_tokens, embedder.pooling) == (WIDTH, 64, "mean")


def test_the_folder_loads_in_sentence_transformers(student, student_tokenizer, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    export_concept_student(student, student_tokenizer, tmp_path)
    theirs = library.SentenceTransformer(str(tmp_path), device="cpu").encode(PHRASES)
    np.testing.assert_allclose(load_embedder(tmp_path).embed(PHRASES, micro_tokens=100), theirs, atol=1e-5)


def test_it_holds_safetensors_and_configs_and_no_name_of_a_place(student, student_tokenizer, tmp_path):
    export_concept_student(student, student_tokenizer, tmp_path / "out")
    files = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    wanted = {"modules.json", "config.json", "model.safetensors", "1_Pooling/config.json", "2_Dense/config.json"}
    assert wanted | {"2_Dense/model.safetensors", "sentence_bert_config.json", "README.md"} <= files
    assert not [name for name in files if name.startswith(".") or name.endswith((".bin", ".pt"))]
    modules = json.loads((tmp_path / "out" / "modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == ["Transformer", "Pooling", "Dense"]
    for name in files:
        assert str(tmp_path).encode() not in (tmp_path / "out" / name).read_bytes(), name


def test_weights_as_an_engine_hands_them_over(student, student_tokenizer, tmp_path):
    """Under the model's names, in another precision; a lost or broken one leaves the folder as it was."""
    gathered = {name: parameter.detach().double() for name, parameter in student.named_parameters()}
    mark = export_concept_student(student, student_tokenizer, tmp_path / "a", gathered)
    assert mark == export_concept_student(student, student_tokenizer, tmp_path / "b")
    for name, spoiled, sentence in (
        ("classifier.weight", None, "not handed over, first classifier.weight"),
        ("classifier.bias", torch.full((WIDTH,), float("nan")), "not finite"),
        (next(iter(gathered)), torch.full_like(gathered[next(iter(gathered))], float("inf")), "not finite"),
    ):
        broken = {key: tensor for key, tensor in (gathered | {name: spoiled}).items() if tensor is not None}
        with pytest.raises(ValueError, match=sentence):
            export_concept_student(student, student_tokenizer, tmp_path / "a", broken)
    assert load_embedder(tmp_path / "a").fingerprint == load_embedder(tmp_path / "b").fingerprint
    assert {file.name for file in (tmp_path / "a").iterdir()} == {file.name for file in (tmp_path / "b").iterdir()}


def test_another_last_layer_is_another_model(student, student_tokenizer, tmp_path):
    mark = export_concept_student(student, student_tokenizer, tmp_path)
    with torch.no_grad():
        student.classifier.weight.mul_(2)
    assert export_concept_student(student, student_tokenizer, tmp_path) != mark  # in the same folder, which it replaces
    assert torch.equal(
        load_file(tmp_path / "2_Dense" / "model.safetensors")["linear.weight"], student.classifier.weight
    )


def test_the_card_is_about_concepts(student, student_tokenizer, tmp_path):
    export_concept_student(student, student_tokenizer, tmp_path, card=Card(data="two synthetic sites", patients=False))
    card = (tmp_path / "README.md").read_text()
    for words in (
        "vectors of clinical concepts",
        "two synthetic sites",
        "SentenceTransformer(FOLDER)",
        "synthetic records",
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
    ):
        assert words in card, words
    for words in ("disease", "AutoModelFor", "text-generation", "sigmoid", "Labels"):
        assert words not in card, words


def test_phrases_longer_than_the_base_reads_are_refused(student_base):
    with pytest.raises(ValueError, match="reads at most"):
        build_concept_student(student_base, WIDTH, max_tokens=5000)
