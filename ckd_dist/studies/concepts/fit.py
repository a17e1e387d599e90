"""One patient model is trained, in memory: a cell is short, so a killed one is done again whole.

The update is the engine's own `train_step`.  The state that does best on the tuning cases, by loss, is what stands at
the end; where there are none, the last.  All randomness is the seed's.
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
from ckd_dist.studies.concepts.task import CaseTask
from ckd_dist.world import World

ALONE = World(0, 1)
CASES_AT_ONCE = 1024  # when nothing is learned
WINDOW = 16  # batches that share their cases out by length


@dataclass(frozen=True)
class Fitted:
    """Which step was chosen, of how many, and the tuning cases' loss there; NaN where there are none."""

    step: int
    num_steps: int
    tuning_loss: float


def fit(
    model: nn.Module,
    task: CaseTask,
    rows: np.ndarray,
    tuning: np.ndarray,
    optim: Optim,
    num_steps: int,
    seed: int,
    device: str = "cpu",
    *,
    from_start: bool = False,
    pays_for_padding: bool = False,
    look: Callable[[int], None] | None = None,
    looks: tuple[int, ...] = (),
) -> Fitted:
    """Train `model` on cases `rows` for `num_steps` updates, and leave it as it was at its best on `tuning`.

    pays_for_padding: cases of one batch are about as long as one another.  from_start: the untrained state may be the
    best (a model that is tuned may be best left alone).  look: called at the steps of `looks` with the model as it then
    is; where it is given, nothing is chosen and the last state stands.
    """
    engine = DdpEngine(model, optim, ALONE, device=device)
    factor = schedule(optim, num_steps)
    every = optim.evaluate_every or max(1, -(-len(rows) // optim.batch_samples))
    best = _Best(model, task, tuning) if look is None and len(tuning) else None
    if best and from_start:
        best.see(engine, 0)
    torch.manual_seed(seed)  # once: a call costs a millisecond, as much as a step
    length_N = task.cases.length_N[rows] if pays_for_padding else np.zeros(len(rows), np.int64)
    for done, chosen in enumerate(_batches(rows, length_N, optim.batch_samples, num_steps, seed), 1):
        if look and done - 1 in looks:
            look(done - 1)
        engine.set_learning_rate(factor(done - 1))
        batch = task.collate(chosen).to(engine.device)
        train_step(engine, Step([batch], float(len(chosen))), task.loss)
        if best and (done % every == 0 or done == num_steps):
            best.see(engine, done)
    if look and num_steps in looks:
        look(num_steps)
    model.eval()
    return best.restore(num_steps) if best else Fitted(num_steps, num_steps, float("nan"))


@torch.inference_mode()
def predict(model: nn.Module, task: CaseTask, rows: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Logits of the outcomes of cases `rows`, float32 [N, K]."""
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


def _batches(
    rows: np.ndarray, length_N: np.ndarray, batch_samples: int, num_steps: int, seed: int
) -> Iterator[np.ndarray]:
    """Every case once an epoch, in an order of its own; `num_steps` batches, of like lengths within a window."""
    if len(rows) == 0:
        raise ValueError("there is no case to learn from")
    done, epoch = 0, 0
    while done < num_steps:
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(rows))
        if length_N.any():
            windows = np.split(order, np.arange(WINDOW * batch_samples, len(order), WINDOW * batch_samples))
            order = np.concatenate([window[np.argsort(length_N[window], kind="stable")] for window in windows])
        starts = np.arange(0, len(rows), batch_samples)
        for start in random.permutation(starts) if length_N.any() else starts:
            if done == num_steps:
                return
            yield rows[order[start : start + batch_samples]]
            done += 1
        epoch += 1


class _Best:
    """The trainable weights where the tuning cases' loss was least."""

    def __init__(self, model: nn.Module, task: CaseTask, tuning: np.ndarray) -> None:
        self.model, self.task, self.tuning = model, task, tuning
        self.step, self.loss, self.state = 0, float("inf"), self._copy()

    def see(self, engine: DdpEngine, step: int) -> None:
        total = 0.0
        for part in _cut(self.tuning):
            batch = self.task.collate(part).to(engine.device)
            total += float(self.task.loss(engine.predict(batch), batch))
        if total / len(self.tuning) < self.loss:
            self.step, self.loss, self.state = step, total / len(self.tuning), self._copy()

    def restore(self, num_steps: int) -> Fitted:
        with torch.no_grad():
            for name, parameter in self._trainable():
                parameter.copy_(self.state[name])
        return Fitted(self.step, num_steps, self.loss)

    def _trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def _copy(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self._trainable()}
