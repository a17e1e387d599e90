"""Baselines are what scikit-learn says, and look at no held-out outcome."""

import numpy as np
import polars as pl
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from ckd_dist.report.baselines import predict_by_trees
from ckd_dist.studies.concepts.cases.cases import read_concepts
from ckd_dist.studies.concepts.report.baselines import site_baselines
from tests.studies.concepts.small import turned


def test_baselines_are_what_scikit_learn_says_and_never_look_at_held_out_outcomes(run):
    cases, num = pl.read_parquet(run.cases), len(read_concepts(run))
    found = site_baselines(cases, "south", num)
    part = {split: cases.filter(site="south", split=split).sort("case_id") for split in ("train", "tuning", "held_out")}
    has, outcomes = {}, {}
    for split, frame in part.items():
        has[split] = np.zeros((len(frame), num))
        for row, concepts in enumerate(frame["concepts"]):
            has[split][row, concepts.to_list()] = 1
        outcomes[split] = np.array(frame["outcomes"].to_list())
    prevalence, logistic, trees = found.values()
    np.testing.assert_allclose(prevalence, np.tile(outcomes["train"].mean(0), (len(part["held_out"]), 1)))
    for k in range(outcomes["train"].shape[1]):
        models = {
            C: LogisticRegression(C=C, max_iter=1000).fit(has["train"], outcomes["train"][:, k]) for C in (0.01, 0.1, 1)
        }
        losses = {
            C: log_loss(outcomes["tuning"][:, k], m.predict_proba(has["tuning"])[:, 1]) for C, m in models.items()
        }
        best = min(losses, key=losses.get)
        np.testing.assert_allclose(logistic[:, k], models[best].predict_proba(has["held_out"])[:, 1], atol=1e-4)
    sizes = {split: len(frame) for split, frame in part.items()}
    assert trees.shape == logistic.shape == (sizes["held_out"], len(outcomes["train"][0]))
    for k in range(outcomes["train"].shape[1]):
        has_code = [sparse.csr_array(has[split]) for split in ("train", "tuning", "held_out")]
        learned = (has_code[0], outcomes["train"][:, k], has_code[1], outcomes["tuning"][:, k])
        np.testing.assert_allclose(trees[:, k], predict_by_trees(*learned, has_code[2])[1], atol=1e-12)
    blind = site_baselines(turned(cases, (pl.col("split") == "held_out") | (pl.col("site") == "north")), "south", num)
    shuffled_rows = site_baselines(cases.sample(fraction=1, shuffle=True, seed=1), "south", num)
    for name, baseline in found.items():
        assert np.array_equal(baseline, blind[name]) and np.allclose(baseline, shuffled_rows[name], atol=1e-6), name


def test_a_baseline_of_one_class_or_no_tuning_case_is_kept(run):
    cases, num = pl.read_parquet(run.cases), len(read_concepts(run))
    never = cases.with_columns(pl.col("outcomes").list.eval(pl.element() * 0))
    num_train = len(cases.filter((pl.col("site") == "south") & (pl.col("split") == "train")))
    for baseline in site_baselines(never, "south", num).values():  # what never came may come yet
        np.testing.assert_allclose(baseline, 0.5 / (num_train + 1))
    untuned = site_baselines(cases.filter(pl.col("split") != "tuning"), "south", num)
    assert all(np.isfinite(baseline).all() for baseline in untuned.values())
