"""After an export the loaded folder predicts what the trained model predicts, or the run stops."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ckd_dist.config import Lora, Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.export import EXPORTED, Form, Trained, is_exported, publish
from ckd_dist.engine.readback import AGREE, MOST_ROWS, Expected, difference, few_rows, read_back, room_for
from ckd_dist.engine.task import Batch
from ckd_dist.engine.teacher import teacher_form
from ckd_dist.models.card import Card
from ckd_dist.models.encoder import build_student
from ckd_dist.models.export import export_student
from ckd_dist.models.predict import load_answerer, load_classifier
from ckd_dist.models.rows import pad
from ckd_dist.models.teacher import TeacherOptions, build_answerer, build_classifier
from ckd_dist.studies.concepts.encoder import (
    build_concept_student,
    export_concept_student,
    load_concept_student,
)
from ckd_dist.studies.ner.tagger import build_tag_teacher, build_tagger, load_tagger
from ckd_dist.world import World
from tests.engine.fakes import phase_of
from tests.models.small import NAMES, TAGS, random_rows, shake

EVERY = (*Lora().targets, "embed_tokens")


@dataclass(frozen=True)
class Reading:
    """Rows of tokens to read, twenty of them, some of which weigh nothing; a unit is a row, or a token of it."""

    by_token: bool = False

    @property
    def tokens(self):
        return random_rows(20, 4, 30)

    @property
    def lengths(self):
        return self.tokens.lengths

    @property
    def weights(self):
        return (np.arange(20) % 4 > 0).astype(float)

    def collate(self, rows):
        ids_BL, attention_BL = pad([self.tokens.row(row) for row in rows], 0)
        units_U2 = attention_BL.nonzero() if self.by_token else None
        nothing_U = torch.zeros(len(rows))
        return Batch(ids_BL, attention_BL, nothing_U, None, nothing_U, nothing_U, units_U2)


class Nothing(Reading):
    """A split without a row that weighs anything."""

    @property
    def weights(self):
        return np.zeros(20)


def options(tuning, dtype="float32"):
    return TeacherOptions(tuning, Lora(rank=4, alpha=8, dropout=0.0, targets=EVERY), getattr(torch, dtype))


def teacher(build, load, by_token, dtype="float32"):
    return build, teacher_form(load, dtype), Reading(by_token)


KINDS = {  # kind of model -> its build of two bases, its form, the task that gives rows
    "classifier": teacher(lambda t, s: build_classifier(t, NAMES, options("full")), load_classifier, False),
    "adapted classifier": teacher(lambda t, s: build_classifier(t, NAMES, options("lora")), load_classifier, False),
    "answerer": teacher(lambda t, s: build_answerer(t, options("full")), load_answerer, True),
    "adapted answerer": teacher(lambda t, s: build_answerer(t, options("lora")), load_answerer, True),
    "tag teacher": teacher(lambda t, s: build_tag_teacher(t, TAGS, options("lora")), load_tagger, True),
    "student": (
        lambda t, s: build_student(s, NAMES),
        Form(export_student, load_classifier, "float32"),
        Reading(),
    ),
    "tagger with a CRF": (
        lambda t, s: build_tagger(s, TAGS, crf=True),
        Form(export_student, load_tagger, "float32"),
        Reading(by_token=True),
    ),
    "encoder of phrases": (
        lambda t, s: build_concept_student(s, 12),
        Form(export_concept_student, load_concept_student, "float32"),
        Reading(),
    ),
}
FOLDERS = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def trained(request, tmp_path, teacher_base, student_base, teacher_tokenizer, student_tokenizer):
    """Make an engine with a trained model of a kind, what is exported of it, its phase and its form."""

    def make(kind):
        build, form, task = KINDS[kind]
        model = build(teacher_base, student_base)
        shake(model)
        if getattr(model, "crf", None) is not None:
            shake(model.crf, seed=2)
        is_teacher = form.export.args == ("teacher",) if isinstance(form.export, partial) else False
        tokenizer = teacher_tokenizer if is_teacher else student_tokenizer
        engine = DdpEngine(model, Optim(), World())
        return engine, Trained(model, tokenizer, Card(), (Nothing(), task)), phase_of(tmp_path), form

    return make


@FOLDERS
def test_the_loaded_folder_predicts_what_was_trained(kind, trained, tmp_path):
    """Against the model's own predictions, row by row; and the mark is there."""
    engine, what, phase, form = trained(kind)
    publish(engine, what, phase, form)
    assert is_exported(tmp_path, phase.digest)
    loaded = form.load(tmp_path, device="cpu")
    for row in range(5):
        batch = KINDS[kind][2].collate([row])
        with torch.no_grad():
            read_UK = loaded(batch.input_ids_BL, batch.attention_BL, batch.units_U2)
        torch.testing.assert_close(read_UK, engine.predict(batch), atol=2e-5, rtol=0)


def spoil(folder: Path) -> str:
    """Set one trained tensor of an export to zero; return its name."""
    files = [file for file in sorted(folder.rglob("*.safetensors")) if file.name != "trainable.safetensors"]
    named = {(file, name): tensor for file in files for name, tensor in load_file(file).items()}
    wanted = ("lora_embedding_B", "step_KK", "linear.weight", "embed_tokens", "word_embeddings")
    file, name = next(place for word in wanted for place in named if word in place[1])
    tensors = load_file(file)
    assert tensors[name].any()
    save_file(tensors | {name: torch.zeros_like(tensors[name])}, file, metadata={"format": "pt"})
    return name


@FOLDERS
def test_a_planted_loss_stops_the_run(kind, trained, tmp_path):
    """The export loses one tensor's values: one sentence, no mark, and what lies there is not gone on from."""
    engine, what, phase, form = trained(kind)
    (tmp_path / EXPORTED).write_text(phase.digest)  # of an earlier export
    lost = []

    def losing(model, tokenizer, folder, *more):
        mark = form.export(model, tokenizer, folder, *more)
        lost.append(spoil(folder))
        return mark

    with pytest.raises(ValueError, match=r"read back, it does not predict what was trained: logits are [\d.e+]+ stand"):
        publish(engine, what, phase, Form(losing, form.load, form.precision))
    assert lost and not is_exported(tmp_path, phase.digest)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_bfloat16_rounds_less_than_a_lost_tensor(tuning, tmp_path, teacher_base, teacher_tokenizer):
    """Weights and activations of 16 bits: an adapter merged into its base agrees within the bound, a loss does not."""
    form = teacher_form(load_classifier, "bfloat16")
    model = build_classifier(teacher_base, NAMES, options(tuning, "bfloat16"))
    shake(model)
    engine = DdpEngine(model, Optim(), World())
    publish(engine, Trained(model, teacher_tokenizer, Card(), (Reading(),)), phase_of(tmp_path), form)
    expected = Expected(few_rows((Reading(),), 1000), engine.predict(few_rows((Reading(),), 1000)), "bfloat16")
    spoil(tmp_path)
    with pytest.raises(ValueError, match="does not predict what was trained"):
        read_back(form.load, tmp_path, 0, expected)


def test_where_there_is_no_room_it_is_said_and_not_read(tmp_path, caplog):
    assert room_for(1, torch.device("cpu")) == torch.device("cpu") and room_for(10**18, torch.device("cpu")) is None
    expected = Expected(Reading().collate([0]), torch.zeros(1, 3), "float32")
    with caplog.at_level(logging.WARNING):
        read_back(lambda *_, **__: pytest.fail("it is loaded"), tmp_path, 10**18, expected)
    assert "is not read back: its 1000000000.0 GB of weights have no room" in caplog.text


@pytest.mark.parametrize("micro_tokens", [1, 50, 10_000])
def test_few_rows_are_the_shortest_that_weigh_and_fit(micro_tokens):
    task = Reading()
    lengths = sorted(task.lengths[task.weights > 0])[:MOST_ROWS]
    fit = [count for count in range(1, len(lengths) + 1) if count * lengths[count - 1] <= micro_tokens] or [1]
    batch = few_rows((Nothing(), task), micro_tokens)
    assert batch.attention_BL.sum(1).tolist() == lengths[: fit[-1]]


def test_what_is_not_a_number_or_of_another_shape_never_agrees():
    trained_UK = torch.randn(4, 3)
    for other_UK in (trained_UK * float("nan"), trained_UK[:2]):
        assert not difference(other_UK, trained_UK) <= AGREE["bfloat16"]
    assert difference(trained_UK + 0.5 * trained_UK.std(correction=0), trained_UK) == pytest.approx(0.5)
