"""Write the vectors of shards into tables by concept, a file an embedding; the small encoder's too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ckd_dist.models.embed import EmbedderOptions, load_embedder
from ckd_dist.studies.concepts.cases.cases import read_concepts
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.tables import RANDOM, Table, keys_of, random_table, unit

RANDOM_SEED = 0


def write_vector_tables(
    run: ConceptsRun, phrases: Sequence[str], vectors: Mapping[str, np.ndarray], random_width: int | None
) -> list[Path]:
    """Write a table an embedding, and the random baseline's where it has a width; return the files.

    vectors: by embedding, float32 [N, D], a row a phrase.
    """
    concepts = read_concepts(run)
    keys_V = keys_of(concepts)
    row_of = {phrase: row for row, phrase in enumerate(phrases)}
    row_V = np.array([row_of[text] for text in concepts["text"]], np.int64)
    tables = {
        name: Table(keys_V, vectors_ND[row_V], {"name": name, "width": vectors_ND.shape[1]})
        for name, vectors_ND in vectors.items()
    }
    if random_width:
        tables[RANDOM] = random_table(keys_V, random_width, RANDOM_SEED)
    for name, table in tables.items():
        table.save(run.vectors(name))
    return [run.vectors(name) for name in tables]


def embed_by_student(folder: Path, texts: Sequence[str], max_tokens: int, micro_tokens: int) -> np.ndarray:
    """Embed all texts by the small encoder, float32 [N, D]: a BERT's work, so one process does it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    embedder = load_embedder(folder, EmbedderOptions(max_tokens=max_tokens), device)
    return embedder.embed(texts, micro_tokens=micro_tokens)


def agreement(student_ND: np.ndarray, teacher_ND: np.ndarray, learned: np.ndarray) -> dict[str, float]:
    """Return the mean cosine over all phrases, and over those that the student did not learn from.

    learned: rows of the phrases that it was shown.
    """
    cosine_N = (unit(student_ND) * unit(teacher_ND)).sum(1)
    unlearned = np.setdiff1d(np.arange(len(cosine_N)), learned)
    numbers = {"phrases": len(cosine_N), "cosine": float(cosine_N.mean()), "unlearned": len(unlearned)}
    return numbers | ({"cosine_unlearned": float(cosine_N[unlearned].mean())} if len(unlearned) else {})
