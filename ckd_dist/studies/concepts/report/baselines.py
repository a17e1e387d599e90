"""Baselines of a site: its prevalence, and a logistic regression on which concepts a case has.

    N rows, K outcomes, V concepts

Both learn from the site's own training cases; C is chosen on its tuning cases.  That is what a hospital has without any
embedding and without any other hospital.
"""

import numpy as np
import polars as pl
from scipy import sparse

from ckd_dist.report.baselines import STRENGTHS, fit_logistic

MOST_STEPS = 1000  # of the regression's fit


def site_baselines(cases: pl.DataFrame, site: str, num_concepts: int) -> dict[str, np.ndarray]:
    """Predict the site's held-out cases in order of case_id: probabilities [N, K] by name.  cases: table.CASES."""
    parts = {
        split: cases.filter((pl.col("site") == site) & (pl.col("split") == split)).sort("case_id")
        for split in ("train", "tuning", "held_out")
    }
    has = {split: _matrix(part, num_concepts) for split, part in parts.items()}
    num_outcomes = len(cases["outcomes"][0])
    outcomes = {
        split: np.array(part["outcomes"].to_list(), float).reshape(-1, num_outcomes) for split, part in parts.items()
    }
    share_K = outcomes["train"].mean(0) if len(parts["train"]) else np.full(num_outcomes, 0.5)
    columns = [
        _logistic(has, outcomes["train"][:, k], outcomes["tuning"][:, k], share) for k, share in enumerate(share_K)
    ]
    return {
        "Prevalence": np.tile(share_K, (len(parts["held_out"]), 1)),
        "Logistic regression on the site's own codes": np.stack(columns, 1),
    }


def _logistic(has: dict[str, sparse.csr_array], train_N: np.ndarray, tuning_N: np.ndarray, share: float) -> np.ndarray:
    """Predict one outcome; by its share where the training cases do not have both classes."""
    if len(np.unique(train_N)) < 2:
        return np.full(has["held_out"].shape[0], share)
    model = fit_logistic(has["train"], train_N, has["tuning"], tuning_N, untuned=STRENGTHS[0], most_steps=MOST_STEPS)
    return model.predict_proba(has["held_out"])[:, 1]


def _matrix(part: pl.DataFrame, num_concepts: int) -> sparse.csr_array:
    """Return 1 where a case has a concept, [N, V]."""
    lengths = part["concepts"].list.len().to_numpy()
    concept = part["concepts"].explode().drop_nulls().to_numpy()
    row = np.repeat(np.arange(len(part)), lengths)
    return sparse.csr_array((np.ones(len(row)), (row, concept)), shape=(len(part), num_concepts))
