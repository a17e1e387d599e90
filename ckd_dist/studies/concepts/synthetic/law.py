"""The law of the two departments: from the findings recorded in a case to the exact probability of each outcome.

    logit_k = INTERCEPT of the site
            + sum over the sixteen findings of outcome k of effect * (1 where recorded as present,
                                                                      ABSENT where recorded as absent, 0 where missing)

    N cases, V findings in the order of findings.ALL, K outcomes in the order of findings.OUTCOMES

At south the effects of "reversed effects" have the other sign; all others are the same at both sites.  The law reads
what is *recorded*, so these probabilities are exact at both: outcomes are drawn from them, no model can beat them.

What it lets a model of north's do at south, unchanged:

    same names        one that knows codes and one that knows words do as well as each other
    other names       codes are all new there, so one that knows codes alone guesses; one that knows words does not
    opaque codes      neither: what a number means must be learned from south's own cases
    reversed effects  worse than guessing, and the better it knew north, the worse

In numbers: AUROC at south of logistic regressions that learned 2,000 cases of north's, mean of six seeds.  They read
the meaning whatever its name, one-hot codes, or how words begin; the last learned 1,000 cases of south's own codes.

                      oracle   meaning   codes   words   own codes
    same names          0.83      0.81    0.82    0.79        0.79
    other names         0.83      0.82    0.51    0.73        0.79
    opaque codes        0.83      0.81    0.49    0.48        0.79
    reversed effects    0.84      0.19    0.24    0.19        0.79
"""

import numpy as np

from ckd_dist.studies.concepts.synthetic.findings import ALL, FINDINGS, OUTCOMES, REVERSED, SITES

ABSENT = -0.5  # of a finding's effect, where somebody looked and it was not there
INTERCEPT = {"north": -1.6, "south": -1.4}  # logits

EFFECT_VK = np.array([[f.effect if f in FINDINGS[name] else 0.0 for name in OUTCOMES] for f in ALL])
SIGN_K = {"north": np.ones(len(OUTCOMES)), "south": np.array([-1.0 if name == REVERSED else 1.0 for name in OUTCOMES])}


def probabilities(state_NV: np.ndarray, site: str) -> np.ndarray:
    """Return the oracle: P(outcome k | what is recorded), float64 [N, K].

    state: 1 recorded as present, -1 recorded as absent, 0 missing; integers [N, V].
    Raises ValueError where the site is neither north nor south.
    """
    if site not in SITES:
        raise ValueError(f"the synthetic law knows the sites {' and '.join(SITES)}, not {site!r}")
    weight_NV = np.where(state_NV < 0, ABSENT, state_NV)
    logit_NK = INTERCEPT[site] + weight_NV @ (EFFECT_VK * SIGN_K[site])
    return 1 / (1 + np.exp(-logit_NK))
