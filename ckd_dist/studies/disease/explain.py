"""Which words of a visit does the student's prediction rest on?  The spans behind each disease, strongest first.

A span is what the text names: a diagnosis, a drug, a procedure, of this visit or an earlier one.  Its score is the sum
of its tokens' (models/attribution.py): what it adds to the disease's logit, before calibration.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ckd_dist.models.attribution import gradient_times_input
from ckd_dist.models.base import load_tokenizer
from ckd_dist.models.predict import load_classifier, predict_logits
from ckd_dist.models.rows import pad
from ckd_dist.report.calibrate import Calibration
from ckd_dist.schema import SPLITS
from ckd_dist.studies.disease import STUDY
from ckd_dist.studies.disease.prompts.render import KINDS
from ckd_dist.studies.disease.prompts.tokens import TokenTable
from ckd_dist.studies.disease.rows import read_table
from ckd_dist.studies.disease.runfolder import CALIBRATION, DiseaseRun

# S spans, L tokens, C diseases

NUM_DISEASES, NUM_SPANS = 3, 5  # that are shown
ITEMS = [kind for kind in KINDS if kind not in ("visit", "section")]  # these two are sums of what they hold


@dataclass(frozen=True)
class NamedSpan:
    """Something that a text names, and how much of a disease's logit it adds."""

    kind: str
    visit: int  # 0: this visit, 1: the one before
    text: str
    score: float

    @property
    def when(self) -> str:
        """Say which visit it is of."""
        return "this visit" if self.visit == 0 else f"{self.visit} visit{'s' if self.visit > 1 else ''} before"


@dataclass(frozen=True)
class Explained:
    """A disease, its calibrated probability, and the spans behind it, the strongest first."""

    disease: str
    probability: float
    spans: Sequence[NamedSpan]


def explain(recipe: Any, run: DiseaseRun, sample: str) -> str:
    """Return a page: the most probable diseases of a visit's next one, and what the student's prediction rests on.

    Raises ValueError where the student is not trained, or the run has no such sample.
    """
    if STUDY.ledger(recipe, run).state("distill").state != "done":
        raise ValueError(f"{run.root} has no finished student to explain: run distill")
    split, row = _find(run, sample)
    explained = explain_row(run, split, row)
    lines = [f"sample {sample} of {split}: what {run.student} rests on.  This is a record of a patient."]
    for each in explained:
        lines += ["", f"{each.disease}: {each.probability:.0%}"]
        lines += [f"  {span.score:+.2f}  {span.kind:<10}  {span.when:<16}  {span.text}" for span in each.spans]
    return "\n".join(
        [*lines, "", "A score is what the words add to the logit of the disease; below 0 they speak against it."]
    )


def explain_row(run: DiseaseRun, split: str, row: int) -> list[Explained]:
    """Return the most probable diseases of one row of a split, each with its strongest spans."""
    table, names = read_table(run, split, "student"), run.label_names()
    model, pad_id = load_classifier(run.student), load_tokenizer(run.student).pad_token_id
    logits_NK = predict_logits(model, table, np.array([row]), micro_tokens=1, pad_id=pad_id)
    (probability_K,) = Calibration.load(run.student / CALIBRATION, names).probabilities(logits_NK)
    columns = np.argsort(-probability_K, kind="stable")[:NUM_DISEASES].tolist()
    scores_CBL = gradient_times_input(model, *pad([table.row(row)], pad_id), columns)
    spans = _texts(run, split, row, table)
    found = []
    for column, scores_L in zip(columns, scores_CBL[:, 0].numpy(), strict=True):
        scored = [NamedSpan(*span, score) for span, score in zip(spans, span_scores(scores_L, table, row), strict=True)]
        items = sorted((s for s in scored if s.kind in ITEMS), key=lambda s: -abs(s.score))
        found.append(Explained(names[column], float(probability_K[column]), items[:NUM_SPANS]))
    return found


def span_scores(scores_L: np.ndarray, table: TokenTable, row: int) -> list[float]:
    """Return the sum of the tokens' scores over each span of a row; 0 for one of which the budget left no token."""
    tokens_S2, _, _ = table.spans(row)
    return [float(scores_L[first:last].sum()) for first, last in tokens_S2]


def _find(run: DiseaseRun, sample: str) -> tuple[str, int]:
    """Return the split of a sample and its row there."""
    for split in SPLITS:
        places = np.flatnonzero(
            read_table(run, split, "student").sample_id_N == (int(sample) if sample.isdigit() else -1)
        )
        if len(places):
            return split, int(places[0])
    raise ValueError(
        f"{run.root} has no sample {sample}: RUN/samples and RUN/predictions have their numbers in sample_id"
    )


def _texts(run: DiseaseRun, split: str, row: int, table: TokenTable) -> list[tuple[str, int, str]]:
    """Return kind, visit and text of every span of a row.  Raise ValueError where text and tokens have other spans."""
    prompt = pl.scan_parquet(run.prompts(split, "student")).slice(row, 1).collect().row(0, named=True)
    spans = [(span["kind"], span["visit"], prompt["text"][span["start"] : span["end"]]) for span in prompt["spans"]]
    _, kinds_S, visits_S = table.spans(row)
    same = prompt["sample_id"] == table.sample_id_N[row] and [
        (table.kinds[kind], visit) for kind, visit in zip(kinds_S, visits_S, strict=True)
    ] == [span[:2] for span in spans]
    if not same:
        raise ValueError(
            f"{run.prompts(split, 'student')} is of other spans than the tokens beside it: run prompt_student again"
        )
    return spans
