"""A small encoder learns a large model's space from phrases, so that a new hospital's vocabulary costs a BERT.

It learns from the phrases of the sources alone, of the first pair of the grid, and of a list that the recipe names; a
share of them is held out to choose the checkpoint.  What it makes of the target's phrases it has to find out by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Engine, Fitted
from ckd_dist.engine.train import Watch, predict, train
from ckd_dist.engine.zero import ZeroEngine, read_sharding
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.card import Card
from ckd_dist.schema import Run
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import read_labels
from ckd_dist.studies.concepts.cases.cases import read_cases
from ckd_dist.studies.concepts.config import Encoder, Grid
from ckd_dist.studies.concepts.embed import read_phrases
from ckd_dist.studies.concepts.encoder import build_concept_student, export_concept_student
from ckd_dist.studies.concepts.grid import members, pairs
from ckd_dist.studies.concepts.task import SpaceTask
from ckd_dist.studies.disease.teach import publish, with_scores
from ckd_dist.world import World


@dataclass(frozen=True)
class Rows:
    """Rows of token ids (models.rows.Tokens)."""

    rows: Sequence[np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.rows], np.int64)

    def row(self, i: int) -> np.ndarray:
        return self.rows[i]


def student(
    run: Run,
    settings: Encoder,
    base: str,
    plan: Plan,
    phrases: Sequence[str],
    learned: np.ndarray,
    template: str,
    world: World,
    watch: Watch,
    digest: str,
    card: Card,
) -> Fitted | None:
    """Train and export the encoder; None where it was told to stop.

    plan: of the vectors, a row a phrase of `phrases`, in order.  learned: the rows that it may see.  template: said
    around a phrase.
    """
    tokenizer, width = load_tokenizer(base, settings.revision), len(plan.names)
    head = build_concept_student(base, width, settings.revision, settings.max_tokens, settings.optim.seed)
    engine = _engine(settings, head, world)
    vectors_ND = vectors_of(run, plan)
    learn, measure = split(learned, settings)
    said = [template.format(phrase) for phrase in phrases]
    ids = tokenizer(said, truncation=True, max_length=settings.max_tokens)["input_ids"]
    anchors_AK = vectors_ND[spread(learn, settings.loss.anchors, settings.optim.seed)]

    def task(rows: np.ndarray) -> SpaceTask:
        tokens = Rows([np.array(ids[row], np.int64) for row in rows])
        return SpaceTask(tokens, tokenizer.pad_token_id, vectors_ND[rows], anchors_AK, settings.loss)

    learning, measuring, optim = task(learn), task(measure), settings.optim

    def evaluate() -> dict[str, float]:
        if not len(measure):
            return {}
        got_ND = predict(engine, measuring, measuring.tokens.lengths, optim.micro_tokens, width)
        return measuring.metrics(np.arange(len(measure)), got_ND)

    fitted = train(
        engine,
        learning,
        learning.tokens.lengths,
        learning.weights,
        optim,
        evaluate,
        "cosine",
        run.student,
        digest,
        watch,
    )
    if not fitted.complete:
        return None
    publish(engine, head, tokenizer, run.student, digest, with_scores(card, len(learn), fitted), export_concept_student)
    return fitted


def vectors_of(run: Run, plan: Plan) -> np.ndarray:
    """An embedding's vectors of all phrases in order, float32 [N, D], from its shards."""
    row_N, vectors_ND = read_labels(run.softlabels, plan, plan.names)
    ordered_ND = np.empty_like(vectors_ND)
    ordered_ND[row_N] = vectors_ND
    return ordered_ND.astype(np.float32)


def learned_rows(run: Run, grid: Grid, phrases: Sequence[str], further: str | None) -> np.ndarray:
    """Rows of the phrases that the encoder may see: what the source says, and the recipe's own list."""
    cases = read_cases(run)
    source, _ = pairs(grid.pairs, cases.sites)[0]
    seen_V = cases.seen_V(cases.rows(members(source, cases.sites), "train"))
    known = {*cases.concepts.filter(pl.Series(seen_V))["text"], *read_phrases(further)}
    return np.array([row for row, phrase in enumerate(phrases) if phrase in known])


def split(rows: np.ndarray, settings: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and rows that choose the checkpoint."""
    order = np.random.default_rng(settings.optim.seed).permutation(len(rows))
    num_held_out = round(settings.held_out_fraction * len(rows))
    return np.sort(rows[order[num_held_out:]]), np.sort(rows[order[:num_held_out]])


def spread(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most so many of the rows, by chance."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def _engine(settings: Encoder, head, world: World) -> Engine:
    if settings.engine == "zero1":
        return ZeroEngine(head, settings.optim, world, sharding=read_sharding("zero1"), dtype=settings.dtype)
    return DdpEngine(head, settings.optim, world, dtype=settings.dtype)
