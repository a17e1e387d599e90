"""Soft labels that are no trained teacher's: those of given probabilities, as the exact law's, and another patient's.

N rows, K labels
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.special import logit

from ckd_dist.ehr.labelset import load_label_set
from ckd_dist.hospital import law
from ckd_dist.hospital.catalogue import PHENOTYPES
from ckd_dist.source import is_synthetic
from ckd_dist.studies.disease.others import rows_of_others

LEAST = 1e-6  # of a probability, so that its logit is finite


def is_law_known(source: str, labels: str, history_visits: int) -> bool:
    """Say whether the law of the hospital gives these labels' exact probabilities.

    It does for a synthetic hospital's own labels, by code and not by name alone, from a record that keeps the visit
    before.  labels: select.labels; of a file that is not here now nothing is known.
    """
    if not is_synthetic(source) or history_visits < 1:
        return False
    try:
        chosen = load_label_set(labels)
    except ValueError:
        return False
    if not law.COLUMN.keys() >= set(chosen.names):
        return False
    names = set(chosen.names)
    return all(
        {chosen.names[k] for k in chosen.columns_of(code)} == names & {PHENOTYPES[phenotype].name}
        for code, phenotype in law.CODES.items()
    )


def exact(samples: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return the logits of the exact probabilities of a synthetic hospital, float32 [N, K]."""
    return finite_logits(law.probabilities(samples, names))


def finite_logits(probabilities_NK: np.ndarray) -> np.ndarray:
    """Return the logits of probabilities, which may be 0 or 1, float32 [N, K]."""
    return logit(probabilities_NK.clip(LEAST, 1 - LEAST)).astype(np.float32)


def permuted_rows(samples: pl.DataFrame, seed: int) -> np.ndarray:
    """Return for each sample the row of another subject's, whose soft labels it is given: int64 [N].

    Raises ValueError where one subject has more than half of the samples.
    """
    return rows_of_others(samples["subject_id"].to_numpy(), seed, "experiments.variants: permuted")
