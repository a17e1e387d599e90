"""Predict by baselines, which need no neural network: every model of the report is compared with them.

    N rows, K labels, F features

predict_nothing     probability 0 for everything
prevalence          each label's share among the training pairs
copy_last_visit     P(label | its bit at the index visit), two numbers a label, counted on train; as bits: that bit
logistic_regression one L2 model a label on everything coded: diagnoses, drugs, procedures, earlier visits' diagnoses,
                    the current phenotypes, age, sex, number of earlier visits and gap; C chosen on tuning
boosted_trees       gradient-boosted trees a label on the same features; their number chosen on tuning

Each reads schema.SAMPLES frames, learns from labelled rows of train alone, and scores every row of `rows`.  Thresholds
come from labelled rows of tuning, as for any model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from ckd_dist.report.baselines import fit_logistic, predict_by_trees, shares_of
from ckd_dist.report.calibrate import fit_thresholds
from ckd_dist.studies.disease.samples import bits_of, with_labels

PSEUDO_PAIRS = 1.0  # weight of the prevalence in copy_last_visit's two numbers
LEAST_SEEN = 5  # training pairs in which a code must occur to become a feature
UNTUNED = 0.1  # C of the logistic regression where there is no tuning pair
MOST_STEPS = 300  # of its fit


PredictLabel = Callable[
    [sparse.csr_array, np.ndarray, sparse.csr_array, np.ndarray, sparse.csr_array], tuple[np.ndarray, np.ndarray]
]  # features and label of train, the same of tuning, features of rows -> probabilities for tuning and for rows


@dataclass(frozen=True)
class Baseline:
    """Probabilities and bits of every row, both [N, K]."""

    probabilities_NK: np.ndarray
    bits_NK: np.ndarray


def predict_by_baselines(train: pl.DataFrame, tuning: pl.DataFrame, rows: pl.DataFrame) -> dict[str, Baseline]:
    """Predict by the five baselines, by name, in the order of the report."""
    baselines: dict[str, Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame], Baseline]] = {
        "predict_nothing": predict_nothing,
        "prevalence": prevalence,
        "copy_last_visit": copy_last_visit,
        "logistic_regression": logistic_regression,
        "boosted_trees": boosted_trees,
    }
    return {name: predict(train, tuning, rows) for name, predict in baselines.items()}


def predict_nothing(train: pl.DataFrame, tuning: pl.DataFrame, rows: pl.DataFrame) -> Baseline:
    """Predict no disease for anybody."""
    nothing_NK = np.zeros((rows.height, bits_of(train, "current").shape[1]))
    return Baseline(nothing_NK, nothing_NK.astype(np.int8))


def prevalence(train: pl.DataFrame, tuning: pl.DataFrame, rows: pl.DataFrame) -> Baseline:
    """Predict the training prevalence for everybody; at a threshold that maximises F1 that means: everything."""
    share_K = shares_of(bits_of(with_labels(train), "labels"))
    constant_NK = np.tile(share_K, (rows.height, 1))
    return at_thresholds(constant_NK, np.tile(share_K, (with_labels(tuning).height, 1)), tuning)


def copy_last_visit(train: pl.DataFrame, tuning: pl.DataFrame, rows: pl.DataFrame) -> Baseline:
    """Predict for the next visit what is coded at this one."""
    train = with_labels(train)
    current_NK, label_NK = bits_of(train, "current"), bits_of(train, "labels")
    share_K = shares_of(label_NK)
    given = [
        ((label_NK * (current_NK == bit)).sum(axis=0) + PSEUDO_PAIRS * share_K)
        / ((current_NK == bit).sum(axis=0) + PSEUDO_PAIRS)
        for bit in (0, 1)
    ]
    bits_NK = bits_of(rows, "current")
    return Baseline(np.where(bits_NK == 1, given[1], given[0]), bits_NK)


def logistic_regression(train: pl.DataFrame, tuning: pl.DataFrame, rows: pl.DataFrame) -> Baseline:
    """Predict by the model that a statistician would try first."""
    return label_by_label(regress, train, tuning, rows)


def boosted_trees(train: pl.DataFrame, tuning: pl.DataFrame, rows: pl.DataFrame) -> Baseline:
    """Predict by the model that usually wins on tables; report/baselines.py says how it is kept small."""
    return label_by_label(predict_by_trees, train, tuning, rows)


def label_by_label(predict: PredictLabel, train: pl.DataFrame, tuning: pl.DataFrame, rows: pl.DataFrame) -> Baseline:
    """Predict every label by a model of its own on everything coded; by its share where train has one class."""
    train, tuning_rows = with_labels(train), with_labels(tuning)
    vocabulary = vocabulary_of(train)
    train_NF, tuning_NF, rows_NF = (features(frame, vocabulary) for frame in (train, tuning_rows, rows))
    label_NK = bits_of(train, "labels")
    share_K = shares_of(label_NK)
    tuning_NK = bits_of(tuning_rows, "labels", label_NK.shape[1])

    def column(k: int) -> tuple[np.ndarray, np.ndarray]:
        label_N = label_NK[:, k]
        if label_N.min() == label_N.max():
            return np.full(tuning_NF.shape[0], share_K[k]), np.full(rows_NF.shape[0], share_K[k])
        return predict(train_NF, label_N, tuning_NF, tuning_NK[:, k], rows_NF)

    columns = [column(k) for k in range(label_NK.shape[1])]
    on_tuning_NK, on_rows_NK = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    return at_thresholds(on_rows_NK, on_tuning_NK, tuning)


def regress(
    train_NF: sparse.csr_array,
    label_N: np.ndarray,
    tuning_NF: sparse.csr_array,
    tuning_N: np.ndarray,
    rows_NF: sparse.csr_array,
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of one label, of which train has both classes, for tuning and for `rows`."""
    model = fit_logistic(train_NF, label_N, tuning_NF, tuning_N, untuned=UNTUNED, most_steps=MOST_STEPS)
    on_tuning_N = model.predict_proba(tuning_NF)[:, 1] if len(tuning_N) else np.zeros(0)
    return on_tuning_N, model.predict_proba(rows_NF)[:, 1]


# --- features ---------------------------------------------------------------------------------------------------------


def codes_of(samples: pl.DataFrame) -> pl.DataFrame:
    """Return (row, code): everything coded, once a row, under a prefix that names its place in the record."""
    rows = samples.with_row_index("row")
    places = {
        "diagnosis ": pl.col("diagnoses"),
        "medication ": pl.col("medications"),
        "procedure ": pl.col("procedures"),
        "earlier ": pl.col("history").list.eval(pl.element().struct.field("diagnoses").explode()),
        "phenotype ": pl.col("current").list.eval(pl.arg_where(pl.element() == 1)).cast(pl.List(pl.String)),
    }
    tables = [
        rows.select("row", code=codes).explode("code").drop_nulls().with_columns(code=pl.lit(place) + pl.col("code"))
        for place, codes in places.items()
    ]
    return pl.concat(tables).unique(maintain_order=True)


def vocabulary_of(train: pl.DataFrame) -> pl.DataFrame:
    """Number the codes that at least LEAST_SEEN training pairs have: (code, feature)."""
    seen = codes_of(train).group_by("code").len().filter(pl.col("len") >= LEAST_SEEN)
    return seen.select("code").sort("code").with_row_index("feature")


def features(samples: pl.DataFrame, vocabulary: pl.DataFrame) -> sparse.csr_array:
    """Return a row a sample, a 1 for every code and then the numbers: float64 [N, F]."""
    ones = codes_of(samples).join(vocabulary, on="code", how="inner")
    where = (ones["row"].to_numpy(), ones["feature"].to_numpy())
    shape = (samples.height, vocabulary.height)
    codes_NF = sparse.csr_array((np.ones(ones.height), where), shape=shape)
    numbers = samples.select(
        ((pl.col("age").fill_null(65).clip(0, 90) - 65) / 20).alias("age"),
        pl.col("age").is_null().alias("no age"),
        (pl.col("sex") == "F").fill_null(False).alias("F"),
        (pl.col("sex") == "M").fill_null(False).alias("M"),
        (pl.col("history").list.len().clip(0, 5) / 5).alias("visits"),
        (pl.col("gap_days").fill_null(0).clip(0).log1p() / 5).alias("gap"),
    )
    return sparse.csr_array(sparse.hstack([codes_NF, sparse.csr_array(numbers.to_numpy().astype(np.float64))]))


def at_thresholds(on_rows_NK: np.ndarray, on_tuning_NK: np.ndarray, tuning: pl.DataFrame) -> Baseline:
    """Return a baseline with bits at the thresholds that maximise F1 on labelled tuning rows."""
    tuning = with_labels(tuning)
    if tuning.height == 0:
        return Baseline(on_rows_NK, (on_rows_NK >= 0.5).astype(np.int8))
    threshold_K = fit_thresholds(on_tuning_NK, bits_of(tuning, "labels"))
    return Baseline(on_rows_NK, (on_rows_NK >= threshold_K).astype(np.int8))
