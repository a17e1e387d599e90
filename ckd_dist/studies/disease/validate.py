"""Has a teacher something to teach?  It is judged before it labels, beside what its student could learn without it.

    N rows (labelled tuning pairs that the student's hospital sees), K labels, D draws

What the student could expect from the same labels alone is the logistic regression on codes of the report, fitted on
the training pairs whose labels the student sees.  Both are scored on the same rows, with the same draws of patients.
The verdict is on log-loss, not on a ranking, because probabilities are what a student is taught; its rule stands in
report/validation.py.  Below ten patients there is no interval, hence no verdict.

What the comparison favours: the regression's strength is chosen on the rows that it is scored on, and so is the
checkpoint of a teacher of this run.  A temperature is fitted on the other half of the patients.
"""

import numpy as np
import polars as pl

from ckd_dist.report import bootstrap, metrics
from ckd_dist.report.bootstrap import Resamples
from ckd_dist.report.calibrate import sigmoid
from ckd_dist.report.compare import judge
from ckd_dist.studies.disease.report.baselines import logistic_regression
from ckd_dist.studies.disease.report.validation import Validation
from ckd_dist.studies.disease.samples import bits_of, with_labels
from ckd_dist.studies.disease.temperature import Kind, soften_across

DRAWS, SEED = 1000, 0  # of the intervals
SHOWN = ("log_loss", "brier", "ece", "macro_auroc")


def validate(logits_NK: np.ndarray, expected_NK: np.ndarray, rows: pl.DataFrame, kind: Kind) -> Validation:
    """Score a teacher, as it is and as it will be taught, beside the expectation.

    logits: the teacher's raw ones.  expected: probabilities without it.  rows: schema.SAMPLES that all have labels.
    kind: of the temperature.
    """
    if not len(rows):
        return Validation(0, 0, {}, None, kind)
    label_NK, subject_N = bits_of(rows, "labels"), rows["subject_id"].to_numpy()
    drawn = bootstrap.resample(subject_N, DRAWS, SEED)
    models = {
        "raw": sigmoid(logits_NK),
        "taught": sigmoid(soften_across(logits_NK, label_NK, subject_N, kind)),
        "expected": expected_NK,
    }
    scores = {name: _score(label_NK, probabilities_NK, drawn) for name, probabilities_NK in models.items()}
    compared = bootstrap.difference(scores["taught"]["log_loss"], scores["expected"]["log_loss"])
    intervals = {
        name: {metric: bootstrap.interval(value_D, centred=metric == "ece") for metric, value_D in row.items()}
        for name, row in scores.items()
    }
    verdict = judge(compared, enough=True, lower_is_better=True)
    return Validation(len(rows), len(np.unique(subject_N)), intervals, verdict, kind)


def expectation(train: pl.DataFrame, tuning: pl.DataFrame) -> np.ndarray:
    """Predict the labelled rows of tuning by logistic regression on the labelled rows of train, [N, K]; no row: empty.

    A disease that no training pair had is a surprise on tuning and not an impossibility: it has half a pair there.
    """
    rows = with_labels(tuning)
    return logistic_regression(train, tuning, rows).probabilities_NK if len(rows) else np.zeros((0, 0))


def _score(label_NK: np.ndarray, probabilities_NK: np.ndarray, drawn: Resamples) -> dict[str, np.ndarray]:
    """Return what is shown of a model, [D] each."""
    overall = metrics.score(label_NK, probabilities_NK, None, drawn.subject_N, drawn.counts_SD).overall
    return {metric: overall[metric] for metric in SHOWN}
