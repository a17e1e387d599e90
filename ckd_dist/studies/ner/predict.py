"""Annotate new notes: what a tagger needs beside its weights to read other notes, and the reading itself.

    student/  weights, tokenizer, reading.json (types, window)      OUT/  entities.jsonl  brat/  entities.html

Tokens and logits are made for some notes at a time; nothing is written but below OUT.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ckd_dist.files import sweep, write
from ckd_dist.models.base import load_tokenizer
from ckd_dist.notes.note import Mention, Note, Prediction, best_tags, spans
from ckd_dist.notes.read import note_of, read_corpus
from ckd_dist.studies.ner.report.highlight import Marked, write_page
from ckd_dist.studies.ner.sources import source_of_notes
from ckd_dist.studies.ner.standoff import write_brat, write_jsonl
from ckd_dist.studies.ner.tagger import load_tagger
from ckd_dist.studies.ner.windows import cut
from ckd_dist.studies.ner.word_scores import predict_units
from ckd_dist.study import no_op

READING = "reading.json"
PIECE = 200  # notes at a time
MICRO_TOKENS = {"cpu": 512, "cuda": 65536}  # a small batch stays in a CPU's cache (tests/bench/tagger_inference.py)


def pack(folder: Path, types: Sequence[str], max_tokens: int, context_tokens: int) -> None:
    """Put beside a tagger's weights how it reads."""
    reading = {"types": list(types), "max_tokens": max_tokens, "context_tokens": context_tokens}
    write(folder / READING, json.dumps(reading, indent=1))


def annotate(model: str, notes: str, out: str, track: Callable[..., None]) -> str:
    """Write the entities of all notes below `out`; say how many there are, how fast, and where to look at them.

    notes: a folder of .txt files, or form:PATH.  The page comes last, and what it does not show is said.  Raises
    ValueError where `model` is not a tagger that this project exported, or `notes` is no corpus.
    """
    start, tagger, folder = time.monotonic(), Path(model), Path(out)
    types = unpack(tagger)["types"]
    documents = read_corpus(source_of_notes(notes)).documents
    plain = [note_of(replace(document, mentions=None), {}) for document in documents]
    found = list(find_entities(tagger, plain, track))
    sweep(folder)  # of a killed run
    rows = [(document.name, document.text, entities) for document, entities in zip(documents, found, strict=True)]
    write_jsonl(folder / "entities.jsonl", rows)
    write_brat(folder / "brat", rows)
    not_shown = write_page(folder / "entities.html", [Marked(*row) for row in rows], types, title="Entities")
    num_words, num_entities = sum(map(len, plain)), sum(map(len, found))
    words_per_second = num_words / (time.monotonic() - start)
    return (
        f"{len(plain):,} notes, {num_words:,} words, {num_entities:,} entities; "
        f"{words_per_second:,.0f} words a second; {folder / 'entities.html'}" + (f" ({not_shown})" if not_shown else "")
    )


def find_entities(model: Path, notes: Sequence[Note], track: Callable[..., None] = no_op) -> Iterator[list[Prediction]]:
    """Yield the entities of each note, as the tagger in `model` predicts them.

    Raises ValueError where `model` is not a tagger that this project exported.
    """
    device, reading = "cuda" if torch.cuda.is_available() else "cpu", unpack(model)
    tokenizer, tagger = load_tokenizer(model), load_tagger(model, device=device)
    done = 0
    for start in range(0, len(notes), PIECE):
        piece = notes[start : start + PIECE]
        windows = cut(piece, tokenizer, max_tokens=reading["max_tokens"], context_tokens=reading["context_tokens"])
        score_UK = predict_units(
            tagger, windows, micro_tokens=MICRO_TOKENS[device], pad_id=tokenizer.pad_token_id, device=device
        )
        ends = np.cumsum([len(note) for note in piece])
        for note, end in zip(piece, ends, strict=True):
            yield predictions_of(note, score_UK[end - len(note) : end], reading["types"])
        done += len(piece)
        track(done, len(notes))


def predictions_of(note: Note, score_UK: np.ndarray, types: Sequence[str]) -> list[Prediction]:
    """Return the mentions that log-probabilities [U, K] predict, each as sure as its least sure word."""
    tags_U = best_tags(score_UK)
    sure_U = np.exp(score_UK[np.arange(len(tags_U)), tags_U])
    return [
        Prediction(
            Mention(int(note.start_U[first]), int(note.end_U[last - 1]), types[kind]), float(sure_U[first:last].min())
        )
        for first, last, kind in spans(tags_U).tolist()
    ]


def unpack(model: Path) -> dict[str, Any]:
    """Read how a tagger reads, as `pack` wrote it.  Raise ValueError where `model` is not one of this project."""
    if not (model / READING).is_file():
        raise ValueError(f"{model} is no tagger of this project: {READING} is missing; give RUN/student of an ner run")
    try:
        reading = json.loads((model / READING).read_text())
    except json.JSONDecodeError:
        reading = None
    if isinstance(reading, dict) and "select" in reading:
        raise ValueError(f"{model} is a student of another study and tags nothing: give RUN/student of an ner run")
    if not isinstance(reading, dict) or not reading.keys() >= {"types", "max_tokens", "context_tokens"}:
        raise ValueError(f"{model / READING} does not say how this tagger reads: export it again")
    return reading
