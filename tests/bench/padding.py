"""How much of what is read is padding."""

from collections.abc import Iterable

import numpy as np

from ckd_dist.softlabels.stream import cost


def padding_share(lengths_N: np.ndarray, slots: Iterable[np.ndarray]) -> float:
    """Return the share of all token positions of `slots` that are padding: 0 where rows are of one length.

    >>> padding_share(np.array([10, 20]), [np.array([0, 1])])
    0.25
    """
    lengths = [np.asarray(lengths_N)[slot] for slot in slots]
    positions = sum(map(cost, lengths))
    return 1 - sum(int(slot.sum()) for slot in lengths) / positions if positions else 0.0
