"""Exact AUPRC under ties beside scikit-learn's average precision: CPU seconds, in turns, on one core.

Ours gives AUROC as well.  Continuous scores have no ties; those of a grid have nearly nothing else.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from machine import describe
from sklearn.metrics import average_precision_score

from ckd_dist.report.metrics import macro_ranking


def rows_of(num_rows: int, grid: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, about one in ten positive, and scores; on a grid of so many steps where one is given."""
    random = np.random.default_rng(0)
    score_N = random.random(num_rows)
    label_N = (random.random(num_rows) < 0.3 * score_N**2).astype(int)
    return label_N, score_N if grid is None else np.floor(score_N * grid) / grid


def cpu_seconds(programs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run the programs in turns; CPU seconds, so that a busy machine counts little."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(-1, rounds):  # the first round warms up
        for name, program in programs.items():
            start = time.process_time()
            program()
            if turn >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds


def main() -> None:
    """Print a line a kind of scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print(describe())
    for title, grid in (("no ties", None), ("1,000 distinct scores", 1000), ("2 distinct scores", 2)):
        label_N, score_N = rows_of(given.rows, grid)
        of_scikit, ours = (
            average_precision_score(label_N, score_N),
            macro_ranking(label_N[:, None], score_N[:, None])[1],
        )
        seconds = cpu_seconds(
            {
                "scikit-learn": lambda label_N=label_N, score_N=score_N: average_precision_score(label_N, score_N),
                "ours": lambda label_N=label_N, score_N=score_N: macro_ranking(label_N[:, None], score_N[:, None]),
            },
            given.rounds,
        )
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        ratios = [a / b for a, b in zip(seconds["ours"], seconds["scikit-learn"], strict=True)]
        print(
            f"{given.rows:,} rows, {title}: AUPRC {ours:.6f}, scikit-learn {of_scikit:.6f}; CPU s "
            f"{medians['ours']:.3f} and {medians['scikit-learn']:.3f}; "
            f"ours / scikit-learn {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
