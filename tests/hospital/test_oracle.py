"""Tables -> events -> samples: the labels that come out were drawn from the oracle's probabilities.

Bounds are 4 to 5 standard errors: a right law fails them once in some thousand seeds, and the seed is fixed.
"""

from functools import partial

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.events import read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.ehr.samples import build_samples
from ckd_dist.ehr.splits import split_of
from ckd_dist.hospital import law
from ckd_dist.hospital.tables import write_tables
from ckd_dist.report.metrics import macro_ranking
from ckd_dist.schema import SPLITS

# N pairs, K labels


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """(label_NK, oracle_NK, copy_NK) of about 5,900 pairs that tables, events and samples gave."""
    folder = tmp_path_factory.mktemp("pairs")
    write_tables(folder / "tables", 4000, seed=5)
    split = partial(split_of, train=0.7, tuning=0.15, seed=0)
    extract(f"mimic3:{folder / 'tables'}", folder / "events", split, memory_gb=1.0)
    label_set = load_label_set("phenotypes25")
    parts = [
        build_samples(read_events(folder / "events", name), label_set, Criteria(), label_set.columns_of)[0]
        for name in SPLITS
    ]
    pairs = pl.concat(parts).filter(pl.col("labels").is_not_null())
    label_NK, copy_NK = (pairs[name].list.to_array(25).to_numpy().astype(float) for name in ("labels", "current"))
    return label_NK, law.probabilities(pairs, label_set.names), copy_NK


def z_score(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Standard errors between drawn and expected sums, along the first axis."""
    return (label - probability).sum(0) / np.sqrt((probability * (1 - probability)).sum(0))


def macro(score, label_NK: np.ndarray, probability_NK: np.ndarray) -> float:
    return np.mean([score(label_K, p_K) for label_K, p_K in zip(label_NK.T, probability_NK.T, strict=True)])


def test_every_label_is_calibrated(pairs):
    label_NK, oracle_NK, _ = pairs
    assert len(label_NK) > 5000
    assert np.abs(z_score(label_NK, oracle_NK)).max() < 4


def test_every_level_of_probability_is_calibrated(pairs):
    label_NK, oracle_NK, copy_NK = pairs
    for chosen in (copy_NK == 0, copy_NK == 1):
        label, probability = label_NK[chosen], oracle_NK[chosen]
        for bin_of in np.array_split(np.argsort(probability), 20):
            assert abs(z_score(label[bin_of], probability[bin_of])) < 4.5


def test_brier_is_the_expected_one(pairs):
    label_NK, oracle_NK, _ = pairs
    variance_NK = oracle_NK * (1 - oracle_NK)
    standard_error = np.sqrt((variance_NK * (1 - 2 * oracle_NK) ** 2).sum()) / label_NK.size
    assert abs(((oracle_NK - label_NK) ** 2).mean() - variance_NK.mean()) < 4 * standard_error


def test_copying_the_last_visit_is_a_poor_guess(pairs):
    label_NK, oracle_NK, copy_NK = pairs
    auroc, auprc = (macro(score, label_NK, oracle_NK) for score in (roc_auc_score, average_precision_score))
    copied_auroc, copied_auprc = (macro(score, label_NK, copy_NK) for score in (roc_auc_score, average_precision_score))
    assert 0.84 < auroc < 0.92
    assert copied_auroc < auroc - 0.12 and copied_auprc < auprc - 0.25


def test_the_oracle_is_not_beaten_by_itself_plus_noise(pairs):
    """Noise of 1e-9 breaks its ties at random: on average that changes nothing, for the law or for a copied bit.

    Average precision as scikit-learn counts ties is lower, and was beaten.
    """
    label_NK, oracle_NK, copy_NK = pairs
    random = np.random.default_rng(0)
    for scores_NK in (oracle_NK, copy_NK):
        noisy = [macro_ranking(label_NK, scores_NK + random.uniform(0, 1e-9, label_NK.shape)) for _ in range(25)]
        mean, error = np.mean(noisy, axis=0), np.std(noisy, axis=0) / 5
        assert (np.abs(mean - macro_ranking(label_NK, scores_NK)) < 4 * error + 1e-12).all()
        assert macro(average_precision_score, label_NK, scores_NK) < mean[1] - 0.01


def test_density_is_the_published_one(pairs):
    label_NK, _, copy_NK = pairs
    assert 4 < label_NK.sum(1).mean() < 5.5 and 4 < copy_NK.sum(1).mean() < 5.5
