"""Baselines of a site: its prevalence, a logistic regression and boosted trees on which concepts a case has.

    N rows, K outcomes, V concepts

All learn from the site's own training cases; C and the number of trees are chosen on its tuning cases.  That is what a
hospital has without any embedding and without any other hospital.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy import sparse

from ckd_dist.report.baselines import STRENGTHS, fit_logistic, predict_by_trees, shares_of

MOST_STEPS = 1000  # of the regression's fit

Predict = Callable[[dict[str, sparse.csr_array], np.ndarray, np.ndarray], np.ndarray]


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
    share_K = shares_of(outcomes["train"]) if len(parts["train"]) else np.full(num_outcomes, 0.5)

    def by_outcome(predict: Predict) -> np.ndarray:
        train_NK, tuning_NK = outcomes["train"], outcomes["tuning"]
        columns = [
            predict(has, train_NK[:, k], tuning_NK[:, k])
            if len(np.unique(train_NK[:, k])) == 2
            else np.full(len(parts["held_out"]), share)
            for k, share in enumerate(share_K)
        ]
        return np.stack(columns, 1)

    return {
        "Prevalence": np.tile(share_K, (len(parts["held_out"]), 1)),
        "Logistic regression on the site's own codes": by_outcome(_logistic),
        "Boosted trees on the site's own codes": by_outcome(_trees),
    }


def _logistic(has: dict[str, sparse.csr_array], train_N: np.ndarray, tuning_N: np.ndarray) -> np.ndarray:
    """Predict one outcome, of which the training cases have both classes."""
    model = fit_logistic(has["train"], train_N, has["tuning"], tuning_N, untuned=STRENGTHS[0], most_steps=MOST_STEPS)
    return model.predict_proba(has["held_out"])[:, 1]


def _trees(has: dict[str, sparse.csr_array], train_N: np.ndarray, tuning_N: np.ndarray) -> np.ndarray:
    """Predict one outcome, of which the training cases have both classes."""
    return predict_by_trees(has["train"], train_N, has["tuning"], tuning_N, has["held_out"])[1]


def _matrix(part: pl.DataFrame, num_concepts: int) -> sparse.csr_array:
    """Return 1 where a case has a concept, [N, V]."""
    lengths = part["concepts"].list.len().to_numpy()
    concept = part["concepts"].explode().drop_nulls().to_numpy()
    row = np.repeat(np.arange(len(part)), lengths)
    return sparse.csr_array((np.ones(len(row)), (row, concept)), shape=(len(part), num_concepts))
