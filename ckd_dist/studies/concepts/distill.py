"""A small encoder learns a large model's space from phrases, so that a new hospital's vocabulary costs a BERT.

It learns from the phrases of the sources alone, of the first pair of the grid, and of a list that the recipe names; a
share of them is held out to choose the checkpoint.  The target's other phrases it has to place by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ckd_dist.config import DataParallelism
from ckd_dist.engine.choose import data_parallel
from ckd_dist.engine.export import Form, Trained, publish, with_scores
from ckd_dist.engine.loop import Fitted, Phase
from ckd_dist.engine.train import predict, train
from ckd_dist.models.base import Start, load_tokenizer
from ckd_dist.models.card import Card
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.read import read_labels
from ckd_dist.softlabels.stream import eval_slots, steps_of
from ckd_dist.studies.concepts.cases.cases import read_cases
from ckd_dist.studies.concepts.embed import read_phrases
from ckd_dist.studies.concepts.encoder import build_concept_student, export_concept_student, load_concept_student
from ckd_dist.studies.concepts.grid import members, pairs
from ckd_dist.studies.concepts.runfolder import ConceptsRun
from ckd_dist.studies.concepts.task import SpaceTask, SpaceWeights
from ckd_dist.world import World


@dataclass(frozen=True)
class TokenRows:
    """Rows of token ids (models.rows.Tokens)."""

    rows: Sequence[np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        """Count the tokens of each row, int64 [N]."""
        return np.array([len(row) for row in self.rows], np.int64)

    def row(self, i: int) -> np.ndarray:
        """Return the token ids of row `i`."""
        return self.rows[i]


@dataclass(frozen=True, eq=False)
class TeacherVectors:
    """What the encoder learns: a large model's vectors of texts, a row each, of which it may see some."""

    texts: Sequence[str]  # phrases within the template
    vectors_ND: np.ndarray  # float32
    learned: np.ndarray  # rows that it may see


@dataclass(frozen=True)
class EncoderTraining:
    """How the encoder is trained, beside its schedule."""

    engine: DataParallelism
    dtype: str  # of activations
    held_out_fraction: float  # of its phrases, which only choose the checkpoint
    anchors: int  # phrases that relations are measured to
    weights: SpaceWeights


def train_encoder(
    training: EncoderTraining, start: Start, teacher: TeacherVectors, phase: Phase, world: World, card: Card
) -> Fitted | None:
    """Train and export the encoder; None where it was asked to stop."""
    tokenizer, width = load_tokenizer(start.base, start.revision), teacher.vectors_ND.shape[1]
    model = build_concept_student(start.base, width, start.revision, start.max_tokens, phase.optim.seed)
    engine = data_parallel(training.engine, model, phase.optim, world, training.dtype)
    learn, measure = split_rows(teacher.learned, training.held_out_fraction, phase.optim.seed)
    ids = tokenizer(list(teacher.texts), truncation=True, max_length=start.max_tokens)["input_ids"]
    anchors_AK = teacher.vectors_ND[sample_rows(learn, training.anchors, phase.optim.seed)]

    def task_of(rows: np.ndarray) -> SpaceTask:
        tokens = TokenRows([np.array(ids[row], np.int64) for row in rows])
        return SpaceTask(tokens, tokenizer.pad_token_id, teacher.vectors_ND[rows], anchors_AK, training.weights)

    task, tuning = task_of(learn), task_of(measure)

    def evaluate() -> dict[str, float]:
        if not len(measure):
            return {}
        slots = eval_slots(tuning.lengths, phase.optim.micro_tokens, world)
        return tuning.metrics(np.arange(len(measure)), predict(engine, tuning, slots, width))

    fitted = train(engine, task, steps_of(phase.optim, world, task.lengths, task.weights), phase, evaluate)
    if not fitted.complete:
        return None
    trained = Trained(model, tokenizer, with_scores(card, len(learn), fitted), (tuning, task))
    publish(engine, trained, phase, Form(export_concept_student, load_concept_student, training.dtype))
    return fitted


def read_vectors(run: ConceptsRun, plan: Plan) -> np.ndarray:
    """Read an embedding's vectors of all phrases in order, float32 [N, D], from its shards."""
    row_N, vectors_ND = read_labels(run.softlabels, plan, plan.names)
    ordered_ND = np.empty_like(vectors_ND)
    ordered_ND[row_N] = vectors_ND
    return ordered_ND.astype(np.float32)


def learned_rows(run: ConceptsRun, asked: Sequence[str], phrases: Sequence[str], further: str | None) -> np.ndarray:
    """Return the rows of the phrases that the encoder may see: what the source says, and the recipe's own list.

    asked: pairs of sites, as the grid names them.
    """
    cases = read_cases(run)
    source, _ = pairs(asked, cases.sites)[0]
    seen_V = cases.seen_V(cases.rows(members(source, cases.sites), "train"))
    known = {*cases.concepts.filter(pl.Series(seen_V))["text"], *read_phrases(further)}
    return np.array([row for row, phrase in enumerate(phrases) if phrase in known])


def split_rows(rows: np.ndarray, held_out_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split into rows to learn from, and rows that choose the checkpoint."""
    order = np.random.default_rng(seed).permutation(len(rows))
    num_held_out = round(held_out_fraction * len(rows))
    return np.sort(rows[order[num_held_out:]]), np.sort(rows[order[:num_held_out]])


def sample_rows(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Draw at most so many of the rows at random."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])
