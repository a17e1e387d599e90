"""Vectors from shards to tables by concept, one a file; and those of the small encoder that has learned one of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ckd_dist.models.embed import load_embedder
from ckd_dist.schema import Run
from ckd_dist.softlabels.plan import Plan
from ckd_dist.studies.concepts.cases.cases import read_concepts
from ckd_dist.studies.concepts.config import Embeddings, Encoder
from ckd_dist.studies.concepts.distill import vectors_of
from ckd_dist.studies.concepts.embed import settings_of
from ckd_dist.studies.concepts.tables import Table, keys_of, random_table
from ckd_dist.studies.concepts.task import unit

RANDOM_SEED = 0


def tabulate(
    run: Run,
    settings: Embeddings,
    student: Encoder,
    plans: Mapping[str, Plan],
    phrases: Sequence[str],
    learned: Sequence[int],
) -> tuple[list[Path], dict]:
    """Write a table an embedding; return the files, and how near the student comes where it had to guess.

    learned: rows of the phrases that the student was shown.
    """
    concepts = read_concepts(run)
    keys_V = keys_of(concepts)
    row_of = {phrase: row for row, phrase in enumerate(phrases)}
    row_V = np.array([row_of[text] for text in concepts["text"]], np.int64)
    vectors = {name: vectors_of(run, plan) for name, plan in plans.items()}
    numbers = {}
    if student.of:
        vectors[student.name] = embed_by_student(run, student, settings_of(settings, student.of).template, phrases)
        unlearned = np.setdiff1d(np.arange(len(phrases)), learned)
        numbers = agreement(vectors[student.name], vectors[student.of], unlearned)
    tables = {
        name: Table(keys_V, vectors_ND[row_V], {"name": name, "width": vectors_ND.shape[1]})
        for name, vectors_ND in vectors.items()
    }
    if settings.random:
        tables["random"] = random_table(keys_V, settings.random, RANDOM_SEED)
    for name, table in tables.items():
        table.save(run.vectors(name))
    return [run.vectors(name) for name in tables], numbers


def embed_by_student(run: Run, student: Encoder, template: str, phrases: Sequence[str]) -> np.ndarray:
    """What the small encoder makes of all phrases, float32 [N, D]: a BERT's work, so one process does it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    embedder = load_embedder(run.student, max_tokens=student.max_tokens, device=device)
    return embedder.embed([template.format(phrase) for phrase in phrases], micro_tokens=student.optim.micro_tokens)


def agreement(student_ND: np.ndarray, teacher_ND: np.ndarray, unlearned: np.ndarray) -> dict[str, float]:
    """Mean cosine over all phrases, and over those that it did not learn from."""
    cosine_N = (unit(student_ND) * unit(teacher_ND)).sum(1)
    told = {"phrases": len(cosine_N), "cosine": float(cosine_N.mean()), "unlearned": len(unlearned)}
    return told | ({"cosine_unlearned": float(cosine_N[unlearned].mean())} if len(unlearned) else {})
