"""A tagger leaves home: what it must take along to read other notes, and the reading itself.

    student/  weights, tokenizer, reading.json (types, window)      OUT/  entities.jsonl  brat/  entities.html

Tokens and logits are made for some notes at a time; nothing is written but below OUT.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ckd_dist.models.teacher import load_tokenizer
from ckd_dist.notes.document import Document
from ckd_dist.notes.note import Found, Mention, Note, best_tags, spans
from ckd_dist.notes.read import note_of
from ckd_dist.studies.ner.report.highlight import Marked, write_page
from ckd_dist.studies.ner.standoff import write_brat, write_jsonl
from ckd_dist.studies.ner.tagger import load_tagger
from ckd_dist.studies.ner.windows import cut
from ckd_dist.studies.ner.word_scores import predict_units

READING = "reading.json"
PIECE = 200  # notes at a time
MICRO_TOKENS = {"cpu": 512, "cuda": 65536}  # a small batch stays in a CPU's cache (tests/bench/tagger_inference.py)


def pack(folder: Path, types: Sequence[str], max_tokens: int, context_tokens: int) -> None:
    """Put beside a tagger's weights how it reads."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"types": list(types), "max_tokens": max_tokens, "context_tokens": context_tokens}
    (folder / READING).write_text(json.dumps(told, indent=1))


def tag(
    model: Path, notes: Sequence[Note], device: str, track: Callable[..., None] = lambda done, total: None
) -> Iterator[list[Found]]:
    """The entities of each note, as the tagger in `model` sees them; the confidence is the least sure word's.

    Raises ValueError where `model` is not a tagger that this project exported.
    """
    types = read_types(model)
    told = json.loads((model / READING).read_text())
    tokenizer, head = load_tokenizer(model), load_tagger(model, device=device)
    done = 0
    for start in range(0, len(notes), PIECE):
        piece = notes[start : start + PIECE]
        windows = cut(piece, tokenizer, max_tokens=told["max_tokens"], context_tokens=told["context_tokens"])
        score_UK = predict_units(
            head, windows, micro_tokens=MICRO_TOKENS[device], pad_id=tokenizer.pad_token_id, device=device
        )
        ends = np.cumsum([len(note) for note in piece])
        for note, end in zip(piece, ends, strict=True):
            yield found(note, score_UK[end - len(note) : end], types)
        done += len(piece)
        track(done, len(notes))


def found(note: Note, score_UK: np.ndarray, types: Sequence[str]) -> list[Found]:
    """The mentions that log-probabilities [U, K] say, each as sure as its least sure word."""
    tags_U = best_tags(score_UK)
    sure_U = np.exp(score_UK[np.arange(len(tags_U)), tags_U])
    return [
        Found(
            Mention(int(note.start_U[first]), int(note.end_U[last - 1]), types[kind]), float(sure_U[first:last].min())
        )
        for first, last, kind in spans(tags_U).tolist()
    ]


def extract(
    model: Path, documents: Sequence[Document], out: Path, device: str, track: Callable[..., None]
) -> dict[str, int]:
    """Write the entities of all documents below `out`; return counts of notes, words and entities."""
    types = read_types(model)
    notes = [note_of(replace(document, mentions=None), {}) for document in documents]
    found = list(tag(model, notes, device, track))
    out.mkdir(parents=True, exist_ok=True)
    rows = [(document.name, document.text, claims) for document, claims in zip(documents, found, strict=True)]
    write_jsonl(out / "entities.jsonl", rows)
    for name, text, claims in rows:
        write_brat(out / "brat", name, text, claims)
    write_page(out / "entities.html", [Marked(*row) for row in rows], types, title="Entities")
    return {"notes": len(notes), "words": sum(map(len, notes)), "entities": sum(map(len, found))}


def read_types(model: Path) -> list[str]:
    """The types that a tagger looks for.  Raises ValueError where `model` is not one of this project."""
    if not (model / READING).is_file():
        raise ValueError(f"{model} is no tagger of this project: {READING} is missing; give RUN/student of an ner run")
    return json.loads((model / READING).read_text())["types"]
