"""Predictions come out as they went in, in each of the three forms."""

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ckd_dist import schema
from ckd_dist.report import predictions

NAMES = ["Shock", "Gout, acute", "gout acute", "%"]
MEDS_EVALUATION = pl.Schema(
    {
        "subject_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),
        "boolean_value": pl.Boolean,
        "predicted_boolean_value": pl.Boolean,
        "predicted_boolean_probability": pl.Float64,
    }
)


def visits(num: int) -> pl.DataFrame:
    """Visits to predict for, two a subject."""
    return pl.DataFrame(
        {
            "sample_id": range(num),
            "subject_id": [770 + visit // 2 for visit in range(num)],
            "prediction_time": [datetime(2100, 1, 1) + timedelta(days=visit) for visit in range(num)],
        },
        schema_overrides={"prediction_time": pl.Datetime("us")},
    )


def test_three_forms(tmp_path: Path) -> None:
    frame = visits(6)
    probabilities_NK = np.random.default_rng(0).random((6, 4))
    bits_NK = (probabilities_NK > 0.5).astype(np.int8)
    predictions.write_predictions(tmp_path, frame, probabilities_NK, NAMES, bits_NK)

    ours = pl.read_parquet(tmp_path / "predictions.parquet")
    schema.check_columns(ours, predictions.PREDICTIONS, "predictions")
    assert np.array(ours["probabilities"].to_list()) == pytest.approx(probabilities_NK, abs=1e-6)
    assert ours["sample_id"].equals(frame["sample_id"])

    with open(tmp_path / "predictions.csv") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["sample_id", "subject_id", "prediction_time", *NAMES]
    assert [float(cell) for cell in lines[3][3:]] == pytest.approx(probabilities_NK[2], abs=1e-4)

    files = json.loads((tmp_path / "meds" / "labels.json").read_text())
    assert list(files) == NAMES
    assert len(set(files.values())) == 4
    for k, name in enumerate(NAMES):
        one = pl.read_parquet(tmp_path / "meds" / files[name])
        assert one.schema == MEDS_EVALUATION
        assert one["boolean_value"].null_count() == 6
        assert one["predicted_boolean_probability"].to_numpy() == pytest.approx(probabilities_NK[:, k])
        assert one["predicted_boolean_value"].to_list() == (bits_NK[:, k] == 1).tolist()
        assert one["subject_id"].equals(frame["subject_id"])
    assert not list(tmp_path.rglob(".*"))


def test_without_bits(tmp_path: Path) -> None:
    predictions.write_predictions(tmp_path, visits(2), np.full((2, 1), 0.5), ["Shock"])
    one = pl.read_parquet(tmp_path / "meds" / "shock.parquet")
    assert one.schema == MEDS_EVALUATION
    assert one["predicted_boolean_value"].null_count() == 2


def test_rows_that_do_not_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 samples and 1 labels"):
        predictions.write_predictions(tmp_path, visits(3), np.zeros((2, 1)), ["Shock"])
    assert not list(tmp_path.iterdir())
