"""What is saved loads with plain transformers and PEFT, gives the same logits, and is all safetensors."""

import shutil
from dataclasses import replace

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

from ckd_dist.config import Lora
from ckd_dist.models.adapter import adopt_adapter
from ckd_dist.models.card import Card
from ckd_dist.models.encoder import build_student
from ckd_dist.models.export import export_student, export_teacher
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.predict import load_classifier
from ckd_dist.models.teacher import build_answerer, build_classifier
from tests.models.small import ADAPTER, FULL, NAMES, TEXTS, shake

CARD = Card(data="MIMIC-III 1.4", cohort="pairs of visits", scores={"auroc": 0.7})


def shaken(build, *arguments):
    model = build(*arguments)
    shake(model)
    return model.eval()


def logits(model, tokenizer):
    batch = tokenizer(TEXTS[:4], padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(batch.input_ids, batch.attention_mask)


def plain_logits(model, folder):
    batch = AutoTokenizer.from_pretrained(folder)(TEXTS[:4], padding=True, return_tensors="pt")
    with torch.no_grad():
        return model.eval()(**batch).logits


def check_files(folder):
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert not [f for f in files if f.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"} or f.name.startswith(".")]
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            assert all(0 not in weights.get_slice(name).get_shape() for name in weights.keys())  # noqa: SIM118


@pytest.fixture(scope="module")
def lora_teacher(tmp_path_factory, teacher_base, teacher_tokenizer):
    """(folder, the logits it must give)"""
    folder = tmp_path_factory.mktemp("lora")
    model = shaken(build_classifier, teacher_base, NAMES, ADAPTER)
    export_teacher(model, teacher_tokenizer, folder, card=CARD)
    return folder, logits(model, teacher_tokenizer)


def test_lora_teacher_loads_everywhere(lora_teacher, teacher_tokenizer):
    folder, wanted = lora_teacher
    check_files(folder)
    config = AutoConfig.from_pretrained(folder, subfolder="classifier")
    assert tuple(config.id2label.values()) == NAMES and config.problem_type == "multi_label_classification"
    plain = AutoModelForSequenceClassification.from_pretrained(folder, config=config)
    torch.testing.assert_close(plain_logits(plain, folder), wanted)
    peft = AutoPeftModelForSequenceClassification.from_pretrained(
        str(folder), num_labels=len(NAMES), pad_token_id=config.pad_token_id
    )
    torch.testing.assert_close(plain_logits(peft, folder), wanted)
    torch.testing.assert_close(logits(load_classifier(folder), teacher_tokenizer), wanted, atol=1e-5, rtol=0)


def test_full_teacher_loads_with_auto_model_and_pipeline(tmp_path, teacher_base, teacher_tokenizer):
    model = shaken(build_classifier, teacher_base, NAMES, FULL)
    mark = export_teacher(model, teacher_tokenizer, tmp_path, card=CARD)
    check_files(tmp_path)
    assert mark == fingerprint(tmp_path)
    wanted = logits(model, teacher_tokenizer)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(plain).__name__ == "Qwen2ForSequenceClassification"
    torch.testing.assert_close(plain_logits(plain, tmp_path), wanted)
    torch.testing.assert_close(logits(load_classifier(tmp_path), teacher_tokenizer), wanted)
    check_pipeline(tmp_path, wanted)


def test_student_loads_with_auto_model_and_pipeline(tmp_path, student_base, student_tokenizer):
    model = shaken(build_student, student_base, NAMES)
    export_student(model, student_tokenizer, tmp_path, card=CARD)
    check_files(tmp_path)
    wanted = logits(model, student_tokenizer)
    torch.testing.assert_close(
        plain_logits(AutoModelForSequenceClassification.from_pretrained(tmp_path), tmp_path), wanted
    )
    torch.testing.assert_close(logits(load_classifier(tmp_path), student_tokenizer), wanted)
    check_pipeline(tmp_path, wanted)


def check_pipeline(folder, wanted):
    classify = pipeline("text-classification", model=str(folder), top_k=None, function_to_apply="none")
    for scores, row in zip(classify(TEXTS[:4]), wanted, strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        assert [by_name[name] for name in NAMES] == pytest.approx(row.tolist(), abs=1e-5)


def test_gathered_float32_weights_are_saved_in_the_models_dtype(tmp_path, teacher_base, teacher_tokenizer):
    model = shaken(build_classifier, teacher_base, NAMES, replace(ADAPTER, dtype=torch.bfloat16))
    gathered = {name: p.detach().float() for name, p in model.named_parameters() if p.requires_grad}
    assert export_teacher(model, teacher_tokenizer, tmp_path / "a", gathered) == export_teacher(
        model, teacher_tokenizer, tmp_path / "b"
    )
    with safe_open(tmp_path / "a" / "adapter_model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.bfloat16}  # noqa: SIM118


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda tensor: torch.empty(0), "is empty"),
        (lambda tensor: tensor * float("nan"), "not finite"),
        (lambda tensor: None, "were not handed over"),
    ],
)
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_bad_tensor_is_refused_and_what_was_there_stays(
    spoil, words, tuning, tmp_path, teacher_base, teacher_tokenizer
):
    model = build_classifier(teacher_base, NAMES, replace(FULL, tuning=tuning))
    mark = export_teacher(model, teacher_tokenizer, tmp_path)
    name = next(
        name for name, p in model.named_parameters() if p.requires_grad and "q_proj" in name and "weight" in name
    )
    bad = dict(model.state_dict()) | {name: spoil(model.state_dict()[name])}
    with pytest.raises(ValueError, match=words):
        export_teacher(model, teacher_tokenizer, tmp_path, {k: v for k, v in bad.items() if v is not None})
    assert fingerprint(tmp_path) == mark
    check_files(tmp_path)


def test_export_leaves_checkpoints_and_takes_away_another_shape(tmp_path, teacher_base, teacher_tokenizer):
    (tmp_path / "step_000500").mkdir()
    (tmp_path / "step_000500" / "state.safetensors").write_bytes(b"kept")
    (tmp_path / "calibration.json").write_text("{}")
    for tuning in ("full", "lora"):
        model = build_classifier(teacher_base, NAMES, replace(FULL, tuning=tuning))
        export_teacher(model, teacher_tokenizer, tmp_path)
    assert (tmp_path / "step_000500" / "state.safetensors").exists() and (tmp_path / "calibration.json").exists()
    assert not (tmp_path / "model.safetensors").exists() and not (tmp_path / "config.json").exists()
    load_classifier(tmp_path)


def test_card_says_what_it_must_and_names_no_path(lora_teacher, teacher_base):
    card = (lora_teacher[0] / "README.md").read_text()
    for words in ("trained on patient data", "MIMIC-III 1.4", "pairs of visits", "not a medical device",
                  "treat as that of the source tables", "Leakage",
                  "transformers 5", *NAMES, fingerprint(lora_teacher[0])):  # fmt: skip
        assert words in card, words
    assert str(teacher_base.parent) not in card and card.startswith("---\n")


def test_moved_run_still_finds_its_base(tmp_path, teacher_base, teacher_tokenizer):
    shutil.copytree(teacher_base, tmp_path / "run" / "base")
    model = shaken(build_classifier, tmp_path / "run" / "base", NAMES, ADAPTER)
    mark = export_teacher(model, teacher_tokenizer, tmp_path / "run" / "teacher")
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "teacher"
    assert fingerprint(moved) == mark
    torch.testing.assert_close(
        logits(load_classifier(moved), teacher_tokenizer), logits(model, teacher_tokenizer), atol=1e-5, rtol=0
    )
    shutil.rmtree(tmp_path / "moved" / "base")
    with pytest.raises(FileNotFoundError, match="its base"):
        load_classifier(moved)


def test_not_a_model_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="not an exported classifier"):
        load_classifier(tmp_path)


# --- from the supervised phase to the classification phase ---


def test_full_answerer_becomes_the_classifiers_base(tmp_path, teacher_base, teacher_tokenizer):
    answerer = shaken(build_answerer, teacher_base, FULL)
    export_teacher(answerer, teacher_tokenizer, tmp_path)
    check_files(tmp_path)
    classifier = build_classifier(tmp_path, NAMES, ADAPTER)
    ids = torch.arange(5, 25)[None]
    hidden = [model.plain.base_model(input_ids=ids).last_hidden_state for model in (answerer, classifier)]
    torch.testing.assert_close(hidden[0], hidden[1])
    AutoModelForCausalLM.from_pretrained(tmp_path)


def test_adapter_carries_over(tmp_path, teacher_base, teacher_tokenizer):
    answerer = shaken(build_answerer, teacher_base, ADAPTER)
    export_teacher(answerer, teacher_tokenizer, tmp_path)
    classifier = build_classifier(teacher_base, NAMES, ADAPTER)
    ids = torch.arange(5, 25)[None]
    wanted = answerer.plain.base_model(input_ids=ids).last_hidden_state
    assert not torch.allclose(classifier.plain.base_model(input_ids=ids).last_hidden_state, wanted)
    adopt_adapter(classifier, tmp_path)
    torch.testing.assert_close(classifier.plain.base_model(input_ids=ids).last_hidden_state, wanted)


@pytest.mark.parametrize("other", [{"rank": 2}, {"alpha": 16}, {"targets": ("q_proj", "v_proj")}])
def test_another_adapter_is_refused(other, tmp_path, teacher_base, teacher_tokenizer):
    answerer = build_answerer(teacher_base, replace(ADAPTER, lora=Lora(**{"rank": 4, "alpha": 8} | other)))
    export_teacher(answerer, teacher_tokenizer, tmp_path)
    classifier = build_classifier(teacher_base, NAMES, ADAPTER)
    with pytest.raises(ValueError, match="is not the classification phase's"):
        adopt_adapter(classifier, tmp_path)
    with pytest.raises(ValueError, match="trains no adapter"):
        adopt_adapter(build_classifier(teacher_base, NAMES, FULL), tmp_path)


def test_a_tensor_without_a_partner_is_refused(tmp_path, teacher_base, teacher_tokenizer):
    from safetensors.torch import load_file, save_file

    answerer = build_answerer(teacher_base, ADAPTER)
    export_teacher(answerer, teacher_tokenizer, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors["base_model.model.other.layers.0.lora_A.weight"] = tensors.pop(sorted(tensors)[0])
    save_file(tensors, file)
    classifier = build_classifier(teacher_base, NAMES, ADAPTER)
    with pytest.raises(ValueError, match="2 tensors have no partner"):
        adopt_adapter(classifier, tmp_path)
