"""The call of README and card, `aggregation_strategy="first"`, finds what annotate finds (notes_concepts.md N2)."""

import numpy as np
import pytest
import torch
from transformers import pipeline

from ckd_dist.config import Tiny
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.export import export_student
from ckd_dist.models.losses import Mixing
from ckd_dist.models.tiny import make_tiny_student
from ckd_dist.notes.document import Document
from ckd_dist.notes.note import Mention, Note, tag_names
from ckd_dist.notes.read import note_of
from ckd_dist.studies.ner import predict
from ckd_dist.studies.ner.rows import gold_of
from ckd_dist.studies.ner.tagger import build_tagger
from ckd_dist.studies.ner.task import CONTINUATION, NerTask, Reading, Tags
from ckd_dist.studies.ner.windows import cut

DISEASES = [
    "heart failure",
    "gout",
    "acute renal failure",
    "type 2 diabetes",
    "thrombocytopenia",
    "non-small-cell cancer",
]
DRUGS = ["aspirin", "furosemide", "insulin glargine", "piperacillin/tazobactam", "vitamin b12"]
LINES = [
    "{} was treated with {}.",
    "Admitted for {}; given {} twice.",
    "No sign of {}, stop {}.",
    "{} (on {}) is stable.",
]
TYPES = ["disease", "medication"]


def sentences() -> list[Note]:
    """All combinations, each name where it stands."""
    notes = []
    for line in LINES:
        for disease in DISEASES:
            for drug in DRUGS:
                text = line.format(disease, drug)
                places = ((text.index(name), name, kind) for name, kind in ((disease, TYPES[0]), (drug, TYPES[1])))
                mentions = tuple(Mention(start, start + len(name), kind) for start, name, kind in places)
                notes.append(note_of(Document("n", text, mentions), dict(zip(TYPES, TYPES, strict=True))))
    return notes


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A tagger of few pieces a vocabulary, so that most names are spelled, trained for seconds; and what it read."""
    folder, notes = tmp_path_factory.mktemp("student"), sentences()
    make_tiny_student(folder / "base", (), Tiny(hidden=32, layers=2, heads=4, vocabulary=300), 0, public=LINES)
    tokenizer, model = load_tokenizer(folder / "base"), build_tagger(folder / "base", tag_names(TYPES))
    windows = cut(notes, tokenizer, max_tokens=128, context_tokens=8)
    tags = Tags(gold_of(notes, TYPES).hard_U, 5)
    reading = Reading(tokenizer.pad_token_id, continuation=CONTINUATION)
    task = NerTask(windows, np.arange(len(windows)), tags, reading, Mixing(0.0, 1.0), 0.0)
    optimizer, draw = torch.optim.AdamW(model.parameters(), lr=3e-3), np.random.default_rng(0)
    for _ in range(120):
        batch = task.collate(draw.choice(len(windows), 16, replace=False))
        logits_UK = model.train()(batch.input_ids_BL, batch.attention_BL, batch.units_U2)
        optimizer.zero_grad()
        (task.loss(logits_UK, batch) / batch.mask_U.sum()).backward()
        optimizer.step()
    export_student(model.eval(), tokenizer, folder / "out")
    predict.pack(folder / "out", TYPES, 128, 8)
    return folder / "out", notes


def by_pipeline(folder, notes, how):
    find = pipeline("token-classification", model=str(folder), aggregation_strategy=how)
    return [{Mention(e["start"], e["end"], e["entity_group"]) for e in find(note.text)} for note in notes]


def by_annotate(folder, notes):
    return [{each.mention for each in found} for found in predict.find_entities(folder, notes)]


def f1(found, wanted):
    """Strict, micro: same characters and type."""
    right = sum(len(one & other) for one, other in zip(found, wanted, strict=True))
    return 2 * right / (sum(map(len, found)) + sum(map(len, wanted)))


def test_first_finds_what_annotate_finds_and_cuts_no_word(student):
    folder, notes = student
    ours, first = by_annotate(folder, notes), by_pipeline(folder, notes, "first")
    assert sum(map(len, ours)) > 100 and f1(first, ours) >= 0.95
    for note, mentions in zip(notes, first, strict=True):
        assert {m.start for m in mentions} <= set(note.start_U.tolist())
        assert {m.end for m in mentions} <= set(note.end_U.tolist())


def test_what_is_left_is_the_decoder_s_constraint(student, monkeypatch):
    """Without it (an I begins no entity) both are equal; a student that has learned less has more such tags."""
    folder, notes = student
    monkeypatch.setattr(predict, "best_tags", lambda score_UK: score_UK.argmax(1))
    assert by_annotate(folder, notes) == by_pipeline(folder, notes, "first")
