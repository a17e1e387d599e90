"""Train one patient model, in memory: an experiment is short, so a killed one is done again whole.

A loop of its own, without checkpoints; the update is the engine's own `train_step`.  The state that does best on the
tuning cases, by loss, is kept at the end; where there are none, the last.  All randomness is the seed's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Step, train_step
from ckd_dist.engine.optim import schedule
from ckd_dist.schedule import steps_per_epoch
from ckd_dist.studies.concepts.regimes import TrainingCases
from ckd_dist.studies.concepts.task import CaseTask
from ckd_dist.world import World

ALONE = World(0, 1)
CASES_AT_ONCE = 1024  # when nothing is learned
WINDOW = 16  # batches that share their cases out by length


@dataclass(frozen=True)
class FitOptions:
    """How a patient model is trained.

    from_start: the untrained state may be the best (a model that is tuned may be best left alone).  by_length: cases of
    one batch are about as long as one another, for a model whose time grows with padding.
    """

    optim: Optim
    num_steps: int
    seed: int
    device: str = "cpu"
    from_start: bool = False
    by_length: bool = False


@dataclass(frozen=True)
class Probe:
    """Look at the model, as it then is, at some steps of its training, and choose no state: the last is kept."""

    steps: tuple[int, ...]
    look: Callable[[int], None]


@dataclass(frozen=True)
class ChosenStep:
    """Which step was chosen, of how many, and the tuning cases' loss there; NaN where there are none."""

    step: int
    num_steps: int
    tuning_loss: float


def fit_patient(
    model: nn.Module, task: CaseTask, cases: TrainingCases, options: FitOptions, probe: Probe | None = None
) -> ChosenStep:
    """Train `model` on the training cases, and leave it as it was at its best on the tuning cases.

    probe: looks on the way, and then nothing is chosen.
    """
    optim, rows = options.optim, cases.train
    engine = DdpEngine(model, optim, ALONE, device=options.device)
    factor = schedule(optim, options.num_steps)
    every = optim.evaluate_every or steps_per_epoch(len(rows), optim.batch_samples)
    best = _Best(model, task, cases.tuning) if probe is None and len(cases.tuning) else None
    if best and options.from_start:
        best.see(engine, 0)
    torch.manual_seed(options.seed)  # once: a call costs a millisecond, as much as a step
    for done, chosen in enumerate(_batches(rows, task.cases.length_N, options), 1):
        if probe and done - 1 in probe.steps:
            probe.look(done - 1)
        engine.set_learning_rate(factor(done - 1))
        batch = task.collate(chosen).to(engine.device)
        train_step(engine, Step([batch], float(len(chosen))), task.loss)
        if best and (done % every == 0 or done == options.num_steps):
            best.see(engine, done)
    if probe and options.num_steps in probe.steps:
        probe.look(options.num_steps)
    model.eval()
    return best.restore(options.num_steps) if best else ChosenStep(options.num_steps, options.num_steps, float("nan"))


@torch.inference_mode()
def predict_outcomes(model: nn.Module, task: CaseTask, rows: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Return the logits of the outcomes of cases `rows`, float32 [N, K]."""
    was_training = model.training
    model.eval()
    parts = [
        model(batch.input_ids_BL, batch.attention_BL)[:, : len(task.cases.names)].float().cpu().numpy()
        for batch in (task.collate(part).to(device) for part in _cut(rows))
    ]
    model.train(was_training)
    return np.concatenate([np.zeros((0, len(task.cases.names)), np.float32), *parts])


def _cut(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), CASES_AT_ONCE):
        yield rows[start : start + CASES_AT_ONCE]


def _batches(rows: np.ndarray, length_N: np.ndarray, options: FitOptions) -> Iterator[np.ndarray]:
    """Yield `num_steps` batches: every case once an epoch, in an order of its own, of like lengths within a window."""
    if len(rows) == 0:
        raise ValueError("there is no case to learn from")
    size, length_T = options.optim.batch_samples, length_N[rows]
    by_length = options.by_length and bool(length_T.any())
    done, epoch = 0, 0
    while done < options.num_steps:
        random = np.random.default_rng([options.seed, epoch])
        order = random.permutation(len(rows))
        if by_length:
            windows = np.split(order, np.arange(WINDOW * size, len(order), WINDOW * size))
            order = np.concatenate([window[np.argsort(length_T[window], kind="stable")] for window in windows])
        starts = np.arange(0, len(rows), size)
        for start in random.permutation(starts) if by_length else starts:
            if done == options.num_steps:
                return
            yield rows[order[start : start + size]]
            done += 1
        epoch += 1


class _Best:
    """The trainable weights where the tuning cases' loss was least."""

    def __init__(self, model: nn.Module, task: CaseTask, tuning: np.ndarray) -> None:
        self.model, self.task, self.tuning = model, task, tuning
        self.step, self.loss, self.state = 0, float("inf"), self._copy()

    def see(self, engine: DdpEngine, step: int) -> None:
        """Score the model on the tuning cases, and keep its weights where they are the best so far."""
        total = 0.0
        for part in _cut(self.tuning):
            batch = self.task.collate(part).to(engine.device)
            total += float(self.task.loss(engine.predict(batch), batch))
        if total / len(self.tuning) < self.loss:
            self.step, self.loss, self.state = step, total / len(self.tuning), self._copy()

    def restore(self, num_steps: int) -> ChosenStep:
        """Give the model its best weights back."""
        with torch.no_grad():
            for name, parameter in self._trainable():
                parameter.copy_(self.state[name])
        return ChosenStep(self.step, num_steps, self.loss)

    def _trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def _copy(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self._trainable()}
