"""A training step of our engine against a plain PyTorch loop, in turns: what does the engine cost?

    python tests/bench/engine_step.py [--hidden 128] [--layers 2] [--steps 20] [--rounds 5]

The same BERT, the same slots of rows, the same loss and the same AdamW (fused, no decay on biases and norms, gradients
clipped), on one rank.  The plain loop is what one writes by hand, with every batch collated beforehand and for nothing:
against it our engine also pads its batches, in a thread ahead of the step.  Dropout is off, so both end in the same
weights.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import torch
from machine import describe, take_turns
from student_epoch import NUM_LABELS, Records
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from ckd_dist.config import Loss, Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Step, ahead, train_step
from ckd_dist.models.heads import Head
from ckd_dist.softlabels.stream import Step as Planned
from ckd_dist.softlabels.stream import steps
from ckd_dist.tasks.disease import DiseaseTask
from ckd_dist.tasks.task import Batch
from ckd_dist.world import World

OPTIM = Optim(learning_rate=2e-5, batch_samples=8, micro_tokens=4096)


def model(hidden: int, layers: int) -> BertForSequenceClassification:
    """The same random weights at every call."""
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(2, hidden // 64),
            intermediate_size=4 * hidden,
            num_labels=NUM_LABELS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


class Plain:
    """The loop without an engine."""

    def __init__(self, model: nn.Module, loss: Callable[[Tensor, Batch], Tensor], dtype: torch.dtype) -> None:
        flat = [p for p in model.parameters() if p.ndim == 1]
        deep = [p for p in model.parameters() if p.ndim > 1]
        groups = [{"params": deep, "weight_decay": OPTIM.weight_decay}, {"params": flat, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, OPTIM.learning_rate, (0.9, OPTIM.beta2), fused=True)
        self.model, self.loss, self.dtype = model.train(), loss, dtype

    def __call__(self, collated: list[tuple[list[Batch], float]]) -> None:
        for batches, total_weight in collated:
            for batch in batches:
                with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                    logits = self.model(input_ids=batch.input_ids_BL, attention_mask=batch.attention_BL).logits
                (self.loss(logits.float(), batch) / total_weight).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), OPTIM.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()


def collated(task: DiseaseTask, plan: list[Planned]) -> Iterator[Step]:
    for step in plan:
        yield Step([task.collate(rows) for rows in step.slots], step.total_weight)


def ours(engine: DdpEngine, task: DiseaseTask, plan: list[Planned]) -> None:
    for step in ahead(collated(task, plan)):
        train_step(engine, step, task.loss)


def gap(ours: nn.Module, plain: nn.Module) -> float:
    """Largest difference of a weight."""
    pairs = zip(ours.parameters(), plain.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    records, random = Records(args.steps * OPTIM.batch_samples), np.random.default_rng(1)
    shape, ones = (len(records.rows), NUM_LABELS), np.ones(len(records.rows))
    hard_NK, soft_NK = (random.random(shape) < 0.2).astype(np.float32), random.normal(-1.5, 1, shape).astype(np.float32)
    task = DiseaseTask(records, 0, hard_NK, ones, soft_NK, Loss())
    batch = {"batch_samples": OPTIM.batch_samples, "micro_tokens": OPTIM.micro_tokens}
    plan = list(steps(records.lengths, ones, **batch, seed=0, epochs=1))
    ready = [(list(step.micro_batches), step.total_weight) for step in collated(task, plan)]
    print(describe())
    print(
        f"BERT {args.hidden} x {args.layers}, {len(plan)} steps of {OPTIM.batch_samples} rows in "
        f"{sum(len(batches) for batches, _ in ready)} micro-batches, {records.lengths.mean():.0f} word pieces a row"
    )
    for dtype in (torch.float32, torch.bfloat16):
        engine = DdpEngine(
            Head(model(args.hidden, args.layers), "encoder"), OPTIM, World(), dtype=str(dtype).removeprefix("torch.")
        )
        plain = Plain(model(args.hidden, args.layers), task.loss, dtype)
        programs = {"plain PyTorch": lambda p=plain: p(ready), "our engine": lambda e=engine: ours(e, task, plan)}
        seconds = take_turns(programs, args.rounds)
        updates, apart = (1 + args.rounds) * len(plan), gap(engine.module, plain.model)
        print(f"\n{dtype}, largest difference of a weight after {updates} updates: {apart:.1e}")
        for name, each in seconds.items():
            print(f"  {name:<14} {np.median(each) / len(plan) * 1000:8.1f} ms a step")
        ratios = np.divide(seconds["our engine"], seconds["plain PyTorch"])
        print(f"  our engine / plain PyTorch {np.median(ratios):.2f} x ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    main()
