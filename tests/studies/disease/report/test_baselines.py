"""Baselines are what they say, learn from train alone, and are right on the MIMIC-III demo."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from ckd_dist import schema
from ckd_dist.report import metrics
from ckd_dist.studies.disease.report import baselines
from ckd_dist.studies.disease.samples import bits_of, with_labels
from tests.data import DATA

Make = Callable[..., pl.DataFrame]


def test_shapes_and_bits(samples: Make) -> None:
    found = baselines.predict_by_baselines(samples(300, 1), samples(100, 2), samples(50, 3))
    assert list(found) == ["predict_nothing", "prevalence", "copy_last_visit", "logistic_regression", "boosted_trees"]
    for baseline in found.values():
        assert baseline.probabilities_NK.shape == baseline.bits_NK.shape == (50, 4)
        assert ((baseline.probabilities_NK >= 0) & (baseline.probabilities_NK <= 1)).all()
    assert not found["predict_nothing"].bits_NK.any()
    assert found["prevalence"].bits_NK.all()  # the best F1 of a constant is to call everything
    assert (found["copy_last_visit"].bits_NK == bits_of(samples(50, 3), "current")).all()


def test_numbers_by_hand(samples: Make) -> None:
    """Of three pairs with the bit one has the label next, of one without none; the prevalence 1/4 weighs one pair."""
    train = samples(6).with_columns(
        current=pl.Series([[0], [1], [1], [1], [0], [0]], dtype=pl.List(pl.Int8)),
        labels=pl.Series([None, [1], [0], [0], [0], None], dtype=pl.List(pl.Int8)),
    )
    found = baselines.copy_last_visit(train, train, train)
    bits = [0, 1, 1, 1, 0, 0]
    with_bit, without = (1 + 0.25) / (3 + 1), (0 + 0.25) / (1 + 1)
    assert found.probabilities_NK[:, 0] == pytest.approx([with_bit if bit else without for bit in bits])
    assert baselines.prevalence(train, train, train).probabilities_NK[:, 0] == pytest.approx([0.25] * 6)


def test_regression_and_trees_find_what_decides(samples: Make) -> None:
    """In the synthetic cohort a drug decides; nothing else does."""
    train, tuning, rows = samples(1500, 1), samples(300, 2), with_labels(samples(600, 3))
    labels_NK = bits_of(rows, "labels")
    scores = {
        name: metrics.score(labels_NK, baseline.probabilities_NK, baseline.bits_NK).observed()
        for name, baseline in baselines.predict_by_baselines(train, tuning, rows).items()
    }
    for name in ("logistic_regression", "boosted_trees"):
        assert scores[name]["macro_auroc"] > 0.7
        assert scores[name]["brier"] < scores["prevalence"]["brier"] < scores["predict_nothing"]["brier"]
        assert scores[name]["log_loss"] < scores["prevalence"]["log_loss"] < scores["predict_nothing"]["log_loss"]
        assert scores[name]["ece"] < 0.05
    assert scores["copy_last_visit"]["macro_auroc"] == pytest.approx(0.5, abs=0.05)
    assert scores["prevalence"]["macro_auroc"] == scores["predict_nothing"]["macro_auroc"] == 0.5


def test_held_out_labels_change_nothing(samples: Make) -> None:
    train, tuning, rows = samples(300, 1), samples(100, 2), samples(60, 3)
    turned = rows.with_columns(labels=pl.col("labels").list.eval(1 - pl.element()))
    hidden = rows.with_columns(labels=pl.lit(None, dtype=pl.List(pl.Int8)))
    seen = baselines.predict_by_baselines(train, tuning, rows)
    for other in (turned, hidden):
        for name, baseline in baselines.predict_by_baselines(train, tuning, other).items():
            assert (baseline.probabilities_NK == seen[name].probabilities_NK).all(), name
            assert (baseline.bits_NK == seen[name].bits_NK).all(), name


def test_works_without_tuning_pairs_and_with_constant_labels(samples: Make) -> None:
    never = pl.when(pl.col("labels").is_not_null()).then(pl.lit([0, 1, 0, 1], dtype=pl.List(pl.Int8)))
    train = samples(40, 1).with_columns(labels=never)
    found = baselines.predict_by_baselines(train, samples(10, 2).head(0), samples(5, 3))
    for baseline in found.values():
        assert baseline.bits_NK.shape == (5, 4)
    least = 0.5 / (train["labels"].count() + 1)  # what never came among few may come yet: no infinite log-loss
    for name in ("prevalence", "logistic_regression", "boosted_trees"):
        np.testing.assert_allclose(found[name].probabilities_NK, [[least, 1 - least, least, 1 - least]] * 5)
    assert found["copy_last_visit"].probabilities_NK.min() > 0 and found["copy_last_visit"].probabilities_NK.max() < 1


def test_code_seen_only_outside_train_is_no_feature(samples: Make) -> None:
    train, rows = samples(200, 1), samples(20, 3)
    strange = rows.with_columns(diagnoses=pl.concat_list("diagnoses", pl.lit("DIAGNOSIS//ICD//9//STRANGE")))
    vocabulary = baselines.vocabulary_of(train)
    assert (baselines.features(rows, vocabulary) != baselines.features(strange, vocabulary)).nnz == 0


def test_ragged_labels_are_refused(samples: Make) -> None:
    ragged = samples(2).with_columns(current=pl.Series([[0], [0, 1]], dtype=pl.List(pl.Int8)))
    with pytest.raises(ValueError, match="unequal length"):
        bits_of(ragged, "current")


# --- the MIMIC-III demo, read without the rooms that read it in earnest -----------------------------------------------


def open_data(*parts: str) -> Path:
    if not DATA.joinpath(*parts).exists():
        pytest.skip(f"open data not found: neither $CKD_DATA nor ../shared/data has {'/'.join(parts)}")
    return DATA.joinpath(*parts)


def demo_pairs() -> pl.DataFrame:
    """Index and next visit of every subject of the demo as schema.SAMPLES rows, deaths included."""
    demo = open_data("mimic_iii_demo", "ADMISSIONS.csv.gz").parent
    with gzip.open(open_data("ccs_icd9", "hcup_ccs_2015_definitions.yaml.gz")) as file:
        phenotypes = [p for p in yaml.safe_load(file).values() if p["use_in_benchmark"]]
    column_of = {code: k for k, p in enumerate(phenotypes) for code in p["codes"]}

    def table(name: str) -> pl.DataFrame:
        frame = pl.read_csv(demo / f"{name}.csv.gz", infer_schema=False)
        return frame.rename(str.upper)

    bits = {visit: [0] * len(phenotypes) for visit in table("ADMISSIONS")["HADM_ID"]}
    for visit, code in table("DIAGNOSES_ICD").select("HADM_ID", "ICD9_CODE").iter_rows():
        if code in column_of:
            bits[visit][column_of[code]] = 1
    visits = table("ADMISSIONS").sort("SUBJECT_ID", "ADMITTIME", "HADM_ID")
    pairs = visits.with_columns(
        next=pl.col("HADM_ID").shift(-1).over("SUBJECT_ID"), time=pl.col("DISCHTIME").str.to_datetime(time_unit="us")
    ).drop_nulls("next")
    rows = [
        dict.fromkeys(schema.SAMPLES)
        | {"subject_id": int(subject), "hadm_id": int(visit), "prediction_time": time, "site": "all"}
        | {"diagnoses": [], "medications": [], "procedures": [], "history": []}
        | {"current": bits[visit], "labels": bits[following]}
        for subject, visit, following, time in pairs.select("SUBJECT_ID", "HADM_ID", "next", "time").iter_rows()
    ]
    return pl.DataFrame(rows, schema=schema.SAMPLES)


def test_baselines_of_the_mimic_iii_demo() -> None:
    """29 pairs of 14 patients: copying scores micro-F1 0.632, and predicting nothing is right in 0.749 of all cells."""
    pairs = demo_pairs()
    assert (pairs.height, pairs["subject_id"].n_unique()) == (29, 14)
    labels_NK = bits_of(pairs, "labels")
    assert labels_NK.shape == (29, 25)

    def scores(baseline: Callable[..., baselines.Baseline]) -> dict[str, float]:
        found = baseline(pairs, pairs, pairs)
        return metrics.score(labels_NK, found.probabilities_NK, found.bits_NK).observed()

    assert scores(baselines.copy_last_visit)["micro_f1"] == pytest.approx(0.632, abs=0.0005)
    nothing = scores(baselines.predict_nothing)
    assert nothing["cell_accuracy"] == pytest.approx(0.749, abs=0.0005)
    assert nothing["micro_f1"] == 0
    assert nothing["brier"] == pytest.approx(np.mean(labels_NK))
