"""Vectors of phrases are those of a plain loop, one phrase a forward pass, whatever the batches; and who is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

from ckd_dist.models.embed import EmbedderOptions, even_batches, inspect_embedder, load_embedder
from ckd_dist.models.encoder import build_student
from ckd_dist.models.export import export_student, export_teacher
from ckd_dist.models.teacher import TeacherOptions, build_answerer, build_classifier
from ckd_dist.models.tiny import make_tiny_student
from ckd_dist.studies.ner.tagger import build_tag_teacher
from tests.models.small import LORA, NAMES, PHRASES, TAGS, TEXTS, TINY, shake

OPTIONS = TeacherOptions(tuning="lora", lora=LORA, dtype=torch.float32)


@torch.no_grad()
def one_by_one(folder, pool, phrases=PHRASES):
    """pool(hidden_LD) of every phrase alone."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    return np.stack([pool(model(**tokenizer(p, return_tensors="pt")).last_hidden_state[0]).numpy() for p in phrases])


POOLS = {"mean": lambda hidden_LD: hidden_LD.mean(0), "cls": lambda hidden_LD: hidden_LD[0],
         "last": lambda hidden_LD: hidden_LD[-1]}  # fmt: skip


@pytest.mark.parametrize("micro_tokens", [16, 64, 10_000])
@pytest.mark.parametrize("pooling", POOLS)
@pytest.mark.parametrize("base", ["student_base", "teacher_base"])
def test_vectors_are_those_of_a_plain_loop_in_the_order_given(base, pooling, micro_tokens, request):
    folder = request.getfixturevalue(base)
    embedder = load_embedder(folder, EmbedderOptions(pooling=pooling))
    vectors_ND = embedder.embed(PHRASES, micro_tokens=micro_tokens)
    assert vectors_ND.dtype == np.float32 and vectors_ND.shape == (len(PHRASES), embedder.width)
    np.testing.assert_allclose(vectors_ND, one_by_one(folder, POOLS[pooling]), atol=2e-6)


def test_own_is_the_mean_of_an_encoder_and_the_last_token_of_a_causal_model(student_base, teacher_base):
    assert (load_embedder(student_base).pooling, load_embedder(teacher_base).pooling) == ("mean", "last")


def test_what_is_the_same_to_the_model_runs_once(student_base):
    embedder, seen = load_embedder(student_base), []
    embedder.backbone.register_forward_pre_hook(lambda _, __, given: seen.append(given["input_ids"]), with_kwargs=True)
    progress = []
    many = PHRASES * 50
    vectors_ND = embedder.embed(many, micro_tokens=10_000, track=lambda done, total: progress.append((done, total)))
    assert sum(len(ids_BL) for ids_BL in seen) == 6  # the tokenizer lower-cases, so "Disease 3" is "disease 3"
    assert progress[-1] == (6, 6)
    assert np.array_equal(vectors_ND, np.tile(vectors_ND[:8], (50, 1)))


def test_batches_of_one_length_need_no_mask_and_hold_no_padding(student_base):
    embedder, masked, padding = load_embedder(student_base), [], []

    def look(_, __, given):
        masked.append("attention_mask" in given)
        padding.append(int((given["input_ids"] == embedder.tokenizer.pad_token_id).sum()))

    embedder.backbone.register_forward_pre_hook(look, with_kwargs=True)
    embedder.embed([f"disease {i} drug {j}" for i in range(10) for j in range(7)], micro_tokens=100)
    assert len(masked) > 3 and not any(masked) and sum(padding) == 0


@pytest.mark.parametrize("budget", [5, 60, 400, 100_000])
def test_batches_hold_every_row_once_and_little_padding(budget):
    lengths = -np.sort(-np.random.default_rng(0).integers(1, 80, 300))
    parts = list(even_batches(lengths, budget))
    assert np.array_equal(np.concatenate([np.arange(300)[part] for part in parts]), np.arange(300))
    for part in parts:
        longest, shortest, rows = lengths[part][0], lengths[part][-1], len(lengths[part])
        assert rows == 1 or rows * longest <= budget
        assert shortest >= 0.75 * longest
    if budget > lengths.sum():
        assert len(parts) < 18  # log(80) / log(4 / 3): cut no finer than the rule asks


def test_a_budget_is_kept(teacher_base):
    embedder, sizes = load_embedder(teacher_base), []
    embedder.backbone.register_forward_pre_hook(lambda _, __, given: sizes.append(given["input_ids"]), with_kwargs=True)
    embedder.embed(TEXTS + PHRASES, micro_tokens=100)
    assert max(ids_BL.numel() for ids_BL in sizes) <= 100 and len(sizes) > 5


def test_a_longer_phrase_is_cut(student_base):
    embedder = load_embedder(student_base, EmbedderOptions(max_tokens=8))
    tokenizer = embedder.tokenizer
    kept = tokenizer.decode(tokenizer(TEXTS[0], truncation=True, max_length=8)["input_ids"], skip_special_tokens=True)
    cut, whole = embedder.embed([TEXTS[0], kept], micro_tokens=100)
    np.testing.assert_allclose(cut, whole, atol=1e-6)
    assert not np.allclose(cut, load_embedder(student_base).embed([TEXTS[0]], micro_tokens=100), atol=1e-3)


def test_bfloat16_stays_near(student_base, teacher_base):
    for base in (student_base, teacher_base):
        near, whole = (
            load_embedder(base, EmbedderOptions(dtype=dtype)).embed(TEXTS[:20], micro_tokens=500)
            for dtype in (torch.bfloat16, torch.float32)
        )
        assert near.dtype == np.float32 and not np.array_equal(near, whole)
        cosine_N = (near * whole).sum(1) / np.linalg.norm(near, axis=1) / np.linalg.norm(whole, axis=1)
        assert cosine_N.min() > 0.999


def test_nothing_to_embed(student_base):
    assert load_embedder(student_base).embed([], micro_tokens=100).shape == (0, TINY.hidden)


def test_a_phrase_without_a_token_is_refused_without_naming_any(teacher_base):
    with pytest.raises(ValueError, match="has no token") as raised:
        load_embedder(teacher_base).embed(["secret", ""], micro_tokens=100)
    assert "secret" not in str(raised.value)


# --- what this project exported ---------------------------------------------------------------------------------------


def make(kind, base):
    if kind == "answers":
        return build_answerer(base, OPTIONS)
    if kind == "tags":
        return build_tag_teacher(base, TAGS, OPTIONS)
    return build_classifier(base, NAMES, replace(OPTIONS, tuning=kind))


@pytest.mark.parametrize("kind", ["full", "lora", "tags", "answers"])
def test_an_exported_teacher_is_its_backbone_without_the_head(kind, tmp_path, teacher_base, teacher_tokenizer):
    model = make(kind, teacher_base)
    shake(model)
    export_teacher(model, teacher_tokenizer, tmp_path)
    embedder = load_embedder(tmp_path)
    assert (embedder.pooling, embedder.width) == ("last", inspect_embedder(tmp_path).width)
    with torch.no_grad():
        rows = [teacher_tokenizer(phrase, return_tensors="pt")["input_ids"] for phrase in PHRASES]
        wanted = [model.eval().plain.base_model(input_ids=ids).last_hidden_state[0, -1].numpy() for ids in rows]
    np.testing.assert_allclose(embedder.embed(PHRASES, micro_tokens=200), np.stack(wanted), atol=1e-5)
    assert not np.allclose(load_embedder(teacher_base).embed(PHRASES, micro_tokens=200), np.stack(wanted), atol=1e-2)


def test_an_exported_student_is_its_backbone_without_the_head(tmp_path, student_base, student_tokenizer):
    export_student(build_student(student_base, NAMES), student_tokenizer, tmp_path)
    ours, base = (load_embedder(folder).embed(PHRASES, micro_tokens=200) for folder in (tmp_path, student_base))
    np.testing.assert_allclose(ours, base, atol=1e-6)


# --- folders of sentence-transformers ---------------------------------------------------------------------------------


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


@pytest.fixture
def sentence_folder(tmp_path, student_base):
    """As that library writes one: [CLS], a layer with tanh, unit length; at most 12 tokens, lower-cased."""
    folder = tmp_path / "sentences"
    shutil.copytree(student_base, folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    write(folder / "modules.json", modules)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": True})
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode_cls_token": True})
    shape = {"in_features": 32, "out_features": 10, "bias": True}
    write(folder / "2_Dense" / "config.json", shape | {"activation_function": "torch.nn.modules.activation.Tanh"})
    made = torch.Generator().manual_seed(0)
    save_file(
        {"linear.weight": torch.randn(10, 32, generator=made), "linear.bias": torch.randn(10, generator=made)},
        folder / "2_Dense" / "model.safetensors",
    )
    return folder


def test_own_follows_the_folders_modules(sentence_folder):
    from safetensors.torch import load_file

    dense = load_file(sentence_folder / "2_Dense" / "model.safetensors")
    embedder = load_embedder(sentence_folder)
    short = [phrase for phrase in PHRASES if len(embedder.tokenizer(phrase)["input_ids"]) <= 12]
    vector_ND = one_by_one(sentence_folder, POOLS["cls"], short) @ dense["linear.weight"].numpy().T
    wanted = np.tanh(vector_ND + dense["linear.bias"].numpy())
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(short, micro_tokens=100), wanted, atol=1e-5)
    assert (embedder.width, embedder.max_tokens, embedder.pooling, embedder.lower) == (10, 12, "cls", True)


def test_own_is_what_the_library_itself_computes(sentence_folder):
    library = pytest.importorskip("sentence_transformers")
    theirs = library.SentenceTransformer(str(sentence_folder), device="cpu").encode(PHRASES)
    np.testing.assert_allclose(load_embedder(sentence_folder).embed(PHRASES, micro_tokens=100), theirs, atol=1e-5)


def test_a_named_pooling_uses_the_transformer_alone(sentence_folder, student_base):
    ours, base = (
        load_embedder(folder, EmbedderOptions(pooling="mean")).embed(PHRASES, micro_tokens=100)
        for folder in (sentence_folder, student_base)
    )
    assert np.array_equal(ours, base)


def spoil_bin(folder):
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")


def edit(name, **changes):
    def spoil(folder):
        file = folder / name
        write(file, (json.loads(file.read_text()) if file.exists() else {}) | changes)

    return spoil


def move_module(place, **changes):
    def spoil(folder):
        modules = json.loads((folder / "modules.json").read_text())
        modules[place] |= changes
        write(folder / "modules.json", modules)

    return spoil


SPOILED = {
    "bin": (spoil_bin, "only safetensors are read"),
    "code": (lambda folder: (folder / "modeling.py").write_text("raise SystemExit"), "never run"),
    "max": (edit("1_Pooling/config.json", pooling_mode_max_tokens=True), "its pooling is none of"),
    "two": (edit("1_Pooling/config.json", pooling_mode_mean_tokens=True), "its pooling is none of"),
    "residual": (edit("2_Dense/config.json", use_residual=True), "not a plain layer"),
    "activation": (edit("2_Dense/config.json", activation_function="os.system"), "not a plain layer"),
    "shape": (edit("2_Dense/config.json", in_features=31), "not the shape that its config states"),
    "prompt": (edit("config_sentence_transformers.json", default_prompt_name="query"), "prompt of its own"),
    "module": (move_module(3, type="sentence_transformers.models.LSTM"), "Transformer, Pooling, Dense, LSTM"),
    "outside": (move_module(2, path="../elsewhere"), "outside of the folder"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_what_is_not_computed_here_is_refused(fault, sentence_folder):
    spoil, sentence = SPOILED[fault]
    spoil(sentence_folder)
    with pytest.raises(ValueError, match=sentence):
        load_embedder(sentence_folder)


def test_new_and_old_names_of_a_pooling_are_the_same(sentence_folder):
    old = load_embedder(sentence_folder).embed(PHRASES, micro_tokens=100)
    write(sentence_folder / "1_Pooling" / "config.json", {"embedding_dimension": 32, "pooling_mode": "cls"})
    assert np.array_equal(load_embedder(sentence_folder).embed(PHRASES, micro_tokens=100), old)


# --- which model is this ----------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_what_decides_vectors_and_of_no_path(sentence_folder, tmp_path, student_base):
    marks = [load_embedder(sentence_folder).fingerprint]
    shutil.copytree(sentence_folder, tmp_path / "moved")
    assert load_embedder(tmp_path / "moved").fingerprint == marks[0]
    marks += [
        load_embedder(sentence_folder, EmbedderOptions(pooling=pooling)).fingerprint for pooling in ("mean", "last")
    ]
    marks.append(load_embedder(sentence_folder, EmbedderOptions(max_tokens=9)).fingerprint)
    marks.append(load_embedder(sentence_folder, EmbedderOptions(dtype=torch.bfloat16)).fingerprint)
    edit("sentence_bert_config.json", do_lower_case=False)(sentence_folder)
    marks.append(load_embedder(sentence_folder).fingerprint)
    edit("2_Dense/config.json", activation_function="torch.nn.modules.activation.ReLU")(sentence_folder)
    marks.append(load_embedder(sentence_folder).fingerprint)
    save_file({"linear.weight": torch.ones(10, 32), "linear.bias": torch.ones(10)},
              sentence_folder / "2_Dense" / "model.safetensors")  # fmt: skip
    marks.append(load_embedder(sentence_folder).fingerprint)
    make_tiny_student(tmp_path / "other", TEXTS, TINY, seed=1)
    marks.append(load_embedder(tmp_path / "other").fingerprint)
    assert len(set(marks)) == len(marks)
    assert load_embedder(student_base).fingerprint == marks[1]  # the same Transformer, by its mean


@pytest.mark.parametrize("pooling", ["own", "mean"])
@pytest.mark.parametrize("base", ["sentence_folder", "student_base", "teacher_base"])
def test_what_is_known_beforehand_is_what_is_loaded(base, pooling, request):
    folder = request.getfixturevalue(base)
    options = EmbedderOptions(pooling=pooling)
    facts, made = inspect_embedder(folder, options), load_embedder(folder, options)
    names = ("pooling", "width", "max_tokens", "fingerprint")
    assert [getattr(facts, name) for name in names] == [getattr(made, name) for name in names]
    assert made.embed(PHRASES[:1], micro_tokens=50).shape == (1, facts.width)


def test_a_pooling_that_is_none_and_a_base_that_is_none(student_base, tmp_path):
    with pytest.raises(ValueError, match="none of own, mean, cls, last"):
        load_embedder(student_base, EmbedderOptions(pooling="max"))
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_embedder(tmp_path)
