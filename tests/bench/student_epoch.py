"""A student epoch: our loop against the published way (pad everything to 512, batch 8).  In turns, on the same rows.

    python tests/bench/student_epoch.py [--rows 160] [--hidden 256] [--layers 4]

Records as long as real ones: mean 445 word pieces, quartiles 280/437/573 (those of CKD-EHR's own validation rows; they
are cut at 512, and so are ours).  Same encoder, same random weights, as many updates; the clock covers an epoch in the
loop.
"""

import argparse

import numpy as np
import torch
from machine import describe, has_amx, ratio, take_turns
from padding import padding_share
from published import student_epoch
from transformers import BertConfig, BertForSequenceClassification

from ckd_dist.config import Optim
from ckd_dist.engine.ddp import DdpEngine
from ckd_dist.engine.loop import Step, train_step
from ckd_dist.models.losses import Mixing
from ckd_dist.models.wrapper import Wrapper
from ckd_dist.softlabels.stream import Order, steps
from ckd_dist.studies.disease.task import DiseaseTask
from ckd_dist.world import World

NUM_LABELS, BUDGET = 25, 512


class Records:
    """Random word pieces; lengths drawn between the quartiles of real records, then cut at the student's budget."""

    def __init__(self, num_rows: int) -> None:
        random = np.random.default_rng(0)
        knots = [60, 280, 437, 573, 1000]
        lengths = np.interp(random.random(num_rows), [0, 0.25, 0.5, 0.75, 1], knots).astype(int)
        self.uncut = lengths
        self.lengths = lengths.clip(max=BUDGET)
        self.rows = [random.integers(5, 30_000, n) for n in self.lengths]

    def row(self, i: int) -> np.ndarray:
        return self.rows[i]


def model(hidden: int, layers: int) -> BertForSequenceClassification:
    torch.manual_seed(0)
    heads = max(2, hidden // 64)
    config = BertConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        num_labels=NUM_LABELS,
        problem_type="multi_label_classification",
    )
    return BertForSequenceClassification(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    args = parser.parse_args()
    records, random = Records(args.rows), np.random.default_rng(1)
    hard_NK = (random.random((args.rows, NUM_LABELS)) < 0.2).astype(np.float32)
    soft_NK = random.normal(-1.5, 1, (args.rows, NUM_LABELS)).astype(np.float32)
    ones = np.ones(args.rows)
    task = DiseaseTask(records, 0, hard_NK, ones, soft_NK, Mixing(soft_weight=0.1, temperature=1.0))
    optim = Optim(learning_rate=2e-5, batch_samples=8, micro_tokens=8192, clip_norm=0)
    print(describe(), "" if has_amx() else "| no AMX here: the bf16 target (1.6 x) is stated for CPUs that have it")
    print(
        f"{args.rows} records of {records.uncut.mean():.0f} word pieces on average before the cut at {BUDGET}, "
        "quartiles "
        f"{np.quantile(records.uncut, [0.25, 0.5, 0.75]).astype(int).tolist()}; BERT {args.hidden} x {args.layers}"
    )

    order = Order(batch_samples=8, micro_tokens=8192, seed=0, epochs=2)
    plan = list(steps(records.lengths, ones, order))[-(args.rows // 8) :]
    print(
        f"padding: published {1 - records.lengths.sum() / (args.rows * BUDGET):.0%}, "
        f"ours {padding_share(records.lengths, [slot for step in plan for slot in step.slots]):.1%}"
    )
    theirs = model(args.hidden, args.layers)
    engines = {
        dtype: DdpEngine(Wrapper(model(args.hidden, args.layers), "encoder"), optim, World(), dtype=dtype)
        for dtype in ("float32", "bfloat16")
    }

    def ours(dtype: str) -> None:
        for step in plan:
            batches = [task.collate(rows) for rows in step.slots]
            train_step(engines[dtype], Step(batches, step.total_weight), task.loss)

    programs = {
        "published": lambda: list(student_epoch(theirs, records.rows, hard_NK, 1 / (1 + np.exp(-soft_NK)), 0)),
        "ours, float32": lambda: ours("float32"),
        "ours, bfloat16": lambda: ours("bfloat16"),
    }
    seconds = take_turns(programs, args.rounds)
    for name, each in seconds.items():
        print(f"  {name:<16} {np.median(each):7.2f} s an epoch")
    for name in ("ours, float32", "ours, bfloat16"):
        print(f"  published / {name:<16} {ratio(seconds['published'], seconds[name])}")


if __name__ == "__main__":
    main()
