"""AUPRC under ties, the slow way: place by place.  test_metrics.py holds it against every order there is."""

import numpy as np


def expected_auprc(label_N: np.ndarray, score_N: np.ndarray) -> float:
    """Return the expected average precision where rows of one score come in random order."""
    above, right, total = 0, 0, 0.0
    for score in sorted(set(score_N.tolist()), reverse=True):
        tied = label_N[score_N == score]
        rows, positives = len(tied), int(tied.sum())
        for place in range(rows):
            before = place * (positives - 1) / (rows - 1) if rows > 1 else 0.0
            total += positives / rows * (right + before + 1) / (above + place + 1)
        above, right = above + rows, right + positives
    return total / right
