"""Times are counted as stated, by a clock of our own."""

import numpy as np
import pytest

from ckd_dist.report import timing


class Clock:
    """Time passes only when a model works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_latency_and_throughput() -> None:
    """10 ms a call and 1 ms a sample: alone 11 ms, in batches of 4 (4, 4, 2) 40 ms for 10; the first call is slow."""
    clock, calls = Clock(), []

    def model(name: str, slowness: float):
        def predict(rows: np.ndarray) -> None:
            first = name not in [seen for seen, _ in calls]
            calls.append((name, len(rows)))
            clock.now += slowness * (0.010 + 0.001 * len(rows)) + 100 * first

        return predict

    found = timing.measure(
        {"student": model("student", 1), "teacher": model("teacher", 5)},
        np.arange(10),
        batch=4,
        dtypes={"student": "float32", "teacher": "bfloat16"},
        lengths={"student": np.array([10, 30])},
        clock=clock,
    )
    student, teacher = found
    assert student.latency_median_ms == pytest.approx(11)
    assert student.latency_p95_ms == pytest.approx(11)
    assert student.samples_per_second == pytest.approx(10 / 0.040)
    assert teacher.samples_per_second == pytest.approx(10 / 0.200)
    assert (student.mean_tokens, student.max_tokens, teacher.mean_tokens) == (20, 30, None)
    assert (student.batch, student.num_samples, teacher.dtype) == (4, 10, "bfloat16")
    assert "threads" in student.hardware
    alone = [name for name, size in calls if size == 1][2:]  # after the warm-up
    assert alone[:4] == ["student", "teacher", "teacher", "student"]


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples to time"):
        timing.measure({}, np.arange(0), batch=1, dtypes={})
