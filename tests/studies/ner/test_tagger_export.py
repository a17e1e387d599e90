"""A saved tagger runs in transformers' own pipeline, loads again with its CRF, and its card speaks of entities."""

import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer, pipeline

from ckd_dist.models.card import Card
from ckd_dist.models.encoder import build_student
from ckd_dist.models.export import export_student, export_teacher
from ckd_dist.models.fingerprint import fingerprint
from ckd_dist.models.predict import load_classifier
from ckd_dist.models.teacher import TeacherOptions
from ckd_dist.studies.ner.tagger import build_tag_teacher, build_tagger, load_tagger
from ckd_dist.studies.ner.word_scores import predict_units
from tests.models.small import LORA, NAMES, TAGS, TEXTS, random_windows, shake

CARD = Card(data="NCBI Disease", cohort="abstracts", scores={"entity_f1": 0.8})
FULL = TeacherOptions("full", LORA, torch.float32)
ADAPTER = TeacherOptions("lora", LORA, torch.float32)
WINDOWS = random_windows(5, 3, 20)


def scores(model):
    return predict_units(model, WINDOWS, micro_tokens=100, pad_id=0)


def shaken(model):
    """With a head that tells sub-words apart."""
    shake(model)
    for name, parameter in model.named_parameters():
        if (".score." in name or ".classifier." in name) and parameter.requires_grad:
            parameter.data.normal_(generator=torch.Generator().manual_seed(3))
    return model.eval()


def by_pipeline(find, model, tokenizer):
    """Groups of sub-words with one tag after the other, from the head's own logits, and what the pipeline finds."""
    kinds = set()
    for text in TEXTS[:3]:
        batch = tokenizer(text, return_tensors="pt", return_offsets_mapping=True, return_special_tokens_mask=True)
        places = (batch.special_tokens_mask[0] == 0).nonzero()[:, 0]
        units_U2 = torch.stack([torch.zeros_like(places), places], 1)
        with torch.no_grad():
            chain, model.crf = model.crf, None  # the pipeline knows nothing of it
            tags = model(batch.input_ids, batch.attention_mask, units_U2).argmax(1)
            model.crf = chain
        wanted = []
        for place, tag in zip(places.tolist(), (TAGS[k] for k in tags), strict=True):
            start, end = batch.offset_mapping[0, place].tolist()
            if wanted and not tag.startswith("B-") and wanted[-1][2] == tag.removeprefix("I-"):
                wanted[-1][1] = end
            else:
                wanted.append([start, end, tag.removeprefix("B-").removeprefix("I-")])
        found = [[entity["start"], entity["end"], entity["entity_group"]] for entity in find(text)]
        assert found == [group for group in wanted if group[2] != "O"]
        kinds |= {kind for _, _, kind in wanted}
    assert len(kinds) > 1


@pytest.mark.parametrize("crf", [False, True])
def test_student_runs_in_the_pipeline_and_loads_again(crf, tmp_path, student_base, student_tokenizer):
    model = shaken(build_tagger(student_base, TAGS, crf=crf))
    mark = export_student(model, student_tokenizer, tmp_path, card=CARD)
    assert mark == fingerprint(tmp_path)
    assert {f.name for f in tmp_path.glob("*.safetensors")} == {"model.safetensors"} | (
        {"crf.safetensors"} if crf else set()
    )
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        assert not any("crf" in name or "step" in name for name in weights.keys())  # noqa: SIM118
    find = pipeline("token-classification", model=str(tmp_path), aggregation_strategy="simple")
    by_pipeline(find, model, student_tokenizer)
    again = load_tagger(tmp_path)
    assert (again.crf is not None) == crf and not again.training
    np.testing.assert_allclose(scores(again), scores(model), atol=1e-5)


def test_full_teacher_runs_in_the_pipeline(tmp_path, teacher_base, teacher_tokenizer):
    model = shaken(build_tag_teacher(teacher_base, TAGS, FULL))
    export_teacher(model, teacher_tokenizer, tmp_path, card=CARD)
    by_pipeline(
        pipeline("token-classification", model=str(tmp_path), aggregation_strategy="simple"), model, teacher_tokenizer
    )
    np.testing.assert_allclose(scores(load_tagger(tmp_path)), scores(model), atol=1e-5)


def test_adapter_teacher_as_its_card_says(tmp_path, teacher_base, teacher_tokenizer):
    model = shaken(build_tag_teacher(teacher_base, TAGS, ADAPTER))
    export_teacher(model, teacher_tokenizer, tmp_path, card=CARD)
    config = AutoConfig.from_pretrained(tmp_path, subfolder="classifier")
    assert tuple(config.id2label.values()) == TAGS and config.problem_type is None
    whole = AutoModelForTokenClassification.from_pretrained(tmp_path, config=config)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    find = pipeline("token-classification", model=whole, tokenizer=tokenizer, aggregation_strategy="simple")
    by_pipeline(find, model, teacher_tokenizer)
    merged = load_tagger(tmp_path)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    np.testing.assert_allclose(scores(merged), scores(model), atol=1e-4)


def test_cards_are_about_entities(tmp_path, student_base, student_tokenizer, teacher_base, teacher_tokenizer):
    export_student(build_tagger(student_base, TAGS, crf=True), student_tokenizer, tmp_path / "student", card=CARD)
    export_teacher(build_tag_teacher(teacher_base, TAGS, ADAPTER), teacher_tokenizer, tmp_path / "teacher", card=CARD)
    for role in ("student", "teacher"):
        card = (tmp_path / role / "README.md").read_text()
        for words in ("trained on patient data", "pipeline_tag: token-classification", "entities in clinical notes",
                      "tuning notes", "not a medical device", 'aggregation_strategy="first"', *TAGS):  # fmt: skip
            assert words in card, words
        assert 'aggregation_strategy="simple"' not in card
        for words in ("next-visit", "next visit", "billing", "sigmoid", "SequenceClassification", "multi-label"):
            assert words not in card, words
    assert "crf.safetensors" in (tmp_path / "student" / "README.md").read_text()
    assert "AutoModelForTokenClassification.from_pretrained(FOLDER, config=config)" in card


def test_weights_as_an_engine_hands_them_over(tmp_path, student_base, student_tokenizer):
    """Float32 masters under the head's names; the CRF's among them, and missed where they are not."""
    model = shaken(build_tagger(student_base, TAGS, crf=True))
    gathered = {name: tensor.double() for name, tensor in model.state_dict().items()}
    assert export_student(model, student_tokenizer, tmp_path / "a", gathered) == export_student(
        model, student_tokenizer, tmp_path / "b"
    )
    del gathered["crf.step_KK"]
    with pytest.raises(ValueError, match="of the CRF were not handed over"):
        export_student(model, student_tokenizer, tmp_path / "a", gathered)
    gathered["crf.step_KK"] = torch.full((len(TAGS), len(TAGS)), float("inf"))
    with pytest.raises(ValueError, match="not finite"):
        export_student(model, student_tokenizer, tmp_path / "a", gathered)
    load_tagger(tmp_path / "a")


def test_another_chain_is_another_model_and_a_lost_one_is_missed(tmp_path, student_base, student_tokenizer):
    model = build_tagger(student_base, TAGS, crf=True)
    mark = export_student(model, student_tokenizer, tmp_path)
    tensors = load_file(tmp_path / "crf.safetensors")
    save_file(tensors | {"start_K": tensors["start_K"] + 1}, tmp_path / "crf.safetensors")
    assert fingerprint(tmp_path) != mark
    assert torch.equal(load_tagger(tmp_path).crf.start_K, torch.ones(len(TAGS)))
    save_file({name: tensor[:3] for name, tensor in tensors.items()}, tmp_path / "crf.safetensors")
    with pytest.raises(ValueError, match="another number of tags"):
        load_tagger(tmp_path)
    (tmp_path / "crf.safetensors").unlink()
    with pytest.raises(ValueError, match=r"crf\.safetensors is not in the folder"):
        load_tagger(tmp_path)


def test_an_exported_tagger_as_a_base_keeps_its_chain(tmp_path, student_base, student_tokenizer):
    model = shaken(build_tagger(student_base, TAGS, crf=True))
    export_student(model, student_tokenizer, tmp_path / "one")
    np.testing.assert_allclose(scores(build_tagger(tmp_path / "one", TAGS, crf=True)), scores(model), atol=1e-5)
    without = build_tagger(tmp_path / "one", TAGS)
    export_student(without, student_tokenizer, tmp_path / "one")
    assert load_tagger(tmp_path / "one").crf is None and not (tmp_path / "one" / "crf.safetensors").exists()


def test_another_models_folder_is_refused(tmp_path, student_base, student_tokenizer):
    """As many diseases as tags: the tensors would fit."""
    export_student(build_student(student_base, NAMES), student_tokenizer, tmp_path / "diseases")
    export_student(build_tagger(student_base, TAGS), student_tokenizer, tmp_path / "tags")
    with pytest.raises(ValueError, match="is no tagger"):
        load_tagger(tmp_path / "diseases")
    with pytest.raises(ValueError, match="is no classifier"):
        load_classifier(tmp_path / "tags")
    with pytest.raises(FileNotFoundError, match="not an exported tagger"):
        load_tagger(tmp_path)
    shutil.copy(tmp_path / "tags" / "README.md", tmp_path / "tags" / "modeling.py")
    with pytest.raises(ValueError, match="never run"):
        load_tagger(tmp_path / "tags")
