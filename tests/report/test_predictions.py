"""Predictions come out as they went in, in each of the three forms."""

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import meds
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckd_dist import schema
from ckd_dist.report import predictions
from ckd_dist.report.metrics import score

NAMES = ["Shock", "Gout, acute", "gout acute", "%"]
NEW_PATIENTS = pl.Schema(
    {
        "subject_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),
        "predicted_boolean_value": pl.Boolean,
        "predicted_boolean_probability": pl.Float32,
    }
)


KEY = ["subject_id", "prediction_time"]
METRICS = {  # ours -> meds-evaluation's
    "auroc": "roc_auc_score",
    "auprc": "average_precision_score",
    "brier": "brier_score",
    "f1": "f1_score",
}
TRUTH = np.array([[0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]])
PROBABILITIES = np.random.default_rng(3).random((6, 4))
BITS = (PROBABILITIES > 0.5).astype(np.int8)


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
        assert one.schema == NEW_PATIENTS
        assert one["predicted_boolean_probability"].to_numpy() == pytest.approx(probabilities_NK[:, k], abs=1e-6)
        assert one["predicted_boolean_value"].to_list() == (bits_NK[:, k] == 1).tolist()
        assert one["subject_id"].equals(frame["subject_id"])
    assert not list(tmp_path.rglob(".*"))


def test_meds_own_schemas_accept_them(tmp_path: Path) -> None:
    """A null `boolean_value` was refused by meds, and crashed meds-evaluation: the column is absent."""
    write(tmp_path / "new", truth_NK=None)
    write(tmp_path / "known", truth_NK=TRUTH)
    for folder, label_columns in (("new", KEY), ("known", [*KEY, "boolean_value"])):
        table = pq.read_table(tmp_path / folder / "shock.parquet")
        meds.LabelSchema.validate(table.select(label_columns))
        assert table.column_names == [*label_columns, "predicted_boolean_value", "predicted_boolean_probability"]
        assert table.schema.field("predicted_boolean_probability").type == pa.float32()
    with pytest.raises(Exception, match="boolean_value"):
        null = pq.read_table(tmp_path / "new" / "shock.parquet").select(KEY)
        meds.LabelSchema.validate(null.append_column("boolean_value", pa.nulls(6, pa.bool_())))


@pytest.mark.parametrize("label", range(4))
def test_meds_evaluation_gives_our_scores(tmp_path: Path, label: int) -> None:
    evaluation = pytest.importorskip("meds_evaluation.evaluate", reason="meds-evaluation is not installed")
    prediction_schema = pytest.importorskip("meds_evaluation.schema").PredictionSchema
    write(tmp_path / "known", truth_NK=TRUTH)
    file = tmp_path / "known" / predictions.file_names(NAMES)[NAMES[label]]
    prediction_schema.validate(pq.read_table(file))
    theirs = evaluation.evaluate_binary_classification(pl.read_parquet(file))["samples_equally_weighted"]
    ours = score(TRUTH, PROBABILITIES, BITS).per_label
    for name, theirs_name in METRICS.items():
        assert ours[name][label, 0] == pytest.approx(theirs[theirs_name], abs=1e-6)


def write(folder: Path, truth_NK: np.ndarray | None) -> None:
    predictions.write_meds(folder, visits(6), PROBABILITIES, NAMES, BITS, truth_NK)


@given(st.lists(st.text("ab -1心", min_size=1), min_size=1, unique=True))
def test_every_label_has_a_file_of_its_own(names: list[str]) -> None:
    files = predictions.file_names(names)
    assert list(files) == names
    assert len(set(files.values())) == len(names)
    assert all(len(file) < 120 and file.isascii() for file in files.values())


def test_rows_that_do_not_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 samples and 1 labels"):
        predictions.write_predictions(tmp_path, visits(3), np.zeros((2, 1)), ["Shock"], np.zeros((2, 1)))
    assert not list(tmp_path.iterdir())
