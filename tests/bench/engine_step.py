"""A training step of our engine against a plain PyTorch loop, in turns: what does the engine cost?

    python tests/bench/engine_step.py [--study disease|ner] [--hidden 128] [--layers 2] [--steps 20] [--rounds 5]

disease: whole records, one row of labels each; ner: windows of 128 word pieces, a row of tags for every word.

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
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification, PreTrainedModel

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Step, ahead, train_step
from ckd_dist.engine.task import Batch
from ckd_dist.models.losses import Mixing
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.softlabels.stream import Order, steps
from ckd_dist.softlabels.stream import Step as Planned
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.studies.ner.task import CONTINUATION, NerTask, Reading, Tags
from ckd_dist.studies.ner.windows import Windows
from ckd_dist.world import World

OPTIM = Optim(learning_rate=2e-5, batch_samples=8, micro_tokens=4096)


NUM_TAGS = 7
MODELS = {"disease": (BertForSequenceClassification, NUM_LABELS), "ner": (BertForTokenClassification, NUM_TAGS)}


def model(study: str, hidden: int, layers: int) -> PreTrainedModel:
    """The same random weights at every call."""
    torch.manual_seed(0)
    kind, num_columns = MODELS[study]
    return kind(
        BertConfig(
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(2, hidden // 64),
            intermediate_size=4 * hidden,
            num_labels=num_columns,
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
                if batch.units_U2 is not None:
                    logits = logits[batch.units_U2[:, 0], batch.units_U2[:, 1]]
                (self.loss(logits.float(), batch) / total_weight).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), OPTIM.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()


def disease(num_rows: int) -> DiseaseTask:
    """Records of real length with labels and a teacher's logits, all at random."""
    records, random = Records(num_rows), np.random.default_rng(1)
    shape, ones = (num_rows, NUM_LABELS), np.ones(num_rows)
    hard_NK, soft_NK = (random.random(shape) < 0.2).astype(np.float32), random.normal(-1.5, 1, shape).astype(np.float32)
    return DiseaseTask(records, 0, hard_NK, ones, soft_NK, Mixing(0.7, 2.0))


def ner(num_rows: int) -> NerTask:
    """Windows of 40 to 128 word pieces, every word of one to three, with tags and soft tags at random."""
    random = np.random.default_rng(1)
    pieces = [random.integers(1, 4, random.integers(20, 64)) for _ in range(num_rows)]
    pieces = [row[row.cumsum() <= 126] for row in pieces]
    lengths, words = np.array([row.sum() + 2 for row in pieces]), np.array([len(row) for row in pieces])
    windows = Windows(
        ids_T=random.integers(5, 30_000, lengths.sum()).astype(np.int32),
        offsets_N1=np.concatenate([[0], lengths.cumsum()]),
        note_W=np.arange(num_rows, dtype=np.int32),
        unit_offsets_W1=np.concatenate([[0], words.cumsum()]),
        first_U=np.concatenate([1 + row.cumsum() - row for row in pieces]).astype(np.int32),
        last_U=np.concatenate([row.cumsum() for row in pieces]).astype(np.int32),
    )
    hard_U = random.integers(0, NUM_TAGS, windows.num_units)
    soft_UK = random.normal(size=(windows.num_units, NUM_TAGS)).astype(np.float32)
    tags, reading = Tags(hard_U, NUM_TAGS, soft_UK), Reading(0, continuation=CONTINUATION)
    return NerTask(windows, np.arange(num_rows), tags, reading, Mixing(0.5, 1.0), 0.25)


def collated(task: DiseaseTask | NerTask, plan: list[Planned]) -> Iterator[Step]:
    for step in plan:
        yield Step([task.collate(rows) for rows in step.slots], step.total_weight)


def ours(engine: DdpEngine, task: DiseaseTask | NerTask, plan: list[Planned]) -> None:
    for step in ahead(collated(task, plan)):
        train_step(engine, step, task.loss)


def gap(ours: nn.Module, plain: nn.Module) -> float:
    """Largest difference of a weight."""
    pairs = zip(ours.parameters(), plain.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=("disease", "ner"), default="disease")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    num_rows = args.steps * OPTIM.batch_samples
    task = disease(num_rows) if args.study == "disease" else ner(num_rows)
    lengths = task.tokens.lengths if args.study == "disease" else task.lengths
    order = Order(OPTIM.batch_samples, OPTIM.micro_tokens, seed=0, epochs=1)
    plan = list(steps(lengths, task.weights, order))
    ready = [(list(step.micro_batches), step.total_weight) for step in collated(task, plan)]
    print(describe())
    print(
        f"BERT {args.hidden} x {args.layers}, {len(plan)} steps of {OPTIM.batch_samples} rows in "
        f"{sum(len(batches) for batches, _ in ready)} micro-batches, {lengths.mean():.0f} word pieces a row"
    )
    for dtype in (torch.float32, torch.bfloat16):
        engine = DdpEngine(
            Wrapper(model(args.study, args.hidden, args.layers), "encoder" if args.study == "disease" else "tags"),
            OPTIM,
            World(),
            dtype=str(dtype).removeprefix("torch."),
        )
        plain = Plain(model(args.study, args.hidden, args.layers), task.loss, dtype)
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
