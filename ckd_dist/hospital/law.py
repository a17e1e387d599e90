"""The law of the synthetic hospital: from a recorded visit to the exact probability of each phenotype at the next one.

    logit_k = base_k
            + AGE * chronic_k * decades over 65                  chronic phenotypes grow with age
            + persistence_k * present_k                          a disease stays,
            - efficacy_k * present_k                             unless a drug that works is given: the strongest counts
            + LASTING * chronic_k * earlier_k * (1 - present_k)  coded at the visit before, not at this one
            + COMORBIDITY * number of present j that lead to k

    N samples, K phenotypes in the order of the catalogue

The simulator (tables.py) draws the next visit from exactly these numbers, so a model can approach them and none can
beat them: this is the oracle.  The law sees the recorded history alone: the index visit's codes, drugs and age, and the
codes of the one visit before, as ICD-9 or as ICD-10 (catalogue_icd10.py).  So a sample must keep `history_visits` >= 1;
with 0 the term LASTING is unseen, and what is returned is too low for chronic diseases of the visit before.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ckd_dist import schema
from ckd_dist.hospital.catalogue import PHENOTYPES
from ckd_dist.hospital.catalogue_icd10 import DIAGNOSES, DRUGS

K = len(PHENOTYPES)
PERSISTENCE_CHRONIC, PERSISTENCE_ACUTE = 4.6, 4.2
LASTING = 2.2
COMORBIDITY = 3.2
AGE = 0.15  # logits a decade
OLDEST = 90.0  # ages beyond count as this

COLUMN = {p.name: k for k, p in enumerate(PHENOTYPES)}
CODES = {f"{schema.DIAGNOSIS}9//{code}": k for k, p in enumerate(PHENOTYPES) for code, _ in p.codes}
CODES |= {
    f"{schema.DIAGNOSIS}10//{DIAGNOSES[code][0]}": k
    for k, p in enumerate(PHENOTYPES)
    for code, _ in p.codes
    if code in DIAGNOSES
}
EFFICACY = {
    name: (k, efficacy)
    for k, p in enumerate(PHENOTYPES)
    for drug, efficacy in p.effective
    for name in (drug, DRUGS[drug])
}

CHRONIC_K = np.array([p.chronic for p in PHENOTYPES])
BASE_K = np.array([np.log(p.base / (1 - p.base)) for p in PHENOTYPES])
PERSISTENCE_K = np.where(CHRONIC_K, PERSISTENCE_CHRONIC, PERSISTENCE_ACUTE)
LEADS_KK = np.array([[target.name in source.leads_to for target in PHENOTYPES] for source in PHENOTYPES], dtype=float)


def next_visit(
    present_NK: np.ndarray, earlier_NK: np.ndarray, efficacy_NK: np.ndarray, age_N: np.ndarray
) -> np.ndarray:
    """Return P(phenotype k is coded at the next visit), float64 [N, K].

    present, earlier: 0 or 1, coded at the index visit and at the one before (0 where there was none).
    efficacy: logits of the strongest effective drug given at the index visit, 0 where none was.
    age: years at discharge; not a number where unknown, which counts as 65.
    """
    decades_N1 = np.nan_to_num(np.minimum(age_N, OLDEST) - 65.0)[:, None] / 10
    logit_NK = BASE_K + AGE * CHRONIC_K * decades_N1
    logit_NK += present_NK * (PERSISTENCE_K - efficacy_NK)
    logit_NK += LASTING * CHRONIC_K * earlier_NK * (1 - present_NK)
    logit_NK += COMORBIDITY * (present_NK @ LEADS_KK)
    return 1 / (1 + np.exp(-logit_NK))


def probabilities(samples: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return the oracle, P(label k at the next visit | the sample's record), float64 [N, len(names)].

    samples: schema.SAMPLES.  Raises ValueError where a name is not one of the 25 phenotypes.
    """
    unknown = [name for name in names if name not in COLUMN]
    if unknown:
        raise ValueError(f"the synthetic law knows the 25 phenotypes only; it has no label {unknown[0]!r}")
    before = samples["history"].list.first().struct.field("diagnoses")
    all_NK = next_visit(
        _values(samples["diagnoses"], {code: (k, 1.0) for code, k in CODES.items()}),
        _values(before, {code: (k, 1.0) for code, k in CODES.items()}),
        _values(samples["medications"], EFFICACY),
        samples["age"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
    )
    return all_NK[:, [COLUMN[name] for name in names]]


def _values(lists: pl.Series, value_of: dict[str, tuple[int, float]]) -> np.ndarray:
    """The largest value that each row's items have for each phenotype, 0 where none, float64 [N, K]."""
    keys = pl.DataFrame(
        {
            "item": list(value_of),
            "column": [k for k, _ in value_of.values()],
            "value": [v for _, v in value_of.values()],
        }
    )
    items = pl.DataFrame({"item": lists}).with_row_index("row").explode("item")
    found = items.join(keys, on="item", how="inner")
    value_NK = np.zeros((len(lists), K))
    np.maximum.at(value_NK, (found["row"].to_numpy(), found["column"].to_numpy()), found["value"].to_numpy())
    return value_NK
