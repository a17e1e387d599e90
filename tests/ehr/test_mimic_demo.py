"""The real MIMIC-III demo: 29 next-visit pairs from 14 patients, and the baselines that go with them."""

import numpy as np
import polars as pl
import pytest

from ckd_dist.ehr.criteria import Criteria
from ckd_dist.ehr.events import read_events
from ckd_dist.ehr.extract import extract
from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.ehr.samples import build_samples
from tests.data import DATA

DEMO = DATA / "mimic_iii_demo"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    if not DEMO.is_dir():
        pytest.skip("no MIMIC-III demo: set CKD_DATA to a folder that holds mimic_iii_demo")
    folder = tmp_path_factory.mktemp("demo")
    extract(f"mimic3:{DEMO}", folder, lambda subjects: np.full(len(subjects), "train"), memory_gb=1.0)
    label_set = load_label_set("phenotypes25")
    return build_samples(read_events(folder, "train"), label_set, Criteria(), label_set.columns_of)


def test_pairs(demo):
    """Censoring by death takes no pair: a visit that ends in death has no next visit here."""
    samples, flow = demo
    pairs = samples.filter(pl.col("labels").is_not_null())
    assert (len(pairs), pairs["subject_id"].n_unique()) == (29, 14)
    assert flow.rows[0] == ("visits", 0, 129)
    assert ("died in hospital: censored", 40, 89) in flow.rows and flow.rows[-1][2] == 89


def test_copy_last_visit_and_predict_nothing(demo):
    pairs = demo[0].filter(pl.col("labels").is_not_null())
    now, then = (pairs[name].list.to_array(25).to_numpy().astype(bool) for name in ("current", "labels"))
    assert 2 * (now & then).sum() / (now.sum() + then.sum()) == pytest.approx(0.632, abs=0.0005)
    assert 1 - then.mean() == pytest.approx(0.749, abs=0.0005)


def test_nothing_is_dated_after_the_prediction(demo):
    samples, _ = demo
    assert (samples["age"].drop_nulls() <= 90).all()
    assert set(samples["site"].unique()) <= {"carevue", "metavision", "all"}
    assert (samples["history"].list.eval(pl.element().struct.field("days_before") >= 0).list.all()).all()
