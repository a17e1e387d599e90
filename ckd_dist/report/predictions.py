"""Predictions for patients in three forms: ours (parquet), a table to open (CSV), MEDS-evaluation's (a file a label).

    N rows, K labels

predictions.parquet     PREDICTIONS
predictions.csv         sample_id, subject_id, prediction_time, one column a disease, probabilities to four places
meds/<label>.parquet    subject_id, prediction_time, boolean_value, predicted_boolean_value,
                        predicted_boolean_probability; the label's full name is in meds/labels.json

`boolean_value` is the truth.  MEDS wants it of every row or not at all, so for new patients the column is absent.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from ckd_dist.files import filling
from ckd_dist.schema import check_columns

LONGEST = 100  # letters of a file's name

PREDICTIONS = pl.Schema(
    {
        "sample_id": pl.Int64,
        "subject_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),
        "probabilities": pl.List(pl.Float32),  # K calibrated probabilities
    }
)


def write_predictions(
    folder: Path, samples: pl.DataFrame, probabilities_NK: np.ndarray, names: Sequence[str], bits_NK: np.ndarray
) -> None:
    """Write the three forms into `folder`; a file appears under its name only when it is whole.

    samples: schema.SAMPLES, or any frame with sample_id, subject_id, prediction_time.  bits: calibrated yes or no.
    Raises ValueError where rows or labels do not match.
    """
    if probabilities_NK.shape != (samples.height, len(names)):
        raise ValueError(
            f"{samples.height} samples and {len(names)} labels, but probabilities {probabilities_NK.shape}"
        )
    who = samples.select("sample_id", "subject_id", "prediction_time")
    table = who.with_columns(probabilities=pl.Series(probabilities_NK.astype(np.float32)).arr.to_list())
    table = check_columns(table, PREDICTIONS, "predictions")
    wide = who.hstack([pl.Series(name, probabilities_NK[:, k]) for k, name in enumerate(names)])
    with filling(folder) as temporary:
        table.write_parquet(temporary / "predictions.parquet")
        wide.write_csv(temporary / "predictions.csv", float_precision=4)
        write_meds(temporary / "meds", who, probabilities_NK, names, bits_NK)


def write_meds(
    folder: Path,
    who: pl.DataFrame,
    probabilities_NK: np.ndarray,
    names: Sequence[str],
    bits_NK: np.ndarray,
    truth_NK: np.ndarray | None = None,
) -> None:
    """Make `folder`, and write into it a file a label that meds-evaluation reads, and labels.json.

    who: any frame with subject_id and prediction_time.  truth: 0 or 1, of every row; none: not known yet.
    """
    files = file_names(names)
    folder.mkdir(parents=True)
    for k, name in enumerate(names):
        truth = [] if truth_NK is None else [pl.Series("boolean_value", truth_NK[:, k] == 1)]
        one = who.select("subject_id", "prediction_time").with_columns(
            *truth,
            pl.Series("predicted_boolean_value", bits_NK[:, k] == 1),
            pl.Series("predicted_boolean_probability", probabilities_NK[:, k], dtype=pl.Float32),
        )
        one.write_parquet(folder / files[name])
    (folder / "labels.json").write_text(json.dumps(files, indent=1))


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Make a file name for every label, in plain letters and not too long; numbered where two would be the same.

    >>> file_names(["Shock", "Other, upper (disease)"])
    {'Shock': 'shock.parquet', 'Other, upper (disease)': 'other_upper_disease.parquet'}
    """
    stems = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:LONGEST] or "label" for name in names]
    numbered = [stem if stems.count(stem) == 1 else f"{stem}_{k}" for k, stem in enumerate(stems)]
    if len(set(numbered)) < len(names):  # "a b", "a-b" and "a b 1"
        numbered = [f"{stem}_{k}" for k, stem in enumerate(stems)]
    return {name: f"{stem}.parquet" for name, stem in zip(names, numbered, strict=True)}
