"""Scores of probabilities against labels: ranking, thresholded bits, calibration.  numpy in, floats out.

    N rows (visit pairs), K labels, S subjects, D draws, G stops of a ranking (distinct scores that hold a positive)

One pass gives a metric for the sample as it is and for every bootstrap draw of it: a draw is a column of `counts_SD`,
how often each subject was drawn.  A ranking is sorted once; what lies between two stops is summed by a sparse product
over subjects, so a draw costs N additions and G divisions, and nothing is ever resampled or sorted again: 1,000 draws
of 10,000 rows and 25 labels take about 5 seconds on one core.

Rows of one score are taken in every order: AUROC counts them half, AUPRC is average precision (a step function, never
interpolated) in expectation over these orders.  scikit-learn's average precision puts a tie's positives at its end: it
is the same where nothing ties, and mostly lower where something does.  A label with one class cannot be scored: its
AUROC, AUPRC and F1 are NaN, and macro means go over the labels that can be.  Log-loss is the mean over cells of -log of
the probability of what came, in nats; a probability counts as LEAST_PROBABILITY at least, as scikit-learn's.  ECE has
equal-mass bins whose edges come from the sample as it is: 15 over all cells (`ece`), 10 within a label (`macro_ece` is
the mean over labels).  Brier is the mean squared error over cells.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

ECE_BINS = 15  # over all cells
LABEL_ECE_BINS = 10  # within a label
CHUNK = 1 << 20  # numbers of a ranking held at once
METRIC_TITLES = {
    "macro_auroc": "Macro-AUROC",
    "macro_auprc": "Macro-AUPRC",
    "micro_auroc": "Micro-AUROC",
    "micro_auprc": "Micro-AUPRC",
    "micro_f1": "Micro-F1",
    "macro_f1": "Macro-F1",
    "log_loss": "Log-loss",
    "brier": "Brier",
    "ece": "ECE",
}
LOWER_IS_BETTER = ("log_loss", "brier", "ece")
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)  # of what came, in a log-loss


@dataclass(frozen=True)
class Scores:
    """Metrics of one model, a value a draw.

    overall: macro_auroc, macro_auprc, micro_auroc, micro_auprc, log_loss, brier, ece, macro_ece, and where bits were
    given micro_f1, macro_f1, cell_accuracy; each [D].   per_label: auroc, auprc, log_loss, brier, ece, and f1; each
    [K, D].
    num_scorable: labels with both classes in the sample as it is.
    """

    overall: dict[str, np.ndarray]
    per_label: dict[str, np.ndarray]
    num_scorable: int

    def observed(self) -> dict[str, float]:
        """Return the overall metrics of the first draw as plain floats."""
        return {name: float(value_D[0]) for name, value_D in self.overall.items()}


def score(
    labels_NK: np.ndarray,
    probabilities_NK: np.ndarray,
    bits_NK: np.ndarray | None = None,
    subject_N: np.ndarray | None = None,
    counts_SD: np.ndarray | None = None,
) -> Scores:
    """Compute every metric, for every draw.

    labels, bits: 0 or 1.  subject_N: the line of `counts_SD` that weighs a row; without both, each row weighs 1.
    Raises ValueError where shapes differ, a label is not 0 or 1, or a probability is outside [0, 1].

    >>> score(np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]])).observed()["macro_auroc"]
    0.75
    """
    check(labels_NK, probabilities_NK, bits_NK)
    num_rows, num_labels = labels_NK.shape
    if subject_N is None or counts_SD is None:
        subject_N, counts_SD = np.zeros(num_rows, dtype=np.int64), np.ones((1, 1))

    ranks = [ranking(labels_NK[:, k], probabilities_NK[:, k], subject_N, counts_SD) for k in range(num_labels)]
    auroc_KD, auprc_KD = (np.stack(part) for part in zip(*ranks, strict=True))
    micro_auroc_D, micro_auprc_D = ranking(
        labels_NK.ravel(), probabilities_NK.ravel(), np.repeat(subject_N, num_labels), counts_SD
    )
    rows_D = total(np.ones((num_rows, 1)), subject_N, counts_SD)[0]
    log_loss_KD = total(log_losses(labels_NK, probabilities_NK), subject_N, counts_SD) / rows_D
    error_NK = (probabilities_NK - labels_NK) ** 2
    brier_KD = total(error_NK, subject_N, counts_SD) / rows_D
    ece_D, ece_KD = calibration_errors(labels_NK, probabilities_NK, subject_N, counts_SD)

    overall = {
        "macro_auroc": mean_of_known(auroc_KD),
        "macro_auprc": mean_of_known(auprc_KD),
        "micro_auroc": micro_auroc_D,
        "micro_auprc": micro_auprc_D,
        "log_loss": log_loss_KD.mean(axis=0),
        "brier": brier_KD.mean(axis=0),
        "ece": ece_D / rows_D,
        "macro_ece": ece_KD.mean(axis=0) / rows_D,
    }
    per_label = {"auroc": auroc_KD, "auprc": auprc_KD, "log_loss": log_loss_KD, "brier": brier_KD}
    per_label["ece"] = ece_KD / rows_D
    if bits_NK is not None:
        overall_bits, per_label["f1"] = bit_scores(labels_NK, bits_NK, subject_N, counts_SD, np.isnan(auroc_KD))
        overall |= overall_bits
    positives_K = labels_NK.sum(axis=0)
    return Scores(overall, per_label, int(((positives_K > 0) & (positives_K < num_rows)).sum()))


def check(labels_NK: np.ndarray, probabilities_NK: np.ndarray, bits_NK: np.ndarray | None = None) -> None:
    """Raise ValueError where the three do not fit together."""
    if labels_NK.ndim != 2 or labels_NK.size == 0:
        raise ValueError(f"there is nothing to score: the labels have shape {labels_NK.shape}, expected (rows, labels)")
    if not np.isin(labels_NK, (0, 1)).all():
        raise ValueError("labels must be 0 or 1 in every cell; leave unlabelled rows out before scoring")
    for what, array_NK in (("probabilities", probabilities_NK), ("bits", bits_NK)):
        if array_NK is not None and array_NK.shape != labels_NK.shape:
            raise ValueError(f"{what} have shape {array_NK.shape}, the labels {labels_NK.shape}")
    if not ((probabilities_NK >= 0) & (probabilities_NK <= 1)).all():  # NaN fails both
        raise ValueError("probabilities must lie between 0 and 1; some do not, or are not a number")


def macro_ranking(labels_NK: np.ndarray, scores_NK: np.ndarray) -> tuple[float, float]:
    """Return AUROC and AUPRC, each the mean over the labels that have both classes; NaN where none has.

    scores: any numbers, such as logits.
    """
    num_rows, positives_K = len(labels_NK), labels_NK.astype(bool).sum(axis=0)
    columns = np.flatnonzero((positives_K > 0) & (positives_K < num_rows))
    if not len(columns):
        return float("nan"), float("nan")
    alone_N, once = np.zeros(num_rows, dtype=np.int64), np.ones((1, 1))
    ranked = [ranking(labels_NK[:, k], scores_NK[:, k], alone_N, once) for k in columns]
    auroc, auprc = (float(np.mean([value_D[0] for value_D in part])) for part in zip(*ranked, strict=True))
    return auroc, auprc


def ranking(
    labels_N: np.ndarray, scores_N: np.ndarray, subject_N: np.ndarray, counts_SD: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and AUPRC of one ranking, [D] each; NaN in a draw that holds one class.

    Walk down the distinct scores and stop where there are positives.  With P and N positives and negatives in all, tp
    and tied those at a stop, and FP the negatives above it:

        AUROC = 1 - sum tp * (FP + tied / 2) / (P * N)          AUPRC = sum of `precisions` / P
    """
    positive_GS, tied_GS, between_GS = stops(labels_N.astype(bool), scores_N, subject_N, len(counts_SD))
    num_stops, num_draws = positive_GS.shape[0], counts_SD.shape[1]
    harmonic_R = harmonic_numbers(int((np.bincount(subject_N, minlength=len(counts_SD)) @ counts_SD).max()))
    auroc_D, auprc_D = np.empty(num_draws), np.empty(num_draws)
    step = max(1, CHUNK // num_stops)
    for start in range(0, num_draws, step):
        draws = slice(start, start + step)
        counts_Sd = np.ascontiguousarray(counts_SD[:, draws])
        tp_Gd, tied_Gd, between_Gd = (part_GS @ counts_Sd for part_GS in (positive_GS, tied_GS, between_GS))
        wrong_Gd = np.cumsum(between_Gd + tied_Gd, axis=0) - tied_Gd
        right_Gd = np.cumsum(tp_Gd, axis=0) - tp_Gd
        positives_d, negatives_d = right_Gd[-1] + tp_Gd[-1], wrong_Gd[-1] + tied_Gd[-1]
        lost_d = np.einsum("gd,gd->d", tp_Gd, wrong_Gd + 0.5 * tied_Gd)
        precision_d = precisions(tp_Gd, tied_Gd, right_Gd, wrong_Gd, harmonic_R).sum(axis=0)
        known_d = (positives_d > 0) & (negatives_d > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            auroc_D[draws] = np.where(known_d, 1 - lost_d / (positives_d * negatives_d), np.nan)
            auprc_D[draws] = np.where(known_d, precision_d / positives_d, np.nan)
    return auroc_D, auprc_D


def precisions(
    tp_GD: np.ndarray, tied_GD: np.ndarray, right_GD: np.ndarray, wrong_GD: np.ndarray, harmonic_R: np.ndarray
) -> np.ndarray:
    """Return the expected sum of the precisions at a stop's positives, over all orders of its rows, [G, D].

    tp, tied: positives and negatives at the stop.  right, wrong: those above it.  All are whole numbers.

    Of t = tp + tied rows in random order below A = right + wrong, the j-th is a positive with chance tp / t, and then
    has (j - 1) c positives of the stop before it on average, c = (tp - 1) / (t - 1).  With harmonic numbers H:

        tp / t * sum over j of (right + 1 + (j - 1) c) / (A + j)
            = tp * (c + (right + 1 - c (A + 1)) * (H(A + t) - H(A)) / t)        and tp * (right + 1) / (A + 1) for t = 1

    McSherry and Najork 2008, "Computing information retrieval performance measures efficiently in the presence of tied
    scores".

    >>> precisions(*np.array([[1.0], [1.0], [0.0], [0.0]]), harmonic_numbers(2)).tolist()  # of 1 / 1 and 1 / 2
    [0.75]
    """
    num_tied_GD, above_GD = tp_GD + tied_GD, right_GD + wrong_GD
    share_GD = (tp_GD - 1) / np.maximum(num_tied_GD - 1, 1)
    above = above_GD.astype(np.int64)
    reciprocal_GD = harmonic_R[above + num_tied_GD.astype(np.int64)] - harmonic_R[above]
    reciprocal_GD /= np.maximum(num_tied_GD, 1)
    reciprocal_GD = np.where(num_tied_GD == 1, 1 / (above_GD + 1), reciprocal_GD)  # exact: H cancels
    return tp_GD * (share_GD + (right_GD + 1 - share_GD * (above_GD + 1)) * reciprocal_GD)


def harmonic_numbers(most: int) -> np.ndarray:
    """Return H(0) = 0 to H(most) = 1 + 1/2 + ... + 1/most."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])


def stops(
    labels_N: np.ndarray, scores_N: np.ndarray, subject_N: np.ndarray, num_subjects: int
) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
    """Count rows at every stop by subject: positives, negatives of the same score, negatives since the stop before.

    Each is [G + 1, S]; the last line gathers the negatives below all positives.
    """
    order_N = np.argsort(-scores_N)  # in whatever order within a tie
    label_N, score_N, subject_N = labels_N[order_N], scores_N[order_N], subject_N[order_N]
    distinct_N = np.concatenate([[0], np.cumsum(score_N[1:] != score_N[:-1])])
    has_positive = np.bincount(distinct_N, weights=label_N) > 0
    stop_N = (np.cumsum(has_positive) - has_positive)[distinct_N]
    tied_N = has_positive[distinct_N] & ~label_N
    shape = (int(has_positive.sum()) + 1, num_subjects)

    def by_subject(chosen_N: np.ndarray) -> sparse.csr_array:
        where = (stop_N[chosen_N], subject_N[chosen_N])
        return sparse.csr_array((np.ones(len(where[0])), where), shape=shape)

    return by_subject(label_N), by_subject(tied_N), by_subject(~label_N & ~tied_N)


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return -log of the probability of what came, in nats, for every cell.  labels: 0 or 1, of any shape."""
    return -np.log(np.maximum(np.where(labels == 1, probabilities, 1 - probabilities), LEAST_PROBABILITY))


def bit_scores(
    labels_NK: np.ndarray, bits_NK: np.ndarray, subject_N: np.ndarray, counts_SD: np.ndarray, unknown_KD: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return F1 = 2 TP / (2 TP + FP + FN) of all cells, its mean over scorable labels, cell accuracy; F1 by label."""
    label_NK, bit_NK = labels_NK.astype(bool), bits_NK.astype(bool)
    hit_KD = total(label_NK & bit_NK, subject_N, counts_SD)
    wrong_KD = total(label_NK ^ bit_NK, subject_N, counts_SD)
    cells_D = total(np.ones_like(label_NK), subject_N, counts_SD).sum(axis=0)
    with np.errstate(invalid="ignore"):
        f1_KD = np.where(unknown_KD, np.nan, 2 * hit_KD / (2 * hit_KD + wrong_KD))
        micro_D = 2 * hit_KD.sum(axis=0) / (2 * hit_KD + wrong_KD).sum(axis=0)
    overall = {
        "micro_f1": micro_D,
        "macro_f1": mean_of_known(f1_KD),
        "cell_accuracy": 1 - wrong_KD.sum(axis=0) / cells_D,
    }
    return overall, f1_KD


def calibration_errors(
    labels_NK: np.ndarray, probabilities_NK: np.ndarray, subject_N: np.ndarray, counts_SD: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum over bins of |sum of probabilities - positives|: over all cells, per cell of a row [D]; and a label [K, D].

    Divide by the number of rows for ECE.
    """
    excess_NK = probabilities_NK - labels_NK
    pooled_D = binned_error(excess_NK, equal_mass_bins(probabilities_NK, ECE_BINS), subject_N, counts_SD)
    label_KD = [
        binned_error(excess_N1, equal_mass_bins(probabilities_N1, LABEL_ECE_BINS), subject_N, counts_SD)
        for excess_N1, probabilities_N1 in zip(
            np.hsplit(excess_NK, excess_NK.shape[1]), np.hsplit(probabilities_NK, excess_NK.shape[1]), strict=True
        )
    ]
    return pooled_D / excess_NK.shape[1], np.stack(label_KD)


def binned_error(excess_NM: np.ndarray, bin_NM: np.ndarray, subject_N: np.ndarray, counts_SD: np.ndarray) -> np.ndarray:
    """Sum over bins of the absolute sum of `excess` within, [D]."""
    num_bins = int(bin_NM.max()) + 1
    cell_NM = subject_N[:, None] * num_bins + bin_NM
    sums = np.bincount(cell_NM.ravel(), weights=excess_NM.ravel(), minlength=len(counts_SD) * num_bins)
    return np.abs(sums.reshape(-1, num_bins).T @ counts_SD).sum(axis=0)


def equal_mass_bins(values: np.ndarray, num_bins: int) -> np.ndarray:
    """Return the bin of every value, in bins of equally many values; equal values share a bin."""
    edges = np.quantile(values, np.arange(1, num_bins) / num_bins)
    return np.searchsorted(edges, values, side="right")


def total(values_NM: np.ndarray, subject_N: np.ndarray, counts_SD: np.ndarray) -> np.ndarray:
    """Sum the columns, weighted, in every draw, [M, D]."""
    ones = np.ones(len(subject_N))
    rows_SN = sparse.csr_array((ones, (subject_N, np.arange(len(subject_N)))), shape=(len(counts_SD), len(subject_N)))
    return (rows_SN @ values_NM.astype(np.float64)).T @ counts_SD


def mean_of_known(values_KD: np.ndarray) -> np.ndarray:
    """Return the mean over the labels that are not NaN, [D]; NaN where none is known."""
    known_KD = ~np.isnan(values_KD)
    with np.errstate(invalid="ignore"):
        return np.where(known_KD, values_KD, 0).sum(axis=0) / known_KD.sum(axis=0)
