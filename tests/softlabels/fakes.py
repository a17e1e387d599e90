"""A plan of a few rows, and a teacher whose logits say which row and column they belong to."""

from pathlib import Path

import numpy as np

from ckd_dist.softlabels.plan import LabelSource, Plan, make_plan

NAMES = ("heart failure", "diabetes", "sepsis")
TEACHER = "ab" * 32
SOURCE = LabelSource(NAMES, prompts="01", tokenizer="02", teacher=TEACHER)


def plan_of(num_rows: int = 50, shard_rows: int = 8, source: LabelSource = SOURCE, **settings) -> Plan:
    return make_plan(1000 + np.arange(num_rows), source, shard_rows=shard_rows, **{"split": "train"} | settings)


def teacher(sample_ids: np.ndarray) -> np.ndarray:
    """Logit (row, column) is the sample id plus a quarter of the column: any mix-up shows."""
    return (sample_ids[:, None] + 0.25 * np.arange(len(NAMES))).astype(np.float32)


def calls_of(log: Path) -> list[int]:
    """Shards that `worker.py` has started on, in order."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []
