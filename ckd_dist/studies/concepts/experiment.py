"""Cells of the grid are done, each a number: build the patient model, move it as the regime says, score the target.

A cell that starts from a source model reads it from the source cell's file; where that is not there yet, it trains it
and keeps it: the same bytes, whoever does it.  So a cell depends on no other, and any worker may do any.
"""

import dataclasses
import os
import time
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit

from ckd_dist import stages
from ckd_dist.config import Optim, result_fields
from ckd_dist.report.metrics import auroc
from ckd_dist.schema import Run
from ckd_dist.studies.concepts import fit as fitting
from ckd_dist.studies.concepts import whiten
from ckd_dist.studies.concepts.cases.cases import read_cases
from ckd_dist.studies.concepts.config import ConceptRecipe, PatientModel
from ckd_dist.studies.concepts.embed import names_of, settings_of
from ckd_dist.studies.concepts.grid import Cell, Result, cells, is_done, members, model_names, path_of, source_cell
from ckd_dist.studies.concepts.patients import Codes, Patient, Vectors, build_patient, load_weights, weights_of
from ckd_dist.studies.concepts.regimes import TUNED, Learners, Lesson, cases_for, tune
from ckd_dist.studies.concepts.tables import Table, keys_of
from ckd_dist.studies.concepts.task import CaseTask

ONE_HOT, RANDOM = "one-hot", "random"
LOOKS = 12  # points of a curve over tuning steps


def embeddings_of(recipe: ConceptRecipe) -> list[str]:
    """Everything that a patient model may read, in the order of the report."""
    settings = recipe.embed
    return [
        *names_of(settings, recipe.student),
        *([ONE_HOT] if settings.one_hot else []),
        *([RANDOM] if settings.random else []),
    ]


class Planned:
    """The grid of a run: its cells in order, and what each depends on."""

    def __init__(self, recipe: ConceptRecipe, run: Run) -> None:
        self.recipe, self.run = recipe, run
        self.cases = read_cases(run)
        sites = self.cases.sites
        num_train = {site: len(self.cases.rows([site], "train")) for site in sites}
        self.cells, self.left_out = cells(recipe.grid, embeddings_of(recipe), num_train)

    @cached_property
    def _inputs(self) -> dict[str, str]:
        """Digest of what a model of each embedding reads: cases, concepts, and the embedding's table."""
        common = [stages.hash_file(self.run.cases), stages.hash_file(self.run.concepts)]
        tables = {name: self.run.vectors(name) for name in embeddings_of(self.recipe) if name != ONE_HOT}
        read = {name: stages.digest_of([*common, stages.hash_file(table)]) for name, table in tables.items()}
        return read | {ONE_HOT: stages.digest_of(common)}

    def digest(self, cell: Cell) -> str:
        """Of all that shapes a cell's result: the same digest, the same result."""
        grid = self.recipe.grid
        shaped = [self._inputs[cell.embedding], whitening_of(self.recipe, cell.embedding), grid.rates]
        shaped += [result_fields(self.model_of(cell)), result_fields(grid.train)]
        if cell.regime in TUNED:
            shaped += [result_fields(grid.tune), grid.steps_curve]
        return stages.digest_of([*shaped, grid.adversary_weight if cell.regime == "adversarial" else 0])

    def model_of(self, cell: Cell) -> PatientModel:
        """The settings of a cell's patient model."""
        models = self.recipe.grid.models
        return dict(zip(model_names(models), models, strict=True))[cell.model]

    def missing(self) -> list[int]:
        """Numbers of the cells that are not done, in order."""
        return [i for i, cell in enumerate(self.cells) if not is_done(self.run.cells, cell, self.digest(cell))]

    def results(self) -> tuple[list[Result], list[Path]]:
        """What every cell found, in order, and its file."""
        files = [path_of(self.run.cells, cell) for cell in self.cells]
        return [Result.read(file) for file in files], files


def whitening_of(recipe: ConceptRecipe, embedding: str) -> int | None:
    """Directions that an embedding keeps; a student those of what it learned."""
    student = recipe.student
    if embedding in (ONE_HOT, RANDOM):
        return None
    return settings_of(recipe.embed, student.of if student.of and embedding == student.name else embedding).whiten


class Worker:
    """One process with the cases of all sites; tables are read when they are first needed."""

    def __init__(self, recipe: ConceptRecipe, run: Run, device: str) -> None:
        self.planned, self.run, self.device = Planned(recipe, run), run, device
        self.grid, self.cases = recipe.grid, self.planned.cases
        self.keys_V = keys_of(self.cases.concepts)
        self.subject_N = self.cases.subject_N

    def do(self, number: int) -> None:
        """Do one cell and publish what it found.  Twice is harmless."""
        cell = self.planned.cells[number]
        if not is_done(self.run.cells, cell, self.planned.digest(cell)):
            self.result_of(cell).write(self.run.cells)

    def result_of(self, cell: Cell) -> Result:
        """Train and score.  The clock does not run while a source model is made, whose time is its own."""
        if first := source_cell(cell):
            self.source_weights(first)
        begun, held_out = time.time(), self.cases.rows([cell.target], "held_out")
        model, numbers = self.trained(cell)
        logits_NK = fitting.predict(model, CaseTask(self.cases), held_out, self.device)
        has_curve = self.grid.steps_curve and cell.regime in TUNED and cell.size is None
        return Result(
            cell,
            self.planned.digest(cell),
            self.cases.case_id_N[held_out],
            expit(logits_NK),
            curve=self.steps_curve(cell, held_out, numbers["rate"]) if has_curve else (),
            begun=begun,
            ended=time.time(),
            worker=os.getpid(),
            numbers=numbers,
            weights=weights_of(model) if cell.regime == "local" and cell.size is None else {},
        )

    def trained(self, cell: Cell) -> tuple[Patient, dict[str, float]]:
        """The model of a cell, ready to predict, and how its training went."""
        if cell.regime == "shared":
            return self.begun(cell)[0].to(self.device).eval(), {}
        optim = self.grid.tune if cell.regime in TUNED else self.grid.train
        tried = [self.trained_at(cell, optim, rate) for rate in self.grid.rates or (optim.learning_rate,)]
        return min(tried, key=lambda model_numbers: model_numbers[1]["tuning_loss"])

    def trained_at(self, cell: Cell, optim: Optim, rate: float) -> tuple[Patient, dict[str, float]]:
        """Trained at one learning rate."""
        model, lesson = self.begun(cell)
        task = CaseTask(self.cases, cell.target if cell.regime == "adversarial" else None)
        fitted = fitting.fit(
            model,
            task,
            lesson.train,
            lesson.tuning,
            dataclasses.replace(optim, learning_rate=rate),
            self.num_steps(cell, lesson),
            cell.seed,
            self.device,
            from_start=cell.regime in TUNED,
            pays_for_padding=self.planned.model_of(cell).kind == "transformer",
        )
        return model, {**vars(fitted), "num_train": len(lesson.train), "rate": rate}

    def begun(self, cell: Cell) -> tuple[Patient, Lesson]:
        """The model before its training, its trainable parameters chosen, and the cases that it learns from."""
        source, target = self.learners(cell.source), self.learners(cell.target)
        lesson = cases_for(cell.regime, source, target, cell.size, cell.seed)
        settings, first = self.planned.model_of(cell), source_cell(cell)
        adversary = self.grid.adversary_weight if cell.regime == "adversarial" else None
        learns_codes = cell.regime not in ("shared", "frozen")  # those know the source's alone, which its weights bring
        reads = self.reads(cell, lesson.train if learns_codes else lesson.train[:0])
        model = build_patient(settings, len(self.cases.names), reads, cell.seed, adversary)
        if first is not None:
            load_weights(model, self.source_weights(first))
        tune(model, cell.regime)
        return model, lesson

    def source_weights(self, first: Cell) -> dict[str, torch.Tensor]:
        """Of the source model, which is trained and kept here where nobody has done so yet."""
        if not is_done(self.run.cells, first, self.planned.digest(first)):
            self.result_of(first).write(self.run.cells)
        return dict(Result.read(path_of(self.run.cells, first), weights=True).weights)

    def num_steps(self, cell: Cell, lesson: Lesson) -> int:
        """As many updates for a few of the target's cases as for all, as the published code has it."""
        optim = self.grid.tune if cell.regime in TUNED else self.grid.train
        whole = len(lesson.train) if cell.size is None else len(lesson.train) + self.spared(cell)
        return max(1, round(optim.epochs * -(-whole // optim.batch_samples)))

    def spared(self, cell: Cell) -> int:
        """Training cases of the target that a size leaves out."""
        return len(self.learners(cell.target).train) - cell.size

    def steps_curve(self, cell: Cell, held_out: np.ndarray, rate: float) -> tuple[tuple[int, float], ...]:
        """Macro AUROC of the target while it is tuned on and on at a constant rate, nothing chosen."""
        model, lesson = self.begun(cell)
        optim = dataclasses.replace(self.grid.tune, schedule="constant", learning_rate=rate)
        num_steps = self.num_steps(cell, lesson) * self.grid.steps_curve
        task, found = CaseTask(self.cases), []

        def look(step: int) -> None:
            logits_NK = fitting.predict(model, task, held_out, self.device)
            found.append((step, macro_auroc(self.cases.outcomes_NK[held_out], logits_NK)))

        looks = (0, *sorted({max(1, round(num_steps ** (i / (LOOKS - 1)))) for i in range(LOOKS)}))
        none = np.zeros(0, np.int64)
        fitting.fit(model, task, lesson.train, none, optim, num_steps, cell.seed, self.device, look=look, looks=looks)
        return tuple(found)

    @lru_cache(maxsize=64)  # noqa: B019  (a worker lives as long as its process)
    def learners(self, site: str) -> Learners:
        """Rows of a site, or of all but one."""
        sites = members(site, self.cases.sites)
        return Learners(self.cases.rows(sites, "train"), self.cases.rows(sites, "tuning"), self.subject_N)

    def reads(self, cell: Cell, seen: np.ndarray) -> Vectors | Codes:
        """What the model reads: whitened vectors of the embedding, or codes that occur in cases `seen`."""
        if cell.embedding == ONE_HOT:
            return Codes(self.keys_V, self.cases.seen_V(seen), cell.seed)
        fresh = cell.regime == "local"
        return Vectors(self.vectors(cell.embedding, cell.target if fresh else cell.source))

    @lru_cache(maxsize=8)  # noqa: B019
    def vectors(self, embedding: str, source: str) -> np.ndarray:
        """An embedding's vectors of all concepts, on the scale of the source's."""
        vectors_VD = Table.open(self.run.vectors(embedding)).rows_of(self.keys_V)
        seen_V = self.cases.seen_V(self.learners(source).train)
        directions = whitening_of(self.planned.recipe, embedding)
        return whiten.fit(vectors_VD[seen_V], directions).apply(vectors_VD)


def macro_auroc(outcomes_NK: np.ndarray, logits_NK: np.ndarray) -> float:
    """Mean over the outcomes that have both classes; NaN where none has."""
    scores = [auroc(outcome_N, logit_N) for outcome_N, logit_N in zip(outcomes_NK.T, logits_NK.T, strict=True)]
    known = [score for score in scores if not np.isnan(score)]
    return float(np.mean(known)) if known else float("nan")
